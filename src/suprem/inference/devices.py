"""Where a network runs, and how much memory one window takes there."""

from math import ceil, prod
from typing import TYPE_CHECKING

import torch

from suprem.errors import ConfigurationError
from suprem.inference.memory import PeakMeter

if TYPE_CHECKING:
    from suprem.inference.blending import WindowNetwork

__all__ = ["free_bytes", "resolve_device", "tensor_bytes", "window_bytes"]


def resolve_device(device: str | torch.device) -> torch.device:
    """``"auto"`` (a GPU where there is one), ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.

    Raises:
        ConfigurationError: the device does not exist here.

    Example:
        >>> resolve_device("cpu")
        device(type='cpu')
    """
    name = str(device)
    available = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda", 0) if available else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind == "cpu" and not number:
        return torch.device("cpu")
    if kind != "cuda" or (number and not number.isdecimal()):
        raise ConfigurationError(f"device is {name!r}; it must be 'auto', 'cpu', 'cuda' or 'cuda:0'.")
    if not available:
        raise ConfigurationError(f"device is {name!r}, but torch finds no CUDA GPU here; use device='cpu'.")
    if int(number or 0) >= torch.cuda.device_count():
        raise ConfigurationError(f"device is {name!r}, but there are {torch.cuda.device_count()} GPUs, from cuda:0 on.")
    return torch.device("cuda", int(number or 0))


def free_bytes(device: torch.device) -> int | None:
    """Memory of a GPU that this process could take, what torch keeps for later included; ``None`` for a CPU."""
    if device.type != "cuda":
        return None
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + kept


def tensor_bytes(network: torch.nn.Module) -> int:
    """Size of the parameters and buffers."""
    return sum(t.numel() * t.element_size() for t in (*network.parameters(), *network.buffers()))


@torch.inference_mode()
def window_bytes(
    network: "WindowNetwork",
    patch_size: tuple[int, int, int],
    device: torch.device,
    probe: tuple[int, int, int] | None = None,
) -> int:
    """Memory that one window takes while it runs, its output included; measured by running an empty one.

    Args:
        network: runs it.
        patch_size: voxels (x, y, z) of the window.
        device: where it runs.
        probe: voxels of a smaller window to run on a CPU instead. Activations grow with the voxels; what does not, such
            as weights in another order, is then counted several times, so the result errs on the safe side.
    """
    if device.type == "cpu":
        run = probe or patch_size
        return ceil(prod(patch_size) / prod(run) * _cpu_bytes(network, run))
    image = torch.zeros((1, 1, *patch_size), device=device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    network.run(image, [False])
    return torch.cuda.max_memory_allocated(device) - before


@torch.inference_mode()
def _cpu_bytes(network: "WindowNetwork", patch_size: tuple[int, int, int]) -> int:
    image = torch.zeros((1, 1, *patch_size))
    with PeakMeter() as meter:
        network.run(image, [False])
    # At least five times the decoder features, for the case that the allocator still held freed memory; twelve times,
    # more than any of our networks was seen to take, where the system does not tell.
    features = 4 * network.feature_channels * prod(patch_size)
    return max(meter.growth, 5 * features) if meter.exact else 12 * features

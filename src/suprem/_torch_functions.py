"""Functions of torch that are replaced while a block runs, whatever calls them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

__all__ = ["Replacements", "replaced_norms"]


class Replacements(TorchFunctionMode):
    """Within it, functions are called in the place of some of torch's.

    Attributes:
        instead: torch's function -> the one that is called.
    """

    instead: ClassVar[Mapping[Callable[..., Any], Callable[..., Any]]]

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls what stands for ``func``, otherwise ``func``; torch's protocol."""
        return self.instead.get(func, func)(*args, **(kwargs or {}))


def replaced_norms(
    suits: Callable[[torch.Tensor], bool], normalised: Callable[..., torch.Tensor]
) -> dict[Callable[..., Any], Callable[..., Any]]:
    """Group and instance norm as one function, where no gradients are wanted and no running statistics are used.

    Args:
        suits: whether ``normalised`` takes an input; torch's own norm is called with every other.
        normalised: of (values, groups, weight, bias, eps), the group normalisation.
    """

    def group_norm(
        input: torch.Tensor,  # the names are torch's, since callers may use them
        num_groups: int,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if torch.is_grad_enabled() or not suits(input):
            return F.group_norm(input, num_groups, weight, bias, eps)
        return normalised(input, num_groups, weight, bias, eps)

    def instance_norm(
        input: torch.Tensor,
        running_mean: torch.Tensor | None = None,
        running_var: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        bias: torch.Tensor | None = None,
        use_input_stats: bool = True,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> torch.Tensor:
        if torch.is_grad_enabled() or not use_input_stats or running_mean is not None or not suits(input):
            return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)
        return normalised(input, input.shape[1], weight, bias, eps)

    return {F.group_norm: group_norm, F.instance_norm: instance_norm}

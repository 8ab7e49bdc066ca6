import pytest
import torch

from suprem.errors import ConfigurationError
from suprem.inference.devices import resolve_device, tensor_bytes


def test_auto_is_the_gpu_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("auto") == torch.device("cuda", 0)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ConfigurationError, match="there are 2 GPUs"):
        resolve_device("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == resolve_device("cpu") == torch.device("cpu")
    with pytest.raises(ConfigurationError, match="finds no CUDA GPU"):
        resolve_device("cuda")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "mps", ""])
def test_unknown_devices_are_refused(name):
    with pytest.raises(ConfigurationError, match="must be 'auto', 'cpu'"):
        resolve_device(name)


def test_tensor_bytes_counts_parameters_and_buffers():
    module = torch.nn.BatchNorm1d(10)
    assert tensor_bytes(module) == 4 * 10 * 4 + 8

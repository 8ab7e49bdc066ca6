import numpy as np
import pytest

import suprem
import suprem.inference
from suprem.errors import OfflineError, VolumeError
from suprem.inference import default_model, load_network, segment
from suprem.zoo import is_available_offline


def test_public_name_stays_the_function_after_its_module_is_imported():
    assert suprem.segment is suprem.inference.segment is segment
    assert callable(segment)


def test_default_model_follows_the_device(monkeypatch):
    import torch

    assert default_model("cpu") == "segresnet.suprem_2100"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert default_model("auto") == default_model("cuda") == "unet.suprem_2100"


def test_default_model_without_a_network_offers_the_bundled_one():
    if is_available_offline("segresnet.suprem_2100"):
        pytest.skip("the default checkpoint is in this machine's cache")
    with pytest.raises(OfflineError) as caught:
        load_network("auto", device="cpu")
    assert "segresnet.suprem_2100" in str(caught.value)
    assert "segresnet_tiny.phantom" in str(caught.value)


def test_a_file_and_its_volume_give_the_same_masks(phantom_case, phantom_ct, tiny_network):
    network = tiny_network(("liver", "spleen"))
    from_file = segment(phantom_ct, network, device="cpu", overlap=0.25)
    from_volume = segment(phantom_case.ct, network, device="cpu", overlap=0.25)
    assert from_file.mask("liver").shape == phantom_case.ct.shape
    for name in from_file.classes:
        np.testing.assert_array_equal(from_file.mask(name), from_volume.mask(name))
    assert any(from_file.mask(name).any() for name in from_file.classes)


def test_a_missing_scan_is_reported_before_a_model_is_loaded(tmp_path):
    with pytest.raises(VolumeError, match="does not exist"):
        segment(tmp_path / "no.nii.gz", "auto", device="cpu")

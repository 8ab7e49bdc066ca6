"""Which labels count in an atlas."""

import json
from pathlib import Path

import numpy as np
import pytest

from suprem.atlas.label_set import LabelSet, Provenance
from suprem.atlas.workspace import Atlas
from suprem.cli import main
from suprem.errors import ConfigurationError, UnknownNameError
from suprem.volumes.geometry import Volume
from suprem.volumes.store import StoreSettings, create_store, write_case, write_index

SHAPE, AFFINE = (8, 6, 5), np.diag([2.0, 2.0, 2.0, 1.0])
STRUCTURES = ("spleen", "liver", "aorta")


def _block(x: int) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    mask[x : x + 2] = True
    return mask


@pytest.fixture
def atlas(tmp_path: Path) -> Atlas:
    """One case, whose dataset annotates the spleen and the stomach."""
    store = tmp_path / "store"
    create_store(store, StoreSettings((2.0, 2.0, 2.0)))
    indices = _block(0).astype(np.uint8) + 2 * _block(4).astype(np.uint8)
    write_case(
        store,
        dataset="own",
        case="one",
        scan="one",
        subject="one",
        split=None,
        ct=Volume(np.zeros(SHAPE, dtype=np.int16), AFFINE),
        original_shape=SHAPE,
        original_affine=AFFINE,
        labels=Volume(indices, AFFINE),
        table=(frozenset(), frozenset({"spleen"}), frozenset({"stomach"})),
        annotated=frozenset({"spleen", "stomach"}),
    )
    write_index(store)
    return Atlas.create(tmp_path / "atlas", store, STRUCTURES)


def _write(folder: Path, masks: dict[str, np.ndarray], provenance: Provenance) -> None:
    folder.mkdir(parents=True)
    LabelSet.from_masks(masks.items(), SHAPE, AFFINE, dict.fromkeys(masks, provenance)).write(folder)


def test_expert_before_revised_before_pseudo(atlas: Atlas) -> None:
    key = "own/one"
    assert atlas.cases == (key,)
    assert atlas.labels(key).structures == ("spleen",)
    _write(atlas.pseudo_folder(1, key), dict.fromkeys(STRUCTURES, _block(1)), Provenance("pseudo", "m", 1))
    assert atlas.labels(key).structures == ("spleen",)  # the round is not finished
    atlas.journal.append("ensemble", "ann", round=1)
    for number, x in ((1, 2), (2, 3)):
        _write(atlas.revision_folder(key, number), {"liver": _block(x)}, Provenance("revised", "ann", 1))
        found = atlas.labels(key)
        assert np.array_equal(found.mask("liver"), _block(1 if number == 1 else 2))  # not accepted yet
        atlas.journal.append("revision", "ann", case=key, revision=number)
    found = atlas.labels(key)
    assert {name: found.provenance[name].source for name in STRUCTURES} == {
        "spleen": "expert",
        "liver": "revised",
        "aorta": "pseudo",
    }
    assert atlas.provenance(key) == found.provenance
    wanted = {"spleen": 0, "liver": 3, "aorta": 1}
    assert all(np.array_equal(found.mask(name), _block(x)) for name, x in wanted.items())


def test_one_folder_is_one_atlas(atlas: Atlas, tmp_path: Path) -> None:
    assert Atlas.create(atlas.root, tmp_path / "store", ["Liver", "aorta", "spleen", "liver"]) == atlas
    with pytest.raises(ConfigurationError, match="Choose another folder"):
        Atlas.create(atlas.root, tmp_path / "store", ["liver"])
    with pytest.raises(ConfigurationError, match="begin an atlas"):
        Atlas.open(tmp_path / "nowhere")
    (atlas.root / "atlas.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="damaged"):
        Atlas.open(atlas.root)
    with pytest.raises(UnknownNameError, match="two"):
        atlas.labels("own/two")


def test_status(atlas: Atlas, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["atlas", "status", str(atlas.root), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cases"], found["rounds"]) == (1, 0)
    assert found["labels"] == {"expert": 1, "revised": 0, "pseudo": 0, "missing": 2}
    assert main(["atlas", "status", str(atlas.root)]) == 0
    assert "1 expert, 0 revised, 0 pseudo, 2 missing" in capsys.readouterr().out

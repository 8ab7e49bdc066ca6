"""The folder of an atlas, and which labels count in it.

::

    atlas/
      atlas.json                                    the store of CTs, the structures
      journal.jsonl                                 what happened, appended only
      rounds/01/models/<model>/<dataset>/<case>/    probabilities of one model (suprem.atlas.predictions)
      rounds/01/labels/<dataset>/<case>/            the models' labels, fused (suprem.atlas.label_set)
      rounds/01/priority/                           what to look at first
      revisions/<dataset>/<case>/0001/              labels that a person has revised; only the changed structures
      review/<ticket>/                              folders that were handed out

A structure of a case has the labels of its dataset (expert) where there are any, else those of its last accepted
revision, else those of the last finished round of models.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suprem._files import atomic_path
from suprem.atlas.journal import Journal
from suprem.atlas.label_set import LabelSet, PaletteBuilder, Provenance, read_provenance
from suprem.errors import ConfigurationError, brief
from suprem.labels import known_name, ordered
from suprem.volumes._remote import is_remote
from suprem.volumes.store import Store

__all__ = ["SETTINGS", "Atlas", "expert_labels"]

SETTINGS, _JOURNAL, _FORMAT = "atlas.json", "journal.jsonl", 1


@dataclass(frozen=True)
class Atlas:
    """An atlas on disk.

    Attributes:
        root: its folder.
        store_root: folder or address of the store with the CTs.
        structures: canonical names of what is annotated; in the order of the registry.
    """

    root: Path
    store_root: str
    structures: tuple[str, ...]

    @classmethod
    def create(cls, root: str | Path, store: str | Path, structures: tuple[str, ...] | list[str]) -> "Atlas":
        """Begins an atlas, or opens the one in place if it is of the same store and structures.

        Raises:
            ConfigurationError: another atlas is there, or no structure is named.
            OutputError: the place cannot be written.
        """
        names = ordered({known_name(name) for name in structures})
        if not names:
            raise ConfigurationError("No structure is named; name those the atlas shall have.")
        place = str(store) if is_remote(store) else str(Path(store).resolve())
        atlas = cls(Path(root), place, names)
        path = atlas.root / SETTINGS
        if path.is_file():
            found = cls.open(root)
            if found != atlas:
                raise ConfigurationError(
                    f"{root} is an atlas of {found.store_root} with {', '.join(found.structures)}; it cannot become "
                    f"one of {place} with {', '.join(names)}. Choose another folder."
                )
            return found
        content = {"format": _FORMAT, "store": place, "structures": names}
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return atlas

    @staticmethod
    def is_at(root: str | Path) -> bool:
        """Whether a folder holds an atlas."""
        return (Path(root) / SETTINGS).is_file()

    @classmethod
    def open(cls, root: str | Path) -> "Atlas":
        """The atlas of a folder.

        Raises:
            ConfigurationError: there is none, or its file is damaged.
        """
        path = Path(root) / SETTINGS
        if not path.is_file():
            raise ConfigurationError(f"{root} holds no {SETTINGS}; begin an atlas with `suprem atlas ensemble`.")
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != _FORMAT:
                raise ValueError(f"format {content['format']}")
            return cls(Path(root), str(content["store"]), tuple(str(name) for name in content["structures"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path} is damaged: {brief(error)}; restore it.") from error

    @cached_property
    def store(self) -> Store:
        """The store of the CTs, and of the labels that experts have made."""
        return Store.open(self.store_root)

    @property
    def journal(self) -> Journal:
        """What happened so far."""
        return Journal(self.root / _JOURNAL)

    @property
    def cases(self) -> tuple[str, ...]:
        """Keys ``dataset/case``, sorted."""
        return tuple(record.key for record in self.store.records)

    @property
    def round(self) -> int:
        """The last round whose models have annotated every case; 0 before the first."""
        return max((int(event.facts["round"]) for event in self.journal.events("ensemble")), default=0)

    def round_folder(self, number: int) -> Path:
        """Where a round keeps its files."""
        return self.root / "rounds" / f"{number:02d}"

    def prediction_folder(self, number: int, model: str, key: str) -> Path:
        """Of one model and case."""
        return self.round_folder(number) / "models" / model / key

    def pseudo_folder(self, number: int, key: str) -> Path:
        """Of the fused labels of one case."""
        return self.round_folder(number) / "labels" / key

    def priority_folder(self, number: int) -> Path:
        """Where a round keeps its ranking (:mod:`suprem.atlas.ranking`)."""
        return self.round_folder(number) / "priority"

    def revision_folder(self, key: str, number: int) -> Path:
        """Of one revision of a case, counted from 1."""
        return self.root / "revisions" / key / f"{number:04d}"

    def revisions(self, key: str) -> tuple[int, ...]:
        """Numbers of the accepted revisions of a case, ascending; reviews that changed nothing have none."""
        events = [event.facts for event in self.journal.events("revision") if event.facts["case"] == key]
        return tuple(sorted(int(facts["revision"]) for facts in events if facts["revision"] is not None))

    def labels(self, key: str) -> LabelSet:
        """The labels of a case that count now; structures nobody has annotated are left out.

        Raises:
            UnknownNameError: the store has no such case.
            VolumeError: files are damaged.
        """
        record = self.store.record(key)
        layers = [expert_labels(self.store, key, self.structures)]
        layers += [LabelSet.read(folder) for folder in self._layers(key)]
        return _stacked(layers, record.shape, np.array(record.affine), self.structures)

    def provenance(self, key: str) -> dict[str, Provenance]:
        """Where the labels of a case come from, without reading the labels; in the order of the registry.

        Raises:
            UnknownNameError: the store has no such case.
            ConfigurationError: files are damaged.
        """
        record = self.store.record(key)
        found = {name: Provenance("expert", record.dataset) for name in record.annotated}
        for folder in self._layers(key):
            found = {**read_provenance(folder), **found}
        return {name: found[name] for name in self.structures if name in found}

    def _layers(self, key: str) -> list[Path]:
        """Folders of labels beside those of the dataset, the most trusted first."""
        folders = [self.revision_folder(key, n) for n in reversed(self.revisions(key))]
        pseudo = self.pseudo_folder(self.round, key)
        return [*folders, pseudo] if pseudo.is_dir() else folders  # a case that came later waits for the next round


def expert_labels(store: Store, key: str, structures: tuple[str, ...]) -> LabelSet:
    """What the dataset itself annotates of a case; without structures where nothing is annotated.

    Voxels that the dataset leaves open (``ignore``) count as background.
    """
    case, record = store.case(key), store.record(key)
    names = tuple(name for name in structures if name in record.annotated)
    affine = np.array(record.affine)
    if not names:
        return LabelSet(np.zeros(record.shape, dtype=np.uint8), (frozenset(),), affine, {})
    kept = frozenset(names)
    table = tuple(entry & kept for entry in case.table)
    return LabelSet(case.labels(), table, affine, {name: Provenance("expert", record.dataset) for name in names})


def _stacked(
    layers: list[LabelSet], shape: tuple[int, int, int], affine: npt.NDArray[np.float64], structures: tuple[str, ...]
) -> LabelSet:
    """Each structure from the first layer that has it."""
    if layers[0].provenance and len([layer for layer in layers if layer.provenance]) == 1:
        return layers[0]
    builder, provenance = PaletteBuilder(shape), {}
    for name in structures:
        layer = next((layer for layer in layers if name in layer.provenance), None)
        if layer is not None:
            builder.add(name, layer.mask(name))
            provenance[name] = layer.provenance[name]
    return LabelSet(*builder.finish(), affine, provenance)

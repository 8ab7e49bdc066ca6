"""Foreign checkpoint files become published folders, with a record of what happened to each tensor."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from suprem.errors import CheckpointError, ConfigurationError
from suprem.zoo.folder import save_folder
from suprem.zoo.load import load_pretrained
from suprem.zoo.report import LoadReport

__all__ = ["convert"]


def convert(
    path: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    backbone: str | None = None,
    source_classes: str | Sequence[str] | None = None,
    backbone_kwargs: Mapping[str, Any] | None = None,
    notes: str = "",
    overwrite: bool = False,
) -> LoadReport:
    """Writes a checkpoint file of another program as a folder that ``load_pretrained("local-dir:...")`` reads.

    Args:
        path: ``.pth``, ``.pt`` or ``.safetensors``; nothing in it is executed.
        folder: must not exist, unless ``overwrite``.
        name: what the model is called, ``architecture.tag``; ``None`` makes one from the architecture and the file.
        backbone: ``None`` finds it from the tensor names.
        source_classes: meaning of the output channels, see :func:`suprem.load_pretrained`.
        backbone_kwargs: options of the backbone.
        notes: Markdown for the README: where the file comes from, its licence.
        overwrite: replace an existing folder.

    Returns:
        What was loaded, renamed and dropped.

    Raises:
        CheckpointError: the file is not recognised, damaged, or holds no complete network.
        ConfigurationError: the meaning of its channels is not known.
        UnsafeFileError: reading the file would execute code.
        OutputError: the folder exists, or cannot be written.
    """
    if not os.path.isfile(path):
        raise CheckpointError(f"{path} is not a file; give a checkpoint file.")
    network = load_pretrained(
        f"local-file:{path}", backbone=backbone, source_classes=source_classes, backbone_kwargs=backbone_kwargs
    )
    report, config = network.load_report, network.config
    if report is None or config is None:
        raise ConfigurationError(f"{path} was loaded without a record; convert() needs load_pretrained's.")
    if report.initialised:
        raise CheckpointError(
            f"{path} fills {len(report.loaded)} of {len(report.loaded) + len(report.initialised)} tensors of "
            f"{config.backbone!r}; {', '.join(report.initialised[:3])} would be random. It is no complete network: "
            f"fine-tune from it with load_pretrained('local-file:{path}', classes=[...]), and publish the result."
        )
    network.config = replace(config, name=name or f"{config.backbone}.{Path(path).stem}")
    save_folder(network, folder, notes=notes, overwrite=overwrite)
    return report

"""Writes the pages of docs/reference/generated from the registries, docstrings, command line and measurements."""

import dataclasses
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from dataset_pages import dataset_pages
from experiment_pages import experiment_pages
from measurement_pages import measurement_pages
from sphinx.util.nodes import make_refnode
from typer.main import get_command

import suprem
from suprem import labels, zoo
from suprem.cli._shell import app
from suprem.doctor import CHECKS, EXIT_CODES
from suprem.inference import postprocessing
from suprem.zoo import card_parts

DOCS = Path(__file__).resolve().parents[1]
ROOT = DOCS.parent
OUT = DOCS / "reference" / "generated"
# Private modules that whoever adds a file to the package has to know.
INTERFACES = ("suprem.backbones._base", "suprem._registry")


def setup(sphinx: Any) -> dict[str, bool]:
    """Sphinx entry point."""
    sphinx.connect("builder-inited", lambda _: write_all())
    sphinx.connect("missing-reference", resolve_by_object)
    return {"parallel_read_safe": True}


def resolve_by_object(sphinx: Any, env: Any, node: Any, text: Any) -> Any:
    """Links a name by the object behind it: `suprem.load_pretrained` leads to where the function is documented.

    A private object that exists but has no page stays plain text; a name that does not exist stays a warning.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("suprem."):
        return None
    found = locate(target)
    if found is None:
        return None
    home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
    entry = env.get_domain("py").objects.get(home)
    if entry is not None:
        return make_refnode(sphinx.builder, node["refdoc"], entry.docname, entry.node_id, text, home)
    return text if "._" in home else None


def locate(dotted: str) -> Any:
    """The object that a dotted name means, or None."""
    parts = dotted.split(".")
    for split in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:split]))
        except ModuleNotFoundError:
            continue
        for part in parts[split:]:
            found = getattr(found, part, None)
        return found
    return None


def write_all() -> None:
    """Writes every generated page; files that did not change keep their time stamp, so that rebuilds stay quick."""
    pages = {
        "backbones.md": backbones_page(),
        "label-spaces.md": label_spaces_page(),
        "structures.md": structures_page(),
        "command-line.md": command_line_page(),
        "post-processing.md": post_processing_page(),
        "formats.md": schema_page(),
        "doctor.md": doctor_page(),
        **checkpoint_pages(),
        **dataset_pages(table),
        **experiment_pages(),
        **measurement_pages(table),
        **api_pages(),
    }
    OUT.mkdir(parents=True, exist_ok=True)
    for stale in {*OUT.glob("*.md"), *OUT.glob("*.svg")} - {OUT / name for name in pages}:
        stale.unlink()
    for name, text in pages.items():
        path = OUT / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def table(head: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(value) for value in line) + " |" for line in lines) + "\n"


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def backbones_page() -> str:
    """One row per registered backbone."""
    rows = []
    for name in suprem.list_backbones():
        network = suprem.create_model(name, num_classes=32)
        parameters = sum(p.numel() for p in network.parameters())
        tensors = len(network.state_dict())
        rows.append([f"`{name}`", f"{parameters / 1e6:.2f} M", tensors, network.divisor, network.decoder_channels])
    return "# Backbones\n\nCounted at build time from `create_model(name, num_classes=32)`.\n\n" + table(
        ["name", "parameters", "tensors in the state dict", "sizes divisible by", "decoder channels"], rows
    )


def checkpoint_pages() -> dict[str, str]:
    """An overview and one page per card."""
    names = suprem.list_checkpoints()
    cards = {name: zoo.card(name) for name in names}
    toc = "\n".join(f"checkpoint-{name}" for name in names)
    rows = [checkpoint_row(name, card) for name, card in cards.items()]
    head = ["name", "network", "parameters", "pre-training", "classes", "size", "licence of the weights"]
    overview = (
        "# Checkpoints\n\nGenerated from the cards in `zoo/`. `suprem zoo show NAME` prints the same.\n\n"
        + table(head, rows)
        + "\n```{toctree}\n:maxdepth: 1\n\n"
        + toc
        + "\n```\n"
    )
    return {
        "checkpoints.md": overview,
        **{f"checkpoint-{name}.md": card_page(name, card) for name, card in cards.items()},
    }


def checkpoint_row(name: str, card: Any) -> list[Any]:
    """A card in one line."""
    form = card.architecture
    return [
        f"[`{name}`](checkpoint-{name}.md)",
        form.backbone if form.built else f"{form.backbone}, not loadable",
        f"{form.parameters / 1e6:.2f} M" if form.parameters else "not recorded",
        f"{card.supervision.value}; {card.training_data.value}",
        len(card.class_names) or "none",
        f"{card.file.size_bytes / 1e6:.1f} MB" if card.file.size_bytes else card.file.approximate_size,
        card.licences.weights.value,
    ]


def schema_page() -> str:
    """The fields of ``config.json`` and of a card, from the dataclasses that check them."""
    parts = [
        "# Formats of a checkpoint\n",
        "Unknown keys, missing keys and wrong types are errors that name the file and the key.\n",
        "## The published folder\n",
        table(
            ["file", "what it is"],
            [
                ["`model.safetensors`", "the tensors, under the names of the published checkpoints"],
                ["`config.json`", "below; it names a registered backbone, never a Python path"],
                ["`golden.safetensors`", "a seeded input's outputs, at most 100 kB; absent with head `none`"],
                ["`README.md`", "the model card, with the metadata of the Hub"],
            ],
        ),
        fields_of("config.json", zoo.ModelConfig, {"format_version": "1"}),
        fields_of("preprocessing", zoo.Preprocessing, {}),
        "## The card\n\nOne YAML file per checkpoint in `zoo/`, named after it; it describes files elsewhere.\n",
        fields_of("card", zoo.Card, {"format_version": "1"}),
    ]
    for name in card_parts.__all__:
        part = getattr(card_parts, name)
        if dataclasses.is_dataclass(part):
            parts.append(fields_of(name, part, {}))
    return "\n".join(parts)


def fields_of(title: str, cls: Any, constant: dict[str, str]) -> str:
    """One row per field: type, default, and what its class says about it."""
    text = inspect.getdoc(cls) or ""
    said = {name: " ".join(line.split()) for name, line in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", text, re.M)}
    rows: list[list[Any]] = [[f"`{name}`", value, "", "of this format"] for name, value in constant.items()]
    for field in dataclasses.fields(cls):
        kind = (
            field.type.__name__ if type(field.type) is type else re.sub(r"\b[a-z_.]+\.(?=[A-Z])", "", str(field.type))
        )
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        default = "" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        told = re.sub(r":\w+:`~?([^`]*)`", r"`\1`", said.get(field.name, "").replace("``", "`"))
        rows.append([f"`{field.name}`", f"`{kind}`", default if optional else "required", told])
    return f"### {title}\n\n{summary(cls)}\n\n" + table(["field", "type", "default", "meaning"], rows)


def card_page(name: str, card: Any) -> str:
    """Every field of one card."""
    parts = [f"# {name}\n\n{card.title}. {_sentence(card.intended_use)}\n"]
    if not card.architecture.built:
        parts.append(f":::{{warning}}\nNot loadable in this version: {card.architecture.reason}.\n:::\n")
    rows = [
        ["backbone", f"`{card.architecture.backbone}`, head: {card.architecture.head}"],
        ["parameters", f"{card.architecture.parameters:,}" if card.architecture.parameters else "not recorded"],
        ["pre-training", _fact(card.supervision)],
        ["data", _fact(card.training_data)],
        ["where", _location(card)],
        ["size", f"{card.file.size_bytes:,} bytes" if card.file.size_bytes else card.file.approximate_size],
        ["SHA-256", f"`{card.file.sha256}`" if card.file.sha256 else "not recorded"],
        ["tensor names", _fact(card.file.layout)],
        ["licence of the weights", _fact(card.licences.weights)],
        ["licence of the data", _fact(card.licences.data)],
        ["licence of the original code", _fact(card.licences.code)],
        ["paper", f"{card.paper.authors}: *{card.paper.title}* {card.paper.venue} {card.paper.year}"],
    ]
    if card.preprocessing:
        contract = card.preprocessing
        values = contract.values
        spacing = " x ".join(f"{v:g}" for v in values.spacing_mm) + " mm" if values.spacing_mm else "the scan's own"
        window = f"HU {values.hu_window[0]:g} to {values.hu_window[1]:g}"
        patch = " x ".join(str(v) for v in values.patch_size)
        rows.append(["input", f"{values.orientation}, {spacing}, {window}, windows of {patch} ({contract.confidence})"])
    if card.class_names:
        rows.append(["classes, in channel order", ", ".join(card.class_names)])
    if card.classes:
        rows.append(["order known from", f"{_sentence(card.classes.note)} ({card.classes.confidence})"])
    parts.append(table(["", ""], rows))
    for title, lines in (("Provenance", card.provenance), ("Unknown", card.unknown)):
        if lines:
            parts.append(f"## {title}\n\n" + "\n".join(f"- {_sentence(line)}" for line in lines) + "\n")
    return "\n".join(parts)


def _fact(fact: Any) -> str:
    return f"{fact.value} ({fact.confidence})" + (f". {_sentence(fact.note)}" if fact.note else "")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _location(card: Any) -> str:
    place = card.location
    if place.kind == "bundled":
        return "bundled with the package"
    return f"`{place.repo}`, `{place.filename}`, revision {place.revision or 'not pinned: unknown'}"


def structures_page() -> str:
    """Names, synonyms, parents and codes of all structures."""
    rows = []
    for name in labels.list_structures():
        s = labels.structure(name)
        code = f"{s.code.scheme} {s.code.value}"
        rows.append([f"`{name}`", s.group, s.side or "", ", ".join(s.parents), ", ".join(s.synonyms), code])
    return (
        "# Structures\n\nThe names on the left are canonical; a synonym is understood wherever a name is asked for.\n\n"
        + table(["name", "group", "side", "inside of", "synonyms", "code"], rows)
    )


def label_spaces_page() -> str:
    """All numberings."""
    parts = [
        "# Label spaces\n\nA label array always travels with its numbering; "
        "[why](../../explanation/geometry-and-label-spaces.md).\n"
    ]
    for name in labels.list_label_spaces():
        space = labels.label_space(name)
        numbers = ", ".join(f"{number} {structure}" for number, structure in sorted(space.numbers.items()))
        kind = "may overlap" if space.overlapping else "exclusive"
        parts.append(
            f"## `{name}`\n\n{space.title}. {len(space.numbers)} classes, {kind}. Source: {space.source}\n\n{numbers}\n"
        )
    return "\n".join(parts)


def command_line_page() -> str:
    """The help of every command."""
    parts = ["# Command line\n\nExit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted.\n"]
    commands = command_names(get_command(app))
    for command, text in zip(commands, helps(commands), strict=True):
        parts.append(f"## `{' '.join(('suprem', *command))}`\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def command_names(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words that lead to a command, then those of its subcommands."""
    children = getattr(command, "commands", {})
    return [path] + [found for name, child in children.items() for found in command_names(child, (*path, name))]


def helps(commands: list[tuple[str, ...]]) -> list[str]:
    """What commands print after ``--help``, in plain text of fixed width; one process, which imports torch once."""
    environment = {**os.environ, "COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("print_helps.py")],
        env=environment, input=json.dumps(commands), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return ["\n".join(line.rstrip() for line in text.strip().splitlines()) for text in json.loads(done.stdout)]


def post_processing_page() -> str:
    """The named profiles, with every rule that they apply to the 32 structures of the published checkpoints."""
    parts = [
        "# Post-processing profiles\n",
        "Off unless named: `--postprocess NAME`, `segment(..., postprocess=NAME)`.\n",
    ]
    classes = labels.label_space("universal_32").names
    for name in postprocessing.list_postprocess():
        rules = postprocessing._PROFILES[name](classes)
        parts.append(f"## `{name}`\n")
        rows: dict[tuple[str, str], list[str]] = {}
        for rule in rules:
            limits = {f.name: getattr(rule, f.name) for f in dataclasses.fields(rule)}
            subject = limits.pop("name", None) or " and ".join(rule.classes)
            shown = ", ".join(
                f"{key}: {_plain(value)}" for key, value in limits.items() if key not in ("left", "right")
            )
            rows.setdefault((summary(rule), shown), []).append(subject)
        if rows:
            parts.append(table(["rule", "settings", "structures"], [[*key, ", ".join(v)] for key, v in rows.items()]))
        else:
            parts.append("Masks stay as the network made them.\n")
    return "\n".join(parts)


def summary(item: object) -> str:
    """The first sentence of a docstring as plain Markdown."""
    text = " ".join((inspect.getdoc(item) or "").partition("\n\n")[0].split())
    return re.sub(r", see :\w+:`[^`]*`", "", text.replace("``", "`"))


def _plain(value: Any) -> str:
    return " and ".join(value) or "none" if isinstance(value, tuple) else str(value)


def doctor_page() -> str:
    """Every kind of finding of `suprem doctor`, from the tables that it takes severity and advice from."""
    codes = ", ".join(f"{code} {severity or 'nothing'}" for severity, code in EXIT_CODES.items())
    parts = [
        "# Findings of the doctor\n",
        f"What `suprem doctor` can find, and `suprem predict` of scans. Exit codes by the worst finding: {codes}; "
        "2 is for bad arguments.\n",
    ]
    for kind, meanings in CHECKS.items():
        rows = [[f"`{code}`", m.severity, f"{m.meaning}.", m.advice] for code, m in meanings.items()]
        parts.append(f"## {kind.capitalize()}\n\n" + table(["finding", "severity", "what it is", "what to do"], rows))
    return "\n".join(parts)


def api_pages() -> dict[str, str]:
    """One page per public module, its objects in the order of ``__all__``."""
    pages = {}
    for name in ["suprem", *INTERFACES, *public_modules()]:
        pages[f"api-{name}.md"] = module_page(import_module(name))
    toc = "\n".join(Path(page).stem for page in pages)
    pages["api.md"] = "# Python API\n\n```{toctree}\n:maxdepth: 1\n\n" + toc + "\n```\n"
    return pages


def public_modules() -> list[str]:
    """Dotted names without a private part, sorted."""
    names = {module.name for module in pkgutil.walk_packages(suprem.__path__, "suprem.")} - {"suprem.zoo.cards"}
    return sorted(name for name in names if "._" not in name)


def module_page(module: ModuleType) -> str:
    """autodoc directives for what ``module`` defines itself or takes from a private module."""
    own, elsewhere = [], []
    for name in getattr(module, "__all__", []):
        home = getattr(getattr(module, name), "__module__", module.__name__)
        private = any(part.startswith("_") for part in home.split("."))
        (own if home == module.__name__ or private else elsewhere).append((name, home))
    directives = []
    for name, _ in own:
        value = getattr(module, name)
        kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
        if inspect.isclass(value) and issubclass(value, BaseException):
            kind = "exception"
        members = "\n   :members:" if kind in ("class", "exception") else ""
        if members and value.__bases__ != (object,):
            members += "\n   :show-inheritance:"
        directives.append(f".. auto{kind}:: {module.__name__}.{name}{members}\n")
    text = (
        f"# {module.__name__}\n\n```{{eval-rst}}\n.. automodule:: {module.__name__}\n   :no-members:\n\n"
        + "\n".join(directives)
        + "```\n"
    )
    if elsewhere:
        text += "\nAlso here: " + ", ".join(f"{{py:obj}}`~{home}.{name}`" for name, home in elsewhere) + ".\n"
    return text

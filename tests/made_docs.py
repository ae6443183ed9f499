"""What the documents take from the code. `python tests/made_docs.py` writes it; tests check that it is current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from regplug.api import KINDS, Component
from regplug.cli.component import component_lines
from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
from regplug.config.params import describe_params
from regplug.config.spec import write_value
from regplug.registry import Registered, Registry, default_registry

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
COMPONENTS = DOCS / "regularizers.md"

_PLACE = r"(<!-- made: {name} -->\n).*?(<!-- end -->)"
_TITLES = {
    "regularizer": "Regularizers",
    "activation": "Activations",
    "initializer": "Initializers",
    "model": "Models",
    "dataset": "Datasets",
    "loss": "Losses",
    "optimizer": "Optimizers",
    "schedule": "Schedules of the learning rate",
    "probe": "Probes",
    "format": "Export formats",
    "study": "Studies",
}


def defaults_table() -> str:
    """Returns every field of a run with its default, as a table."""
    lines = ["| flag | default | what it is |", "|---|---|---|"]
    for info in describe_params(RunConfig):
        flag = "--" + info.name.replace("_", "-") + (", repeats" if info.name in REPEATED_FIELDS else "")
        bounds = f" {info.bounds}." if info.bounds else ""
        lines.append(f"| `{flag}` | {_default(info.default)} | {info.doc}{bounds} |".replace("2**63", "2^63"))
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return f"`{value}`" if value != "" else "empty"


def components_page(registry: Registry) -> str:
    """Returns the reference of every first-party component."""
    return "\n".join(_page(registry)) + "\n"


def _page(registry: Registry) -> Iterator[str]:
    yield "# Components"
    yield ""
    yield "What regplug brings along. This page is made from the registry by `python tests/made_docs.py`; "
    yield "`regplug plugins list` and `regplug plugins show NAME` tell the same of what is installed on your machine."
    for kind in KINDS:
        ours = [one for one in registry.components(kind) if one.distribution == "regplug"]
        if ours:
            yield from ("", f"## {_TITLES[kind]}")
        for one in ours:
            yield from _component(one)


def _component(one: Registered) -> Iterator[str]:
    component = one.component
    yield from ("", f"### {component.name}", "", component.summary, "")
    if component.source:
        yield f"- source: {component.source}"
    for line in component_lines(one, component.name)[1:]:
        if line.startswith("parameters"):
            break
        name, _, text = line.partition(" ")
        if name not in ("source", "from", "code"):
            yield f"- {name}: {text.strip()}"
    yield f"- code: `{component.target}`"
    yield from _parameters(component)


def _parameters(component: Component) -> Iterator[str]:
    infos = describe_params(component.params)
    if not infos:
        return
    yield from ("", "| parameter | default | allowed | what it is |", "|---|---|---|---|")
    for info in infos:
        value = write_value(list(info.default) if isinstance(info.default, tuple) else info.default)
        default = "must be given" if info.needed else f"`{value}`"
        allowed = info.allowed.replace("|", "\\|")
        yield f"| `{info.name}` | {default} | {allowed} | {info.doc} |"


def put(text: str, name: str, made: str) -> str:
    """Returns a document with a marked place filled."""
    place = re.compile(_PLACE.format(name=name), re.DOTALL)
    if not place.search(text):
        raise ValueError(f"there is no place for {name}")
    return place.sub(lambda found: found[1] + made + found[2], text)


def write() -> None:
    """Writes everything into the documents."""
    for page in (README, DOCS / "configuration.md"):
        page.write_text(put(page.read_text(encoding="utf-8"), "defaults", defaults_table()), encoding="utf-8")
    COMPONENTS.write_text(components_page(default_registry()), encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """Returns the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    write()
    sys.stdout.write(f"written: {README.name}, {COMPONENTS.name}, fields of {len(KIND_BY_FIELD)} kinds\n")

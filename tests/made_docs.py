"""Generates the parts of the documents that come from the code. Tests check that they are current."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path

import made_signatures

from regplug.api import Component
from regplug.cli.component import component_lines, example_of
from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
from regplug.config.literals import write_value
from regplug.config.params import describe_params
from regplug.registry import Registered, Registry, default_registry

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCS = ROOT / "docs"

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
_OWN_PAGES = ("regularizer", "activation", "model", "dataset")
PAGES: Mapping[Path, Sequence[str]] = {
    **{DOCS / f"{_TITLES[kind].lower()}.md": (kind,) for kind in _OWN_PAGES},
    DOCS / "components.md": tuple(kind for kind in _TITLES if kind not in _OWN_PAGES),
}
"""The kinds whose first-party components each generated page describes."""


def defaults_table() -> str:
    """Returns every field of a run with its default, as a table."""
    lines = ["| flag | default | what it is |", "|---|---|---|"]
    for info in describe_params(RunConfig):
        flag = "--" + info.name.replace("_", "-") + (", repeats" if info.name in REPEATED_FIELDS else "")
        bounds = f" {info.bounds.capitalize()}." if info.bounds else ""
        lines.append(f"| `{flag}` | {_default(info.default)} | {info.doc}{bounds} |".replace("2**63", "2^63"))
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value) or "none"
    return f"`{value}`" if value != "" else "empty"


def components_page(registry: Registry, kinds: Sequence[str]) -> str:
    """Returns the reference of every first-party component of these kinds."""
    return "\n".join(_page(registry, kinds)) + "\n"


def _page(registry: Registry, kinds: Sequence[str]) -> Iterator[str]:
    title = _TITLES[kinds[0]] if len(kinds) == 1 else "Other components"
    yield from (f"# {title}", "", "What regplug includes. `python tests/made_docs.py` generates this page from the")
    yield "descriptors; `regplug plugins list` and `regplug plugins show NAME` print the same for what is installed."
    for kind in kinds:
        ours = [one for one in registry.components(kind) if one.origin.is_first_party]
        if ours and len(kinds) > 1:
            yield from ("", f"## {_TITLES[kind]}")
        ours.sort(key=lambda one: one.component.family)
        for family, group in groupby(ours, key=lambda one: one.component.family):
            members = list(group)
            yield from _family(family, members)
            for one in members:
                yield from _component(one)


def _family(family: str, members: Sequence[Registered]) -> Iterator[str]:
    """The heading of a family, the text of its package, and its members in short."""
    if not family:
        return
    yield from ("", f"## {family.replace('_', ' ').capitalize()}", "", *_family_text(family, members))
    yield from ("", "| name | what it does |", "|---|---|")
    yield from (f"| [{one.name}](#{one.name}) | {_cell(one.component.summary)} |" for one in members)


def _family_text(family: str, members: Sequence[Registered]) -> Sequence[str]:
    package = f"{members[0].origin.module.partition(':')[0]}.{family}"
    return (import_module(package).__doc__ or "").strip().splitlines() if find_spec(package) else ()


def _component(one: Registered) -> Iterator[str]:
    component = one.component
    yield from ("", f"### {component.name}", "", component.summary, "")
    if component.formula:
        yield from (f"    {component.formula}", "")
    if component.source:
        yield f"- source: {component.source}"
    for line in component_lines(one, component.name)[1:]:
        if line.startswith("parameters"):
            break
        name, _, text = line.partition(" ")
        if name not in ("formula", "source", "family", "from", "code"):
            yield f"- {name}: {text.strip()}"
    yield f"- code: `{component.target}`"
    if example := example_of(component, component.name):
        yield f"- example: `{example}`"
    yield from _parameters(component)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _parameters(component: Component) -> Iterator[str]:
    infos = describe_params(component.params)
    if not infos:
        return
    yield from ("", "| parameter | default | allowed | what it is |", "|---|---|---|---|")
    for info in infos:
        value = write_value(list(info.default) if isinstance(info.default, tuple) else info.default)
        default = "must be given" if info.needed else f"`{value}`"
        yield f"| `{info.name}` | {default} | {_cell(info.allowed)} | {_cell(info.doc)} |"


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
    for page, kinds in PAGES.items():
        page.write_text(components_page(default_registry(), kinds), encoding="utf-8")
    made_signatures.write()


def blocks(text: str, language: str) -> list[str]:
    """Returns the code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    write()
    sys.stdout.write(
        f"written: {README.name}, {', '.join(page.name for page in PAGES)}, fields of {len(KIND_BY_FIELD)} kinds\n"
    )

"""The hook reference in docs/plugins.md, made from the hook specifications: `python tests/hook_reference.py`."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from regplug import hookspecs
from regplug.api import KINDS, Component
from regplug.hookspecs import HOOK_KINDS

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "plugins.md"
BEGIN = "<!-- hooks: made by `python tests/hook_reference.py` -->\n"
END = "<!-- end of hooks -->"


def reference() -> str:
    """Returns the section between the two marks."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "A hook takes no arguments and returns, or yields, descriptors of its kind. Every descriptor has:"
    yield ""
    yield from _fields(Component)
    targets = _targets()
    for name, kind in HOOK_KINDS.items():
        function, cls = getattr(hookspecs, name), KINDS[kind]
        yield from ("", f"### `{name}`", "", "```python")
        yield from (f"def {name}{signature(function)}", "```", "")
        yield (inspect.getdoc(function) or "").strip()
        if kind in targets:
            yield from ("", f"Target: {targets[kind]}")
        own = list(_fields(cls, besides=Component))
        if own:
            yield from ("", f"`{cls.__name__}` also has:", "", *own)


def signature(function: Callable[..., object]) -> str:
    """Returns a hook's signature as its author would write it."""
    return str(inspect.signature(function)).replace("'", "")


def _fields(cls: type, besides: type | None = None) -> Iterator[str]:
    known = {field.name for field in dataclasses.fields(besides)} if besides else set()
    docs = _field_docs(cls)
    for field in dataclasses.fields(cls):
        if field.name not in known:
            is_needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
            default = "" if is_needed else f" = {_shown(field.default)}"
            yield f"- `{field.name}: {field.type}{default}` {docs.get(field.name, '')}".rstrip()


def _shown(default: object) -> str:
    return default.__name__ if isinstance(default, type) else repr(default)


def _field_docs(cls: type) -> dict[str, str]:
    """What the docstring's Args say of each field."""
    _, _, args = (inspect.getdoc(cls) or "").partition("Args:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", args, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in found}


def _targets() -> dict[str, str]:
    """What the table at the head of `regplug.api` says of each kind's target."""
    from regplug import api

    rows = re.findall(r"^\| (\w+)(.*?) \| (.+) \| (.+) \|$", api.__doc__ or "", re.MULTILINE)
    targets: dict[str, str] = {}
    for kind, when, what, how in rows:
        if kind in KINDS:
            before = f"{targets[kind]}\n{when.strip().capitalize()}: " if kind in targets else ""
            targets[kind] = f"{before}{what}, called as {how}."
    return targets


def current() -> str:
    """Returns what the document has there now."""
    return DOCUMENT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = DOCUMENT.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    DOCUMENT.write_text(head + BEGIN + reference() + END + rest.partition(END)[2], encoding="utf-8")

"""Writes the fields of a run and of a study into the signatures and docstrings of the functions."""

from __future__ import annotations

import builtins
import re
import textwrap
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS, RunConfig
from regplug.config.params import ParameterInfo, describe_params
from regplug.studies.design.config import StudyConfig

FUNCTIONS = Path(__file__).parents[1] / "regplug" / "functions"
OF_FOLDS = ("folds", "repeats", "group")
"""Fields of a study that only a cross-validation has."""

_OWN_TYPES = {"model": "ModelLike", "dataset": "DatasetLike", "group": "GroupLike", "target": "TextsLike"}
_SIGNATURE = re.compile(r"(?<=    \*,\n).*?(?=    config: )", re.DOTALL)
_ARGS = re.compile(r"(?<=    Args:\n).*?(?=        config: )", re.DOTALL)


def fields_of(name: str) -> dict[str, tuple[str, ParameterInfo]]:
    """Returns the type and the description of each field that a function takes, by name, in order."""
    run = _fields(RunConfig)
    if name == "run":
        return run
    study = _fields(StudyConfig)
    return {key: study[key] for key in study if key != "base" and (key not in OF_FOLDS or name != "sweep")} | run


def _fields(cls: type) -> dict[str, tuple[str, ParameterInfo]]:
    hints = get_type_hints(cls)
    known = [info for info in describe_params(cls) if info.name != "base"]
    return {info.name: (_type(info.name, hints[info.name]), info) for info in known}


def _type(name: str, hint: Any) -> str:
    if name in _OWN_TYPES:
        return _OWN_TYPES[name]
    if name in KIND_BY_FIELD:
        return "ComponentsLike" if name in REPEATED_FIELDS else "ComponentLike"
    if get_origin(hint) is tuple:
        return "TextsLike"
    if get_origin(hint) is Literal:
        return f"Literal[{', '.join(map(_quoted, get_args(hint)))}]"
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(_type(name, arg) for arg in get_args(hint) if arg is not NoneType)
    return str(hint.__name__)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def doc_of(info: ParameterInfo) -> str:
    """Returns what a docstring says of a field."""
    default = repr(list(info.default)) if isinstance(info.default, tuple) else str(info.default)
    has_default = info.default not in ("", (), None)
    told = [f"By default {default}." * has_default, f"Must be {info.bounds}." * bool(info.bounds)]
    return " ".join(filter(None, [info.doc, *told]))


def _remark(name: str) -> str:
    return "  # noqa: A002 - the name of the field" if hasattr(builtins, name) else ""


def made(text: str, name: str) -> str:
    """Returns the source of a function with its fields written into it."""
    fields = fields_of(name)
    signature = "".join(f"    {key}: {type_} | None = None,{_remark(key)}\n" for key, (type_, _) in fields.items())
    docs = [
        textwrap.fill(f"{key}: {doc_of(info)}", 120, initial_indent=" " * 8, subsequent_indent=" " * 12)
        for key, (_, info) in fields.items()
    ]
    text, count = _SIGNATURE.subn(lambda _: signature, text, count=1)
    text, more = _ARGS.subn(lambda _: "\n".join(docs) + "\n", text, count=1)
    if count + more != 2:
        raise ValueError(f"there is no place for the fields of {name}")
    return text


PLACES = {
    "run": FUNCTIONS / "training.py",
    "sweep": FUNCTIONS / "sweeping.py",
    "cross_validate": FUNCTIONS / "cross_validating.py",
}


def write() -> None:
    """Writes the fields into the source of each function."""
    for name, file in PLACES.items():
        file.write_text(made(file.read_text(encoding="utf-8"), name), encoding="utf-8")

"""Checks of what a study returns, before anything of it is drawn, written or tracked."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, get_args

import numpy as np

from regplug.errors import ComponentError
from regplug.lab.claims import Claim, Verdict
from regplug.lab.findings import Findings
from regplug.reports.drawing import Drawing

_CLAIM_HINT = (
    "Make a claim with a function of regplug.lab: within, greater, equal, exact, bounded, rate, mostly_greater."
)
_FIGURE_HINT = "Make a figure with a function of regplug.lab: curves, series, functions, histograms, spreads, panels."

_PART = r"(?!\.)[\w .:=+,()\[\]-]+"
_NAME = re.compile(rf"{_PART}(/{_PART})*")
_NAME_HINT = (
    "Use letters, digits, spaces and any of _ . : = + - , ( ) [ ]; a / separates parts, and no part starts with ."
)
_FIGURE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_FIGURE_NAME_HINT = "It names files: use the letters a to z and A to Z, digits and _ . - with a letter or digit first."


def check_findings(found: object) -> None:
    """Checks what a study's function returned.

    Args:
        found: What it returned.

    Raises:
        ComponentError: It is not `Findings`, or a part has a type, a name or a value that is not allowed.
    """
    if not isinstance(found, Findings):
        raise ComponentError(f"It returned a {_type(found)}.", hint="A study returns regplug.lab.Findings.")
    _check_items("claims", found.claims, Claim, _CLAIM_HINT)
    _check_items("figures", found.figures, Drawing, _FIGURE_HINT)
    if not isinstance(found.values, Mapping):
        raise ComponentError(f"Its values are a {_type(found.values)}.", hint="Give a dict: a number or list by name.")
    if not isinstance(found.text, str):
        raise ComponentError(f"Its text is a {_type(found.text)}.", hint="Give a str.")
    for claim in found.claims:
        _check_claim(claim)
    for figure in found.figures:
        _check_name("figure", figure.name, _FIGURE_NAME, _FIGURE_NAME_HINT)
        _check_texts(f"figure {figure.name}", {"title": figure.title, "caption": figure.caption})
    for name, value in found.values.items():
        _check_name("value", name, _NAME, _NAME_HINT)
        _check_value(name, value)
    _check_unique("claims", [claim.name for claim in found.claims])
    _check_unique("figures", [figure.name for figure in found.figures])


def _check_items(what: str, items: object, kind: type, hint: str) -> None:
    if not isinstance(items, Collection):
        raise ComponentError(f"Its {what} are a {_type(items)}.", hint="Give a list.")
    for item in items:
        if not isinstance(item, kind):
            raise ComponentError(f"One of its {what} is a {_type(item)}: {reprlib.repr(item)}.", hint=hint)


def _check_claim(claim: Claim) -> None:
    _check_name("claim", claim.name, _NAME, _NAME_HINT)
    _check_texts(f"claim {claim.name}", {"text": claim.text, "source": claim.source, "why": claim.why})
    if claim.verdict not in get_args(Verdict):
        raise ComponentError(
            f"The verdict of the claim {claim.name} is {claim.verdict!r}.",
            hint=f"Allowed: {', '.join(get_args(Verdict))}.",
        )


def _check_name(what: str, name: object, allowed: re.Pattern[str], hint: str) -> None:
    if not isinstance(name, str) or not allowed.fullmatch(name):
        raise ComponentError(f"The name {name!r} of a {what} is not allowed.", hint=hint)


def _check_texts(owner: str, texts: Mapping[str, object]) -> None:
    for name, text in texts.items():
        if not isinstance(text, str):
            raise ComponentError(f"The {name} of the {owner} is a {_type(text)}.", hint="Give a str.")


def _check_value(name: str, value: Any) -> None:
    try:
        is_allowed = np.asarray(value, np.float64).ndim <= 1
    except (TypeError, ValueError, RuntimeError):
        is_allowed = False
    if not is_allowed:
        raise ComponentError(
            f"The value {name} is not a number and not a list of numbers: {reprlib.repr(value)}.",
            hint="Give one number, or one for each seed.",
        )


def _check_unique(what: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ComponentError(f"It has several {what} named {twice[0]}.", hint="Give each its own name.")


def _type(value: object) -> str:
    return type(value).__name__

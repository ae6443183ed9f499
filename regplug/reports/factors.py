"""The factors in which settings differ: numbers, such as strengths, and names."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regplug.config import KIND_BY_FIELD, REPEATED_FIELDS
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError
from regplug.statistics import Setting, Study

MOST_LINEAR_RATIO = 4.0
"""Largest ratio of the steps between values that a linear axis still shows well: 1, 2, 5 has 3."""

NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Response:
    """How settings that differ in one number depend on it.

    Args:
        factor: The number, such as `reg.l2.strength`.
        lines: Settings with their number, ascending, by the value of everything else in which they differ.
    """

    factor: str
    lines: Mapping[str, Sequence[tuple[float, str]]]

    @property
    def xs(self) -> set[float]:
        """All values of the number."""
        return {x for points in self.lines.values() for x, _ in points}

    @property
    def labels(self) -> set[str]:
        """The settings that lie on a line."""
        return {label for points in self.lines.values() for _, label in points}


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Settings as the cells of a grid of two factors.

    Args:
        names: The factor down and the factor across.
        values: Their values.
        cells: Setting by value down and value across.
    """

    names: tuple[str, str]
    values: tuple[Sequence[Any], Sequence[Any]]
    cells: Mapping[tuple[Any, Any], str]


def factors_of(study: Study) -> dict[str, dict[str, Any]]:
    """Returns the value of each factor that varies, by setting and factor.

    A component's parameters are factors of their own: `reg=l2:strength=0.1` is `reg=l2` and `reg.l2.strength=0.1`.
    """
    flat = {setting.label: _flat(setting) for setting in study.settings}
    names = dict.fromkeys(name for values in flat.values() for name in values)
    distinct = {name: {repr(values.get(name, NONE)) for values in flat.values()} for name in names}
    return {
        label: {name: value for name, value in values.items() if len(distinct[name]) > 1}
        for label, values in flat.items()
    }


def _flat(setting: Setting) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for field, value in setting.varied.items():
        specs = _specs(field, value) if field in KIND_BY_FIELD and isinstance(value, str) else None
        if specs is None:
            found[field] = value
            continue
        found[field] = "+".join(spec.key for spec in specs) or NONE
        for spec in specs:
            prefix = f"{field}.{spec.key}" if field in REPEATED_FIELDS else field
            found |= {f"{prefix}.{name}": inner for name, inner in spec.values.items()}
    return found


@functools.cache
def _specs(field: str, value: str) -> list[ComponentSpec] | None:
    if field == "dataset" or value == NONE:
        return [] if value == NONE else None
    parts = value.split("+") if field in REPEATED_FIELDS else [value]
    try:
        return [ComponentSpec.parse(part.strip()) for part in parts]
    except RequestError:
        return None


def responses_of(study: Study) -> list[Response]:
    """Returns the response to each number that varies: a line for each combination of the other factors."""
    factors = factors_of(study)
    names = dict.fromkeys(name for values in factors.values() for name in values)
    found = []
    for name in names:
        having = {label: values for label, values in factors.items() if name in values}
        if not all(_is_number(values[name]) for values in having.values()):
            continue
        response = Response(factor=name, lines=_lines(name, having))
        if len(response.xs) > 1 and response.lines:
            found.append(response)
    return found


def _lines(name: str, having: Mapping[str, Mapping[str, Any]]) -> dict[str, list[tuple[float, str]]]:
    """Returns the settings that share all other factors, by those of these factors that tell the lines apart."""
    names = dict.fromkeys(other for values in having.values() for other in values if other != name)
    lines: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for label, values in having.items():
        rest = tuple(text(values.get(other, NONE)) for other in names)
        lines.setdefault(rest, []).append((float(values[name]), label))
    kept = {rest: sorted(points) for rest, points in lines.items() if len(points) > 1}
    telling = [(at, short(other)) for at, other in enumerate(names) if len({rest[at] for rest in kept}) > 1]
    return {", ".join(f"{other}={rest[at]}" for at, other in telling): points for rest, points in kept.items()}


def grid_of(study: Study) -> Grid | None:
    """Returns the settings as a grid of the two factors that vary; `None` if there are not two, or no full grid."""
    factors = factors_of(study)
    names = list(dict.fromkeys(name for values in factors.values() for name in values))
    if len(names) != 2:
        return None
    factors = {label: {name: _cell(found.get(name, NONE)) for name in names} for label, found in factors.items()}
    values = [_ordered(found[name] for found in factors.values()) for name in names]
    down, across = sorted((0, 1), key=lambda at: sum(len(text(value)) for value in values[at]), reverse=True)
    cells = {(found[names[down]], found[names[across]]): label for label, found in factors.items()}
    if len(cells) < len(factors) or len(cells) < len(values[0]) * len(values[1]) or min(map(len, values)) < 2:
        return None
    return Grid(names=(names[down], names[across]), values=(values[down], values[across]), cells=cells)


def _cell(value: Any) -> Any:
    """Returns a value that can be looked up: a list, such as the widths of a network, as its text."""
    return text(value) if isinstance(value, list | tuple) else value


def _ordered(values: Any) -> list[Any]:
    found = list(dict.fromkeys(values))
    return sorted(found) if all(map(_is_number, found)) else found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_log_spaced(xs: set[float]) -> bool:
    """Returns whether the nonzero numbers are spaced by factors rather than by equal steps.

    >>> is_log_spaced({0, 0.01, 0.1, 1}), is_log_spaced({1, 2, 3, 4})
    (True, False)
    """
    positive = sorted(x for x in xs if x > 0)
    steps = np.diff(positive)
    return min(xs) >= 0 and len(positive) > 2 and float(steps.max() / steps.min()) >= MOST_LINEAR_RATIO


def short(name: str) -> str:
    """Returns a factor's name without the part that its context implies.

    >>> short("reg.l2.strength"), short("model.hidden"), short("lr")
    ('l2.strength', 'model.hidden', 'lr')
    """
    return name.removeprefix("reg.")


def text(value: Any) -> str:
    """Returns a value as text.

    >>> text(0.30000000000000004), text("none"), text((64, 64))
    ('0.3', 'none', '[64,64]')
    """
    if isinstance(value, float):
        return f"{value:.6g}"
    return f"[{','.join(map(text, value))}]" if isinstance(value, list | tuple) else str(value)

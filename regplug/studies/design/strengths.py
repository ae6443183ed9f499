"""Groups of settings that are compared at their best: each regularizer at its best strength, each at its best rate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from regplug.api import Search
from regplug.config import RunConfig
from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError, did_you_mean
from regplug.registry import Registry
from regplug.studies.design.axes import Axis, find_component
from regplug.studies.design.settings import REG, Setting, is_of_regularizers, label_of, off_values_of

STRENGTH = "strength"

MOST_STRENGTHS = 100


@dataclass(frozen=True, kw_only=True)
class BestOf:
    """What is chosen on validation before the settings are compared.

    Args:
        paths: Axes whose best value is chosen.
        is_strength: Whether the numbers of the regularizers are chosen as well.
        count: Number of strengths of a regularizer that is written without any; 0 leaves it at its defaults.
    """

    paths: tuple[str, ...]
    is_strength: bool = False
    count: int = 0


def read_best_of(text: str, tuned: Sequence[Axis], axes: Sequence[Axis]) -> BestOf:
    """Reads `--best-of`: `strength`, a number of strengths, or axes, separated by commas.

    Args:
        text: The text; empty for none.
        tuned: Axes that are tuned for every setting alike.
        axes: All axes of the study.

    Raises:
        RequestError: It names no axis, or nothing is left to compare.

    >>> read_best_of("3", (), ())
    BestOf(paths=(), is_strength=True, count=3)
    """
    paths = [axis.path for axis in tuned]
    known = [axis.path for axis in axes]
    count, is_strength = 0, False
    for word in filter(None, map(str.strip, text.split(","))):
        if word == STRENGTH:
            is_strength = True
        elif word.isdecimal():
            count, is_strength = int(word), True
            if not 0 < count <= MOST_STRENGTHS:
                raise RequestError(f"--best-of {word} is no number of strengths.", hint=f"Use 1 to {MOST_STRENGTHS}.")
        elif word in known:
            paths.append(word)
        else:
            raise RequestError(
                f"--best-of {word} is no axis of the study.", hint=did_you_mean(word, [*known, STRENGTH])
            )
    if paths and not is_strength and not [path for path in known if path not in paths]:
        raise RequestError(
            "The best value of every axis is chosen, so there is nothing to compare.",
            hint="Add an axis with --grid, such as reg=none,dropout.",
        )
    return BestOf(paths=tuple(paths), is_strength=is_strength, count=count)


def spread_strengths(axis: Axis, count: int, registry: Registry) -> Axis:
    """Returns the axis of the regularizers with several strengths of each component that is written without parameters.

    The strengths are the middles of `count` equal parts of the range that the component declares for searches.

    Args:
        axis: The axis.
        count: Number of strengths; 0 returns the axis as it is.
        registry: The available components.
    """
    if axis.path != REG or not count:
        return axis
    values = [each for value in axis.values for each in _spread(value, count, registry)]
    return dataclasses.replace(axis, values=tuple(dict.fromkeys(values)))


def _spread(value: str, count: int, registry: Registry) -> list[str]:
    found = [""]
    for part in [] if value == "none" else value.split("+"):
        spec = ComponentSpec.parse(part)
        declared = None if spec.values else strength_of(spec, registry)
        own = [part.strip()]
        if declared is not None:
            name, search = declared
            own = [str(spec.with_values({name: number})) for number in _middles(search, count)]
        found = [f"{before}+{each}".removeprefix("+") for before in found for each in own]
    return found if found != [""] else [value]


def strength_of(spec: ComponentSpec, registry: Registry) -> tuple[str, Search] | None:
    """Returns a regularizer's strength with its range: the first parameter that can be off and declares one."""
    found = registry.find("regularizer", registry.locate("regularizer", spec))
    infos = describe_params(found.component.params)
    return next(((i.name, i.search) for i in infos if i.off is not None and i.search is not None), None)


def _middles(search: Search, count: int) -> list[float]:
    shares = [(at + 0.5) / count for at in range(count)]
    if search.log:
        low, high = math.log(search.low), math.log(search.high)
        found = [math.exp(low + (high - low) * share) for share in shares]
    else:
        found = [search.low + (search.high - search.low) * share for share in shares]
    digits = 2 if count <= 10 else 4
    return [float(f"{number:.{digits}g}") for number in found]


def group_settings(settings: Sequence[Setting], best_of: BestOf, base: RunConfig, registry: Registry) -> list[Setting]:
    """Returns the settings with the groups that are compared at their best; without groups if nothing is chosen.

    Args:
        settings: All settings.
        best_of: What is chosen.
        base: The base run, whose regularizers the axes may name.
        registry: The available components.

    Raises:
        RequestError: All settings are in one group.
    """
    if not best_of.paths and not best_of.is_strength:
        return list(settings)
    found = [dataclasses.replace(setting, group=_group_of(setting, best_of, base, registry)) for setting in settings]
    groups = {setting.group for setting in found}
    if len(groups) == 1 and len(found) > 1:
        raise RequestError(
            f"All settings belong to {groups.pop()}, so there is nothing to compare.",
            hint="Leave out --best-of, or add settings to --grid.",
        )
    return found


def _group_of(setting: Setting, best_of: BestOf, base: RunConfig, registry: Registry) -> str:
    kept = {path: value for path, value in setting.values.items() if path not in best_of.paths}
    if best_of.is_strength:
        others = {path: value for path, value in kept.items() if not is_of_regularizers(path)}
        names = [*_names(kept, base, registry)]
        kept = {REG: "+".join(dict.fromkeys(names)) or "none", **others}
    return label_of(kept)


def _names(values: dict[str, Any], base: RunConfig, registry: Registry) -> list[str]:
    """Returns the regularizers of a setting without their numbers; those that are off are left out."""
    found = []
    for path, value in values.items():
        if path == REG and value != "none":
            found += [_without_numbers(part, registry) for part in value.split("+")]
        elif path != REG and is_of_regularizers(path):
            _, key, name = path.split(".")
            off = off_values_of(find_component(base, REG, key), registry)
            if value is not None and not (name in off and off[name] == value):
                found.append(key)
    return list(filter(None, found))


def _without_numbers(part: str, registry: Registry) -> str:
    spec = ComponentSpec.parse(part)
    off = off_values_of(spec, registry)
    if any(spec.values.get(name) == value for name, value in off.items()):
        return ""
    return str(spec.with_values({name: value for name, value in spec.values.items() if not _is_number(value)}))


def _is_number(value: Any) -> bool:
    """Returns whether a value is a number, a list of numbers, or one that changes over the run."""
    if isinstance(value, list):
        return all(map(_is_number, value))
    is_ramp = isinstance(value, str) and ".." in value
    return is_ramp or (isinstance(value, int | float) and not isinstance(value, bool))

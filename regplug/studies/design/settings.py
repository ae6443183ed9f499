"""The settings of a study: the combinations of its axes' values, and the one with which the others are compared."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.config import SHORTHANDS, RunConfig
from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.errors import RequestError, did_you_mean
from regplug.registry import Registry
from regplug.studies.design.axes import Axis, find_component, value_text, with_value

Values = dict[str, Any]
"""Axis -> value. `None` for a parameter of a regularizer means that the run does not have the regularizer."""

REG = "reg"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One combination of the axes' values.

    Args:
        label: The values as text.
        values: Axis -> value; `None` for a parameter of a regularizer that the setting leaves out.
        is_reference: Whether the other settings, or groups, are compared with it or its group.
        group: The group that is compared at its best setting; empty if each setting is compared by itself.
    """

    label: str
    values: Mapping[str, Any]
    is_reference: bool = False
    group: str = ""

    @property
    def varied(self) -> Values:
        """Its value on each axis on which it has one."""
        return {path: value for path, value in self.values.items() if value is not None}

    def document(self) -> dict[str, Any]:
        """Returns the setting as JSON."""
        return {**vars(self), "values": dict(self.values)}


def combine(crossed: Sequence[Axis], zipped: Sequence[Axis]) -> list[Values]:
    """Returns every combination of the axes' values; a single empty one if nothing varies."""
    columns = [[(axis.path, value) for value in axis.values] for axis in crossed]
    together = [list(zip((a.path for a in zipped), values, strict=True)) for values in _rows(zipped)]
    return [dict([*product, *row]) for product in itertools.product(*columns) for row in together or [[]]]


def _rows(axes: Sequence[Axis]) -> Iterator[tuple[Any, ...]]:
    return zip(*(axis.values for axis in axes), strict=True)


def label_settings(combinations: Sequence[Values]) -> list[Setting]:
    """Returns combinations as settings with labels; one with no values is named `base`."""
    settings = [Setting(label=label_of(values), values=values) for values in combinations]
    if len({setting.label for setting in settings}) < len(settings):
        # Six digits do not distinguish these values.
        return [Setting(label=label_of(values, repr), values=values) for values in combinations]
    return settings


def label_of(values: Values, text: Callable[[Any], str] = value_text) -> str:
    """Returns values as text: `l2+dropout` if only the regularizers vary, else `l2.strength=0.1, lr=0.5`."""
    if set(values) == {REG}:
        return str(values[REG])
    if values and all(value is None for value in values.values()):
        return "none"
    parts = [f"{path.removeprefix('reg.')}={'none' if v is None else text(v)}" for path, v in values.items()]
    return ", ".join(parts) or "base"


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig:
    """Returns the configuration with these values; a component is chosen before its parameters are set."""
    for path, value in sorted(values.items(), key=lambda item: "." in item[0] or item[0] in SHORTHANDS):
        config = without(config, path.split(".")[1]) if value is None else with_value(config, path, value)
    return config


def without(config: RunConfig, *keys: str) -> RunConfig:
    """Returns the configuration without the regularizers with these keys."""
    return config.replaced(reg=tuple(spec for spec in config.specs(REG) if spec.key not in keys))


def plain_combinations(
    crossed: Sequence[Axis], zipped: Sequence[Axis], base: RunConfig, registry: Registry
) -> list[Values]:
    """Returns the combinations without the regularizers that vary, one for each value of the other axes.

    A regularizer whose parameter varies is off, or absent if no value turns it off. None if no regularizer varies.

    Args:
        crossed: Axes whose product is run.
        zipped: Axes that vary together.
        base: The base run, whose regularizers the axes may name.
        registry: The available components.
    """
    regs = [axis for axis in (*crossed, *zipped) if is_of_regularizers(axis.path)]
    if not regs:
        return []
    off = _neutral_values(regs, base, registry)
    others = ([axis for axis in crossed if axis not in regs], [axis for axis in zipped if axis not in regs])
    order = [axis.path for axis in (*crossed, *zipped)]
    found = [{**values, **off} for values in combine(*others)]
    return [{path: values[path] for path in order} for values in found]


def is_of_regularizers(path: str) -> bool:
    """Returns whether an axis varies the regularizers or a parameter of one."""
    return path.partition(".")[0] == REG


def _neutral_values(axes: Sequence[Axis], base: RunConfig, registry: Registry) -> Values:
    """Returns for each axis of the regularizers the value that leaves them out."""
    found: Values = {axis.path: "none" for axis in axes if axis.path == REG}
    keys = dict.fromkeys(axis.path.split(".")[1] for axis in axes if axis.path != REG)
    for key in keys:
        own = {axis.path.split(".")[2]: axis for axis in axes if axis.path.startswith(f"{REG}.{key}.")}
        declared = off_values_of(find_component(base, REG, key), registry)
        off = {name: value for name, value in declared.items() if name in own}
        for name, axis in own.items():
            found[axis.path] = off.get(name, axis.values[0]) if off else None
    return found


def off_values_of(spec: ComponentSpec, registry: Registry) -> dict[str, float]:
    """Returns the parameters of a regularizer that can turn it off, with the value that does."""
    found = registry.find("regularizer", registry.locate("regularizer", spec))
    return {info.name: info.off for info in describe_params(found.component.params) if info.off is not None}


def with_reference(
    grid: Sequence[tuple[Setting, RunConfig]],
    added: Sequence[tuple[Setting, RunConfig]],
    base: RunConfig | None,
    baseline: str,
    registry: Registry,
) -> list[tuple[Setting, RunConfig]]:
    """Returns the settings of a study, with the reference marked.

    The reference is the setting named by `baseline`; else the one that equals the base run, without regularizers if
    they vary; else the first one without regularizers, or the first of all.

    Args:
        grid: The settings of the axes, with their resolved configurations.
        added: Settings without regularizers; those that equal one of the grid are left out.
        base: The resolved base run, without the regularizers that vary; `None` if it is not valid by itself.
        baseline: The label of the reference, or empty.
        registry: The available components.

    Raises:
        RequestError: No setting has the label `baseline`.
    """
    effect = _Effect(registry)
    if baseline in {setting.label for setting, _ in grid}:
        return _marked(grid, baseline)
    there = {effect(config) for _, config in grid}
    new = [pair for pair in added if effect(pair[1]) not in there]
    found = [*new, *grid]
    labels = [setting.label for setting, _ in (*added, *grid)]
    if baseline and baseline not in labels:
        known = dict.fromkeys([*(setting.group for setting, _ in (*added, *grid) if setting.group), *labels])
        raise RequestError(
            f"The baseline {baseline!r} is not a setting of this study.", hint=did_you_mean(baseline, known)
        )
    if baseline:
        named = next(config for setting, config in added if setting.label == baseline)
        return _marked(found, next(s.label for s, config in found if effect(config) == effect(named)))
    if base is None:
        return _marked(found, found[0][0].label)
    wanted = effect(base)
    plain = [pair for pair in found if effect(pair[1])[0] == wanted[0]] or found
    reference = next((setting for setting, config in plain if effect(config) == wanted), plain[0][0])
    return _marked(found, reference.label)


def _marked(pairs: Iterable[tuple[Setting, RunConfig]], label: str) -> list[tuple[Setting, RunConfig]]:
    return [(dataclasses.replace(s, is_reference=True) if s.label == label else s, config) for s, config in pairs]


class _Effect:
    """Returns what a resolved run does: its regularizers without those that are off, and all other fields."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._off: dict[str, dict[str, float]] = {}

    def __call__(self, config: RunConfig) -> tuple[Any, ...]:
        regs = tuple(sorted(str(spec) for spec in config.specs(REG) if not self._is_off(spec)))
        names = (field.name for field in dataclasses.fields(config) if field.name != REG)
        return (regs, *(getattr(config, name) for name in names))

    def _is_off(self, spec: ComponentSpec) -> bool:
        head = str(spec.with_values({}))
        if head not in self._off:
            self._off[head] = off_values_of(spec, self._registry)
        return any(spec.values.get(name) == off for name, off in self._off[head].items())

"""Finds the parameters in which tracked runs differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from regplug.config.literals import read_value
from regplug.errors import RequestError, did_you_mean
from regplug.tracking import RunInfo

COMPONENTS: Mapping[str, str] = {
    "reg": "regularizers",
    **{field: field for field in ("model", "activation", "init", "loss", "optimizer", "schedule")},
}
"""Field -> column with the names of its components; their parameters are in columns `<field>.<...>`."""

_NOT_SETTINGS = ("seed", "data_seed", "fold", "repeat", "setting")

_Values = dict[str, dict[str, set[str]]]
"""Component -> parameter -> its values in the runs."""


class DifferingParams:
    """The parameters in which runs differ.

    Args:
        runs: The runs.
    """

    def __init__(self, runs: Sequence[RunInfo]) -> None:
        self._runs = runs
        self._values: dict[str, _Values] = {field: self._component_values(field) for field in (*COMPONENTS, "dataset")}
        params = dict.fromkeys(name for run in runs for name in run.params)
        self.scalars = [name for name in params if not self._belongs(name) and name not in _NOT_SETTINGS]

    def differing(self) -> list[str]:
        """Returns the fields in which the runs differ, except seeds and folds.

        Includes parameters of the dataset but not its name: runs that can be ranked together have one dataset.
        """
        dataset = [f"dataset.{name}" for values in self._values["dataset"].values() for name in values]
        names = dict.fromkeys((*COMPONENTS, *self.scalars, *dataset))
        return [name for name in names if len({self.text(name, run) for run in self._runs}) > 1]

    def check(self, by: Sequence[str]) -> None:
        """Checks that each name is a field or a parameter.

        Raises:
            RequestError: One is not; the message suggests similar names.
        """
        params = {name for run in self._runs for name in run.params if name not in _NOT_SETTINGS}
        for name in by:
            if name not in COMPONENTS and name not in params:
                raise RequestError(
                    f"--by {name} is not a parameter of these runs.", hint=did_you_mean(name, {*COMPONENTS, *params})
                )

    def text(self, field: str, run: RunInfo) -> str:
        """Returns a field of a run as text: components with those of their parameters that vary."""
        if field not in self._values:
            return run.params.get(field, "none")
        parts = [self._component(field, name, run) for name in component_names(field, run)]
        return "+".join(parts) or "none"

    def varied(self, field: str, run: RunInfo) -> dict[str, Any]:
        """Returns the part of the setting from one field: columns and values, with numbers as numbers."""
        if field not in self._values:
            return {field: _value(run.params.get(field, "none"))}
        found: dict[str, Any] = {field: "+".join(component_names(field, run)) or "none"}
        for name in component_names(field, run):
            prefix = _prefix(field, name)
            found |= {f"{prefix}{p}": _value(run.params[f"{prefix}{p}"]) for p in self._varying(field, name, run)}
        return found

    def _component(self, field: str, name: str, run: RunInfo) -> str:
        prefix = _prefix(field, name)
        inside = ",".join(f"{p}={run.params[f'{prefix}{p}']}" for p in self._varying(field, name, run))
        return f"{name}:{inside}" if inside else name

    def _varying(self, field: str, name: str, run: RunInfo) -> list[str]:
        prefix = _prefix(field, name)
        found = self._values[field].get(name, {})
        return [p for p, values in found.items() if len(values) > 1 and f"{prefix}{p}" in run.params]

    def _component_values(self, field: str) -> _Values:
        found: _Values = defaultdict(lambda: defaultdict(set))
        for run in self._runs:
            for name in component_names(field, run):
                prefix = _prefix(field, name)
                for key, value in run.params.items():
                    if key.startswith(prefix):
                        found[name][key.removeprefix(prefix)].add(value)
        return found

    def _belongs(self, param: str) -> bool:
        fields = (*COMPONENTS, "dataset")
        return param in (*COMPONENTS.values(), "dataset") or param.startswith(tuple(f"{field}." for field in fields))


def component_names(field: str, run: RunInfo) -> list[str]:
    """Returns the names of a run's components in a field; a field other than `reg` has exactly one."""
    text = run.params.get(COMPONENTS.get(field, field), "none")
    return [name for name in text.split("+") if name != "none"] if field == "reg" else [text]


def _prefix(field: str, name: str) -> str:
    return f"reg.{name}." if field == "reg" else f"{field}."


def _value(text: str) -> Any:
    try:
        return read_value(text)
    except RequestError:
        return text

"""Derives the settings of tracked runs from their parameters."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regplug.config.literals import read_value
from regplug.errors import RequestError, did_you_mean
from regplug.runs.doubts import GUESS_TAG
from regplug.statistics import PairKey, Setting, StudyRun
from regplug.studies.comparison.comparable import Group
from regplug.studies.design.config import StudyConfig, settings_of
from regplug.studies.design.settings import Setting as PlannedSetting
from regplug.studies.earlier import STUDY_FILE
from regplug.studies.keeping import EPOCHS_METRIC, SECONDS_METRIC
from regplug.tracking import RunInfo, Store

COMPONENTS: Mapping[str, str] = {
    "reg": "regularizers",
    **{field: field for field in ("model", "activation", "init", "loss", "optimizer", "schedule")},
}
"""Field -> column with the names of its components; their parameters are in columns `<field>.<...>`."""

_NOT_SETTINGS = ("seed", "data_seed", "fold", "repeat", "setting")


_Values = dict[str, dict[str, set[str]]]
"""Component -> parameter -> its values in the runs."""


class Columns:
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
        parts = [self._component(field, name, run) for name in _names(field, run)]
        return "+".join(parts) or "none"

    def varied(self, field: str, run: RunInfo) -> dict[str, Any]:
        """Returns the part of the setting from one field: columns and values, with numbers as numbers."""
        if field not in self._values:
            return {field: _value(run.params.get(field, "none"))}
        found: dict[str, Any] = {field: "+".join(_names(field, run)) or "none"}
        for name in _names(field, run):
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
            for name in _names(field, run):
                prefix = _prefix(field, name)
                for key, value in run.params.items():
                    if key.startswith(prefix):
                        found[name][key.removeprefix(prefix)].add(value)
        return found

    def _belongs(self, param: str) -> bool:
        fields = (*COMPONENTS, "dataset")
        return param in (*COMPONENTS.values(), "dataset") or param.startswith(tuple(f"{field}." for field in fields))


def _names(field: str, run: RunInfo) -> list[str]:
    text = run.params.get(COMPONENTS.get(field, field), "none")
    return [name for name in text.split("+") if name != "none"] if field == "reg" else [text]


def _prefix(field: str, name: str) -> str:
    return f"reg.{name}." if field == "reg" else f"{field}."


def _value(text: str) -> Any:
    try:
        return read_value(text)
    except RequestError:
        return text


@dataclass(frozen=True, kw_only=True)
class Source:
    """An experiment, or a study.

    Args:
        name: Its name.
        study: The study's parent run, or `None`.
        runs: The newest first.
        notes: Notes on what was left out.
        said: A study's own analysis.
    """

    name: str
    study: RunInfo | None
    runs: tuple[RunInfo, ...]
    notes: tuple[str, ...] = ()
    said: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """Tracked runs in the form of a study.

    Args:
        settings: The settings.
        study_runs: The runs of the settings.
        runs: The same runs as tracked.
        notes: Notes for the reader.
        mean_of: Setting -> the setting that is the mean over other parameters; empty if nothing is averaged.
    """

    settings: tuple[Setting, ...]
    study_runs: tuple[StudyRun, ...]
    runs: tuple[RunInfo, ...]
    notes: tuple[str, ...]
    mean_of: Mapping[str, str] = field(default_factory=dict)


class TrackedSettings:
    """The settings of tracked runs: a study's own, or the parameters in which comparable runs differ.

    Args:
        store: The store.
        sources: Studies and experiments.
        by: See `compare_tracked`.

    Raises:
        RequestError: A name in `by` is not a parameter.
    """

    def __init__(self, store: Store, sources: Sequence[Source], by: Sequence[str]) -> None:
        self._columns = Columns([run for source in sources for run in source.runs])
        self._columns.check(by)
        self._by = tuple(by)
        self._asked: dict[str, list[Setting]] = {}
        self._references: set[str] = set()
        self._groups: dict[str, str] = {}
        if not by and all(source.study is not None for source in sources):
            for source in sources:
                asked = planned_settings(store, source.study)  # type: ignore[arg-type] # none is None
                own = [Setting(label=each.label, varied=each.varied) for each in asked]
                self._asked |= {run.run_id: own for run in source.runs}
                self._references |= {each.group or each.label for each in asked if each.is_reference}
                self._groups |= {each.label: each.group for each in asked if each.group}

    @property
    def varied(self) -> tuple[str, ...]:
        """The fields that define the settings, as far as they are known before the runs are read."""
        return self._by or tuple({path: None for own in self._asked.values() for each in own for path in each.varied})

    @property
    def best_of(self) -> Mapping[str, str]:
        """The groups of settings that the studies compare at their best."""
        return self._groups

    @property
    def reference(self) -> str | None:
        """The reference of the studies if they agree on one; of other runs, the setting without regularizers."""
        references = self._references if self._asked else {"none"}
        return next(iter(references)) if len(references) == 1 else None

    def dataset(self, run: RunInfo) -> str:
        """Returns a run's dataset as text, with those of its parameters that vary."""
        return self._columns.text("dataset", run)

    def gather(self, groups: Sequence[Group]) -> list[Gathered]:
        """Returns the runs of each group as a study; a label means the same setting in all groups.

        Raises:
            RequestError: A setting has several different runs with one seed.
        """
        differing: dict[str, None] = {}
        for group in groups:
            fields = Columns(group.runs).differing()
            differing |= dict.fromkeys(field for field in fields if not (group.loss and field == "loss"))
        fields = list(self._by or differing)
        return [self._gathered(group, fields) for group in groups]

    def _gathered(self, group: Group, fields: Sequence[str]) -> Gathered:
        if self._asked:
            known = {each.label: each for run in group.runs for each in self._asked[run.run_id]}
            of_run = {run.run_id: known[run.params["setting"]] for run in group.runs}
        else:
            of_run = {run.run_id: _setting(self._columns, fields, run) for run in group.runs}
            known = {setting.label: setting for setting in reversed(of_run.values())}
        names = {run.params["dataset"] for run in group.runs}
        dataset = names.pop() if len(names) == 1 else ""
        keys = {run.run_id: _key(run, dataset) for run in group.runs}
        averaged = crossed_parameters(group.runs, {r: s.label for r, s in of_run.items()}, keys) if self._by else ()
        means: dict[str, str] = {}
        if averaged:
            of_run, means = _split(group.runs, of_run, averaged)
            known = {setting.label: setting for setting in reversed(of_run.values())}
        kept, notes = _without_doubles(
            group.runs, {r.run_id: (of_run[r.run_id].label, keys[r.run_id]) for r in group.runs}
        )
        return Gathered(
            settings=tuple(Setting(label=setting.label, varied=setting.varied) for setting in known.values()),
            study_runs=tuple(_study_run(run, of_run[run.run_id].label, keys[run.run_id]) for run in kept),
            runs=tuple(kept),
            notes=(*notes, *([f"Averaged over {', '.join(averaged)} within each seed and split."] if means else [])),
            mean_of=means,
        )


def planned_settings(store: Store, study: RunInfo) -> list[PlannedSetting]:
    """Returns the settings of a tracked study; a study of an earlier version has no reference."""
    document = json.loads(store.read_artifact(study.run_id, STUDY_FILE).read_text(encoding="utf-8"))
    if "settings" in document:
        return [PlannedSetting(**each) for each in document["settings"]]
    return settings_of(StudyConfig.from_dict(document))


def _setting(columns: Columns, fields: Sequence[str], run: RunInfo) -> Setting:
    if not fields:
        return Setting(label="all")
    texts = {field: columns.text(field, run) for field in fields}
    label = texts["reg"] if list(texts) == ["reg"] else ", ".join(f"{field}={text}" for field, text in texts.items())
    return Setting(
        label=label, varied={key: value for field in fields for key, value in columns.varied(field, run).items()}
    )


def _key(run: RunInfo, dataset: str) -> PairKey:
    fold = run.params.get("fold")
    return PairKey(
        seed=int(run.params["seed"]),
        data_seed=int(run.params["data_seed"]),
        fold=None if fold is None else int(fold),
        dataset=dataset,
        repeat=int(run.params.get("repeat", 0)),
    )


def _split(
    runs: Sequence[RunInfo], of_run: Mapping[str, Setting], names: Sequence[str]
) -> tuple[dict[str, Setting], dict[str, str]]:
    """Returns the settings split by these parameters, by run id, and which setting each belongs to."""
    found, means = {}, {}
    for run in runs:
        whole = of_run[run.run_id]
        label = f"{whole.label} ({', '.join(f'{name}={run.params.get(name)}' for name in names)})"
        found[run.run_id] = Setting(label=label, varied=whole.varied)
        means[label] = whole.label
    return found, means


def crossed_parameters(
    runs: Sequence[RunInfo], labels: Mapping[str, str], keys: Mapping[str, PairKey]
) -> tuple[str, ...]:
    """Returns the parameters over which settings can be averaged: every setting and seed has each combination of them.

    Args:
        runs: The runs.
        labels: Run id -> its setting.
        keys: Run id -> its seed, data seed and fold.
    """
    by_place: dict[tuple[str, PairKey], list[RunInfo]] = defaultdict(list)
    for run in runs:
        by_place[labels[run.run_id], keys[run.run_id]].append(run)
    names = tuple(dict.fromkeys(name for equal in by_place.values() for name in _differing(equal)))
    combinations = {
        frozenset(tuple(run.params.get(name, "none") for name in names) for run in equal) for equal in by_place.values()
    }
    return names if len(combinations) == 1 else ()


def _without_doubles(
    runs: Sequence[RunInfo], places: Mapping[str, tuple[str, PairKey]]
) -> tuple[list[RunInfo], list[str]]:
    """Returns the newest finished one of equal runs.

    Raises:
        RequestError: Runs of one setting and seed differ in another parameter.
    """
    by_place: dict[tuple[str, PairKey], list[RunInfo]] = defaultdict(list)
    for run in runs:
        by_place[places[run.run_id]].append(run)
    kept = []
    for (label, _), equal in by_place.items():
        differing = _differing(equal)
        if differing:
            raise RequestError(
                f"Runs of the setting {label!r} with the same seed differ in {', '.join(differing)}.",
                hint=f"Make these parameters part of the setting: --by {','.join(['reg', *differing])}. "
                "An average over them needs every combination in each setting and seed.",
            )
        kept.append(next((run for run in equal if run.status == "FINISHED"), equal[0]))
    left_out = len(runs) - len(kept)
    return kept, [f"{left_out} runs were left out: newer ones have the same setting and seed."] if left_out else []


def _differing(runs: Sequence[RunInfo]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.params if name != "setting")
    return [name for name in names if len({_own_value(name, run) for run in runs}) > 1]


def _own_value(name: str, run: RunInfo) -> str | None:
    """Returns a parameter; `None` for one of a regularizer that the run lacks, even if its off value is logged."""
    kind, _, rest = name.partition(".")
    return None if kind == "reg" and rest.partition(".")[0] not in _names("reg", run) else run.params.get(name)


def _study_run(run: RunInfo, label: str, key: PairKey) -> StudyRun:
    took = (run.ended - run.started).total_seconds() if run.ended else 0.0
    return StudyRun(
        setting=label,
        key=key,
        metrics={name: value for name, value in run.metrics.items() if name not in (SECONDS_METRIC, EPOCHS_METRIC)},
        status=run.status,
        seconds=run.metrics.get(SECONDS_METRIC, took),
        run_id=run.run_id,
        is_guessing=GUESS_TAG in run.tags,
    )

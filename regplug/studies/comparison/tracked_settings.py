"""Finds the settings of tracked runs: those that a study planned, or those that the parameters of runs show."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from regplug.runs.doubts import GUESS_TAG
from regplug.statistics import PairKey, Setting, StudyRun
from regplug.studies.child_runs import EPOCHS_METRIC, SECONDS_METRIC
from regplug.studies.comparison.comparable import Group
from regplug.studies.comparison.differing_params import DifferingParams
from regplug.studies.comparison.repeated_runs import crossed_parameters, without_repeats
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import settings_of
from regplug.studies.design.settings import Setting as PlannedSetting
from regplug.tracking import RunInfo, Store
from regplug.tracking.kinds import STUDY_FILE


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
        self._params = DifferingParams([run for source in sources for run in source.runs])
        self._params.check(by)
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
        return self._params.text("dataset", run)

    def gather(self, groups: Sequence[Group]) -> list[Gathered]:
        """Returns the runs of each group as a study; a label means the same setting in all groups.

        Raises:
            RequestError: A setting has several different runs with one seed.
        """
        differing: dict[str, None] = {}
        for group in groups:
            fields = DifferingParams(group.runs).differing()
            differing |= dict.fromkeys(field for field in fields if not (group.loss and field == "loss"))
        fields = list(self._by or differing)
        return [self._gathered(group, fields) for group in groups]

    def _gathered(self, group: Group, fields: Sequence[str]) -> Gathered:
        known, of_run = self._settings(group.runs, fields)
        names = {run.params["dataset"] for run in group.runs}
        dataset = names.pop() if len(names) == 1 else ""
        keys = {run.run_id: _key(run, dataset) for run in group.runs}
        places = {run_id: (of_run[run_id].label, key) for run_id, key in keys.items()}
        averaged = crossed_parameters(group.runs, places) if self._by else ()
        means: dict[str, str] = {}
        if averaged:
            of_run, means = _split(group.runs, of_run, averaged)
            known = {setting.label: setting for setting in reversed(of_run.values())}
            places = {run_id: (of_run[run_id].label, key) for run_id, key in keys.items()}
        kept, notes = without_repeats(group.runs, places)
        return Gathered(
            settings=tuple(Setting(label=setting.label, varied=setting.varied) for setting in known.values()),
            study_runs=tuple(_study_run(run, of_run[run.run_id].label, keys[run.run_id]) for run in kept),
            runs=tuple(kept),
            notes=(*notes, *([f"Averaged over {', '.join(averaged)} within each seed and split."] if means else [])),
            mean_of=means,
        )

    def _settings(
        self, runs: Sequence[RunInfo], fields: Sequence[str]
    ) -> tuple[dict[str, Setting], dict[str, Setting]]:
        """Returns the settings by label, also those without a run, and the setting of each run by its id."""
        if self._asked:
            known = {each.label: each for run in runs for each in self._asked[run.run_id]}
            return known, {run.run_id: known[run.params["setting"]] for run in runs}
        of_run = {run.run_id: _setting(self._params, fields, run) for run in runs}
        return {setting.label: setting for setting in reversed(of_run.values())}, of_run


def planned_settings(store: Store, study: RunInfo) -> list[PlannedSetting]:
    """Returns the settings of a tracked study; a study of an earlier version has no reference."""
    document = json.loads(store.read_artifact(study.run_id, STUDY_FILE).read_text(encoding="utf-8"))
    if "settings" in document:
        return [PlannedSetting(**each) for each in document["settings"]]
    return settings_of(StudyConfig.from_dict(document))


def _setting(params: DifferingParams, fields: Sequence[str], run: RunInfo) -> Setting:
    if not fields:
        return Setting(label="all")
    texts = {field: params.text(field, run) for field in fields}
    label = texts["reg"] if list(texts) == ["reg"] else ", ".join(f"{field}={text}" for field, text in texts.items())
    return Setting(
        label=label, varied={key: value for field in fields for key, value in params.varied(field, run).items()}
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

"""Groups of settings as one setting each: at its best, chosen on validation, or as the mean of its members."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from regplug.config.directions import check_selection, is_lower_better
from regplug.statistics.records import FINISHED, PairKey, Setting, Study, StudyRun
from regplug.statistics.rows import mean_rows
from regplug.statistics.units import Units, find_units

Unit = tuple[Any, ...]
Scores = Mapping[str, Mapping[Unit, float]]
"""Label of a setting -> observation -> value of the metric that chooses."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which setting stands for a group of settings.

    Args:
        group: The group's label.
        setting: The setting with the best mean of the metric over all observations.
        selected_by: The metric that chose.
        counts: Number of observations whose own values choose each setting, the most frequent first.
        unit: The kind of observation.
        is_per_unit: Whether each observation was evaluated with its own choice; else all with `setting`.
    """

    group: str
    setting: str
    selected_by: str
    counts: Mapping[str, int]
    unit: str
    is_per_unit: bool

    def document(self) -> dict[str, Any]:
        """Returns the choice as JSON."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "counts": dict(self.counts)}


def choose_best(
    study: Study, groups: Mapping[str, str], selected_by: str, *, lower_is_better: bool | None = None
) -> tuple[Study, tuple[Choice, ...]]:
    """Returns a study with one setting for each group, and which settings were chosen.

    The choice never uses the rows on which the chosen run is evaluated. Seeds share one split: the setting with the
    best mean of the validation metric is chosen once. Each data seed has a split of its own, whose test rows may be
    validation rows of another: it chooses by its own validation rows alone. Each fold chooses by the other folds.

    Args:
        study: All settings and runs.
        groups: Setting -> its group.
        selected_by: The validation metric that chooses.
        lower_is_better: The direction of a metric whose name does not imply it.

    Raises:
        RequestError: The metric is one of the test set, no run has it, or its direction is unknown.
    """
    check_selection(selected_by)
    values = study.values(selected_by)
    sign = 1.0 if (is_lower_better(selected_by) if lower_is_better is None else lower_is_better) else -1.0
    units = find_units(values, study.test_to_train)
    scores = {label: _by_unit(by_key, units, sign) for label, by_key in values.items()}
    members = _members(groups)
    every = sorted({unit for by_unit in scores.values() for unit in by_unit})
    choices, chosen = [], {}
    for group, labels in members.items():
        overall = _best(labels, scores, every)
        own = {unit: _best(labels, scores, _judges(unit, every, units)) for unit in every}
        is_per_unit = units.kind in ("data seed", "fold")
        chosen[group] = own if is_per_unit else dict.fromkeys(every, overall)
        if len(labels) > 1:
            choices.append(
                Choice(
                    group=group,
                    setting=overall,
                    selected_by=selected_by,
                    counts=_counted(own.values()),
                    unit=units.kind,
                    is_per_unit=is_per_unit,
                )
            )
    runs = tuple(
        replace(run, setting=group)
        for run in study.runs
        for group in (groups[run.setting],)
        if chosen[group].get(units.of(run.key), members[group][0]) == run.setting
    )
    return replace(study, settings=_settings(study, members), runs=runs), tuple(choices)


def average(study: Study, groups: Mapping[str, str]) -> Study:
    """Returns a study with one setting for each group, whose runs are the means of its members' runs.

    Runs with the same seed, data seed and fold are averaged. If one of them failed, so did the mean: a mean over fewer
    members would not be comparable.

    Args:
        study: All settings and runs.
        groups: Setting -> its group; settings without one are left out.
    """
    members = _members(groups)
    placed: dict[tuple[str, PairKey], list[StudyRun]] = defaultdict(list)
    for run in study.runs:
        if run.setting in groups:
            placed[groups[run.setting], run.key].append(run)
    runs = tuple(_mean_run(group, of, len(members[group])) for (group, _), of in placed.items())
    return replace(study, settings=_settings(study, members), runs=runs)


def _mean_run(group: str, runs: Sequence[StudyRun], count: int) -> StudyRun:
    finished = [run for run in runs if run.status == FINISHED]
    names = set.intersection(*(set(run.metrics) for run in finished)) if finished else set()
    return replace(
        runs[0],
        setting=group,
        metrics={name: float(np.mean([run.metrics[name] for run in finished])) for name in sorted(names)},
        status=FINISHED if len(finished) == count else "FAILED",
        seconds=float(np.mean([run.seconds for run in runs])),
        run_id=runs[0].run_id if count == 1 else "",
        is_guessing=all(run.is_guessing for run in runs),
        rows=mean_rows([run.rows for run in finished]) if finished else None,
    )


def _members(groups: Mapping[str, str]) -> dict[str, list[str]]:
    members: dict[str, list[str]] = defaultdict(list)
    for label, group in groups.items():
        members[group].append(label)
    return members


def _settings(study: Study, members: Mapping[str, Sequence[str]]) -> tuple[Setting, ...]:
    """Returns the groups as settings, with the values on which their members agree."""
    varied = {setting.label: setting.varied for setting in study.settings}
    return tuple(Setting(label=group, varied=_common([varied[x] for x in of])) for group, of in members.items())


def _common(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in each[0].items() if all(name in o and o[name] == value for o in each[1:])}


def _by_unit(values: Mapping[PairKey, float], units: Units, sign: float) -> dict[Unit, float]:
    grouped: dict[Unit, list[float]] = defaultdict(list)
    for key, value in values.items():
        grouped[units.of(key)].append(sign * value)
    return {unit: float(np.mean(own)) for unit, own in grouped.items()}


def _judges(unit: Unit, every: Sequence[Unit], units: Units) -> list[Unit]:
    """Returns the observations by which one observation chooses: its own, or the other folds of its repetition."""
    if units.kind != "fold":
        return [unit]
    return [other for other in every if other != unit and other[:2] == unit[:2]]


def _best(labels: Sequence[str], scores: Scores, judges: Sequence[Unit]) -> str:
    """Returns the setting with the lowest mean score; one that lacks scores comes after those that have more."""

    def place(label: str) -> tuple[int, float]:
        own = [scores[label][unit] for unit in judges if unit in scores[label]]
        return len(judges) - len(own), float(np.mean(own)) if own else 0.0

    return min(labels, key=place)


def _counted(chosen: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label in chosen:
        counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))

"""The runs of a study: every setting, seed, data seed and fold as one complete configuration."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.config import RunConfig
from regplug.config.params import describe_params
from regplug.errors import ParameterError, RequestError
from regplug.registry import Registry
from regplug.registry.components import resolve_config
from regplug.studies.design.axes import check_axes, with_value
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.settings import (
    Setting,
    combine,
    is_of_regularizers,
    label_of,
    label_settings,
    plain_combinations,
    with_reference,
    with_values,
)
from regplug.studies.design.strengths import group_settings, read_best_of, spread_strengths

MOST_RUNS = 100_000
"""Most runs of a study; more are usually a typing error in an axis, and building them alone would take minutes."""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a study.

    Args:
        setting: The combination of values.
        config: The complete configuration of the run.
        fold: Its fold and repeat, or `None`.
    """

    setting: Setting
    config: RunConfig
    fold: tuple[int, int] | None = None

    @property
    def pair(self) -> tuple[int, int, tuple[int, int] | None]:
        """The key that pairs runs of different settings: seed, data seed and fold."""
        return self.config.seed, self.config.data_seed, self.fold

    @property
    def key(self) -> str:
        """A key that is unique in the study."""
        fold = "" if self.fold is None else f" fold {self.fold[0]} repeat {self.fold[1]}"
        return f"{self.setting.label} | seed {self.config.seed} data {self.config.data_seed}{fold}"


def settings_of(study: StudyConfig) -> list[Setting]:
    """Returns every combination of the axes' values as written; a single one named `base` if nothing varies."""
    return label_settings(combine(study.crossed, study.zipped))


def points_of(study: StudyConfig, registry: Registry) -> list[Point]:
    """Returns every run of a study after checking it.

    Raises:
        RequestError: An axis is unknown, or values are not allowed; the message lists all problems.
    """
    check_axes([*study.crossed, *study.zipped], study.base, registry)
    _check_size(study)
    base = _with_group(study, registry)
    return [
        point for setting, config in _settings(study, base, registry) for point in _repeated(study, setting, config)
    ]


def _settings(study: StudyConfig, base: RunConfig, registry: Registry) -> list[tuple[Setting, RunConfig]]:
    """Returns the settings with their runs, the reference among them.

    Raises:
        RequestError: A setting is not allowed, or none has the label of the baseline.
    """
    best_of = read_best_of(study.best_of, study.tuned, (*study.crossed, *study.zipped))
    crossed, zipped = (
        [spread_strengths(a, best_of.count, registry) for a in of] for of in (study.crossed, study.zipped)
    )
    axes = crossed, zipped
    plain = [] if study.all_pairs else plain_combinations(*axes, base, registry)
    combinations = combine(*axes)
    extra = [values for values in plain if values not in combinations]
    settings = group_settings(label_settings([*extra, *combinations]), best_of, base, registry)
    found = _resolved(settings, base, registry)
    if study.all_pairs:
        return found
    off = {path: value for path, value in (plain[0] if plain else {}).items() if is_of_regularizers(path)}
    try:
        wanted = resolve_config(with_values(base, off), registry)
    except RequestError:  # an axis gives it a value that it needs
        wanted = None
    of_group = next((each.label for each in settings if each.group and each.group == study.baseline), study.baseline)
    return with_reference(found[len(extra) :], found[: len(extra)], wanted, of_group, registry)


def _resolved(settings: Sequence[Setting], base: RunConfig, registry: Registry) -> list[tuple[Setting, RunConfig]]:
    problems: dict[str, None] = {}
    found = []
    for setting in settings:
        try:
            found.append((setting, resolve_config(with_values(base, setting.values), registry)))
        except RequestError as error:
            problems |= dict.fromkeys(_problems(base, setting, error, registry))
    if problems:
        raise RequestError("\n  ".join(problems), hint="Nothing was run.")
    return found


def _check_size(study: StudyConfig) -> None:
    sizes = [len(axis.values) for axis in study.crossed] + [len(axis.values) for axis in study.zipped[:1]]
    runs = math.prod([*sizes, study.seeds, study.data_seeds, max(1, study.folds), study.repeats])
    if runs > MOST_RUNS:
        raise RequestError(
            f"The study would have {runs:,} runs, but a study has at most {MOST_RUNS:,}.",
            hint="Use fewer values or seeds, or several studies with different names.",
        )


def _problems(base: RunConfig, setting: Setting, error: RequestError, registry: Registry) -> list[str]:
    """Returns the problems of a setting: each value that is not allowed, else the first error of their combination."""
    found = []
    allowed: dict[str, Any] = {}
    for path, value in setting.values.items():
        try:
            resolve_config(with_values(base, {**allowed, path: value}), registry)
        except ParameterError as own:
            found.append(_problem(label_of({path: value}), own))
        except RequestError:
            continue  # it may need a value of a later axis; the combination is checked as well
        else:
            allowed[path] = value
    return found or [_problem(setting.label, error)]


def _problem(label: str, error: RequestError) -> str:
    return f"{label}: {error.message} {error.hint}".strip()


def _with_group(study: StudyConfig, registry: Registry) -> RunConfig:
    """Returns the base run, with the group column set for a dataset that has a parameter `group`."""
    (dataset,) = study.base.specs("dataset")
    known = [
        info.name
        for info in describe_params(registry.find("dataset", registry.locate("dataset", dataset)).component.params)
    ]
    return with_value(study.base, "dataset.group", study.group) if study.group and "group" in known else study.base


def _repeated(study: StudyConfig, setting: Setting, config: RunConfig) -> Iterator[Point]:
    drawn = [(fold, repeat) for repeat in range(study.repeats) for fold in range(study.folds)]
    folds: list[tuple[int, int] | None] = [*drawn] or [None]
    for data_at, fold, seed_at in itertools.product(range(study.data_seeds), folds, range(study.seeds)):
        data_seed = config.data_seed + (seed_at if study.pair_seeds else data_at)
        yield Point(
            setting=setting,
            config=config.replaced(seed=config.seed + seed_at, data_seed=data_seed),
            fold=fold,
        )

"""The configuration of a study, and its runs."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from regplug.config import UPDATE_FIELDS, RunConfig, Suggest, config_from, read_file
from regplug.config.directions import check_direction
from regplug.config.params import check_fields, describe_params
from regplug.errors import ParameterError, RequestError, did_you_mean
from regplug.registry import Registry
from regplug.registry.components import resolve_config
from regplug.studies.design.axes import Axis, check_axes, on_and_off, parse_axis, with_value
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

DEFAULT_FOLDS = 5
"""Default number of folds of a cross-validation."""

MOST_RUNS = 100_000
"""Most runs of a study; more are usually a typing error in an axis, and building them alone would take minutes."""


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A base run and its axes.

    Raises:
        RequestError: A value is not allowed, or an axis cannot be read.
    """

    base: RunConfig = field(default_factory=RunConfig)
    "The base run, whose fields the axes vary."
    grid: tuple[str, ...] = ()
    "Axes whose product is run."
    zip: tuple[str, ...] = ()
    "Axes that vary together: first values together, second values together, and so on."
    seeds: Annotated[int, Ge(1)] = 1
    "Runs of each setting, with consecutive seeds from the base run's."
    data_seeds: Annotated[int, Ge(1)] = 1
    "Splits, or generated datasets, of each setting, with consecutive data seeds from the base run's."
    pair_seeds: bool = False
    "Whether the data seed increases with the seed, so that each seed has its own data."
    folds: Annotated[int, Ge(0)] = 0
    "Folds of a cross-validation; 0 keeps the dataset's own validation split."
    repeats: Annotated[int, Ge(1)] = 1
    "How many times new folds are drawn."
    group: str = ""
    "Column of a csv; rows with the same value in it stay in one fold."
    metric: str = ""
    "Metric that chooses the best setting; empty for validation accuracy or loss."
    tune: tuple[str, ...] = ()
    "Axes whose best value is chosen for every setting alike, on validation, such as lr=0.05,0.1,0.2."
    factorial: str = ""
    "Regularizers, separated by commas; every combination of them on and off is run."
    best_of: str = ""
    "What is chosen on validation before settings are compared: strength, a number of strengths, or axes."
    minimize: bool | None = None
    "Whether lower values of the metric are better; none: its name decides."
    baseline: str = ""
    "The setting with which the others are compared; empty for the base run, without the regularizers that vary."
    all_pairs: bool = False
    "Whether every setting is compared with every other, instead of with one reference."
    final_seeds: Annotated[int, Ge(1)] = 1
    "Seeds with which the best setting is trained again at the end; the best of these runs is exported."

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        for name, value in check_fields(StudyConfig, given, subject="The study").items():
            object.__setattr__(self, name, value)
        if self.folds == 1:
            raise RequestError("One fold leaves no rows to train on.", hint="Choose --folds 2 or more.")
        if self.folds and self.base.fold:
            raise RequestError(
                f"fold={self.base.fold} is one fold, but {self.folds} folds are cross-validated.",
                hint="Leave out --fold.",
            )
        split = self.metric.partition("/")[0]
        if self.metric and split != "valid":
            told = f"by the {split} split" if split in ("test", "train") else "by another metric than a validation one"
            raise RequestError(
                f"metric={self.metric} would choose the best setting {told}.",
                hint="Choose a metric valid/...; the test split is used once, at the end.",
            )
        check_direction(self.metric, self.minimize)
        if self.pair_seeds and self.data_seeds > 1:
            raise RequestError(
                "pair_seeds gives each seed its own data, so data_seeds cannot be combined with it.",
                hint="Choose --pair-seeds or --data-seeds.",
            )
        if self.all_pairs and self.baseline:
            raise RequestError(
                "With all pairs no setting is the baseline.", hint="Choose --baseline SETTING or --all-pairs."
            )
        lengths = {len(axis.values) for axis in self.zipped}
        if len(lengths) > 1:
            told = ", ".join(f"{axis.path} has {len(axis.values)}" for axis in self.zipped)
            raise RequestError(f"Axes that vary together have different lengths: {told}.", hint="Make them equal.")

    @property
    def crossed(self) -> tuple[Axis, ...]:
        """The axes whose product is run."""
        factors = (on_and_off(self.factorial),) if self.factorial else ()
        return (*map(parse_axis, self.grid), *factors, *self.tuned)

    @property
    def tuned(self) -> tuple[Axis, ...]:
        """The axes that are tuned for every setting alike."""
        return tuple(map(parse_axis, self.tune))

    @property
    def zipped(self) -> tuple[Axis, ...]:
        """The axes that vary together."""
        return tuple(map(parse_axis, self.zip))

    def to_dict(self) -> dict[str, Any]:
        """Returns the study as JSON."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}, "base": self.base.to_dict()}

    def delivers(self, kind: str) -> bool:
        """Returns whether the best setting is trained again: by a sweep only to export it, or with several seeds."""
        return kind == "cv" or self.base.export or self.final_seeds > 1

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StudyConfig:
        """Reads the result of `to_dict`."""
        names = [field.name for field in dataclasses.fields(cls) if field.name != "base"]
        own = {name: document[name] for name in names if name in document}
        return cls(base=RunConfig(**document["base"]).choosing(document.get("chosen", ())), **own)

    def fingerprint(self, *content: str) -> str:
        """Returns the SHA-256 of everything that determines the runs; equal studies have equal fingerprints.

        Args:
            content: Digests of what the configuration does not contain: data and initial weights.
        """
        document = self.to_dict()
        for name in (
            "name",
            "experiment",
            "out",
            "export",
            "format",
            "calibrate",
            "conformal",
            "threads",
            "checkpoint_every",
            "keep_predictions",
            "system_metrics",
        ):
            document["base"].pop(name)
        document.pop("final_seeds")
        return hashlib.sha256(json.dumps([document, *content], sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Point:
    """One run of a study.

    Args:
        setting: The combination of values.
        config: The run, complete.
        fold: Fold and repeat, or `None`.
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


def load_study(
    file: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, object] | None = None,
    *,
    kind: str = "sweep",
    suggest: Suggest | None = None,
) -> StudyConfig:
    """Reads a study: its own keys; every other key is a field of the base run.

    Args:
        file: A TOML or YAML file.
        overrides: Values as for `--set`, for the base run.
        flags: Field of the study or of the base run -> value, or `None` if not given.
        kind: `sweep`, which has no folds; `cv`, which has folds by default; or `any`.
        suggest: As for `regplug.config.load_config`; not asked if an axis varies one of the fields.

    Raises:
        RequestError: A key is unknown or a value is not allowed.
    """
    own = [f.name for f in dataclasses.fields(StudyConfig) if f.name != "base"]
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    from_file = {} if file is None else read_file(file)
    base_fields = [f.name for f in dataclasses.fields(RunConfig)]
    for name in from_file:
        if name not in (*own, *base_fields):
            raise RequestError(f"{file}: {name} is unknown.", hint=did_you_mean(name, [*own, *base_fields]))
    study = {name: value for name, value in {**from_file, **given}.items() if name in own}
    for name in ("grid", "zip", "tune"):
        if isinstance(study.get(name), str):
            study[name] = (study[name],)
    base_file = {name: value for name, value in from_file.items() if name not in own}
    base_flags = {name: value for name, value in given.items() if name not in own}
    read = StudyConfig(**study)
    varied = {axis.path.partition(".")[0] for axis in (*read.crossed, *read.zipped)}
    suits = None if varied & {*UPDATE_FIELDS} else suggest
    base = config_from(base_file, str(file), overrides, base_flags, suggest=suits)
    read = dataclasses.replace(read, base=base)
    folded = next((name for name in ("folds", "repeats", "group") if getattr(read, name) != _default(name)), None)
    if folded and kind == "sweep":
        raise RequestError(f"A sweep has no folds, but {folded} is given.", hint="Use regplug cv.")
    is_cv = kind == "cv" or folded
    return dataclasses.replace(read, folds=DEFAULT_FOLDS) if is_cv and not read.folds else read


def _default(name: str) -> object:
    return StudyConfig.__dataclass_fields__[name].default


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

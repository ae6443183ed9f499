"""The configuration of a study, and the runs that it means."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from regplug.config import RunConfig, config_from, read_file, resolve_config
from regplug.errors import CompositionError, ParameterError, RequestError, did_you_mean
from regplug.params import check_fields
from regplug.registry import Registry
from regplug.studies.axes import Axis, check_axes, parse_axis, value_text, with_value


@dataclass(frozen=True, kw_only=True)
class StudyConfig:
    """A base run and what varies.

    Raises:
        RequestError: A value is not allowed, or an axis cannot be read.
    """

    base: RunConfig = field(default_factory=RunConfig)
    "The run that everything else varies."
    grid: tuple[str, ...] = ()
    "Axes whose product is run."
    zip: tuple[str, ...] = ()
    "Axes that vary together: first values, second values, and so on."
    seeds: Annotated[int, Ge(1)] = 1
    "Runs of each setting, with seeds counted up from the base's."
    data_seeds: Annotated[int, Ge(1)] = 1
    "Splits, or generated data, of each setting, counted up from the base's data seed."
    folds: Annotated[int, Ge(0)] = 0
    "Folds of a cross-validation; 0 keeps the dataset's own validation split."
    repeats: Annotated[int, Ge(1)] = 1
    "How many times the folds are drawn anew."
    group: str = ""
    "Column of a csv whose rows with one value stay in one fold."
    metric: str = ""
    "What the best setting is chosen by; empty for validation accuracy or loss."

    def __post_init__(self) -> None:
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        for name, value in check_fields(StudyConfig, given, subject="The study").items():
            object.__setattr__(self, name, value)
        if self.folds == 1:
            raise RequestError("One fold leaves nothing to train on.", hint="Choose --folds 2 or more.")
        if self.metric.startswith("test/"):
            raise RequestError(
                f"metric={self.metric} would choose the best setting by the test split.",
                hint="Choose by valid/...; the test split is looked at once, at the end.",
            )
        lengths = {len(axis.values) for axis in self.zipped}
        if len(lengths) > 1:
            told = ", ".join(f"{axis.path} has {len(axis.values)}" for axis in self.zipped)
            raise RequestError(f"Axes that vary together have different lengths: {told}.", hint="Make them equal.")

    @property
    def crossed(self) -> tuple[Axis, ...]:
        """The axes whose product is run."""
        return tuple(map(parse_axis, self.grid))

    @property
    def zipped(self) -> tuple[Axis, ...]:
        """The axes that vary together."""
        return tuple(map(parse_axis, self.zip))

    def to_dict(self) -> dict[str, Any]:
        """The study as JSON knows it."""
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "base"}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}, "base": self.base.to_dict()}

    def fingerprint(self) -> str:
        """What two equal studies share: SHA-256 over everything that decides their runs."""
        document = self.to_dict()
        for name in ("name", "experiment", "out", "export", "format", "threads"):
            document["base"].pop(name)
        return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One combination of the axes' values.

    Args:
        label: What differs, in words.
        values: Axis -> value.
    """

    label: str
    values: Mapping[str, Any]


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
        """What runs of different settings share: seed, data seed and fold."""
        return self.config.seed, self.config.data_seed, self.fold

    @property
    def key(self) -> str:
        """What tells this run from the others of the study."""
        fold = "" if self.fold is None else f" fold {self.fold[0]} repeat {self.fold[1]}"
        return f"{self.setting.label} | seed {self.config.seed} data {self.config.data_seed}{fold}"


def load_study(
    file: Path | None = None, overrides: Sequence[str] = (), flags: Mapping[str, object] | None = None
) -> StudyConfig:
    """Reads a study: its own keys, and every other key is a field of the base run.

    Args:
        file: A TOML or YAML file.
        overrides: What `--set` takes, for the base run.
        flags: Value by field, of the study or of the base run; `None` where it was not given.

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
    for name in ("grid", "zip"):
        if isinstance(study.get(name), str):
            study[name] = (study[name],)
    base_file = {name: value for name, value in from_file.items() if name not in own}
    base_flags = {name: value for name, value in given.items() if name not in own}
    base = config_from(base_file, str(file), overrides, base_flags)
    return StudyConfig(base=base, **study)


def settings_of(study: StudyConfig) -> list[Setting]:
    """Every combination of the axes' values; one with an empty label where nothing varies."""
    crossed = [[(axis.path, value) for value in axis.values] for axis in study.crossed]
    zipped = [list(zip((a.path for a in study.zipped), values, strict=True)) for values in _columns(study.zipped)]
    settings = []
    for product in itertools.product(*crossed):
        for together in zipped or [[]]:
            values = dict([*product, *together])
            settings.append(Setting(label=_label(values), values=values))
    return settings


def _columns(axes: Sequence[Axis]) -> Iterator[tuple[Any, ...]]:
    return zip(*(axis.values for axis in axes), strict=True)


def _label(values: Mapping[str, Any]) -> str:
    if set(values) == {"reg"}:
        return value_text(values["reg"])
    return ", ".join(f"{path.removeprefix('reg.')}={value_text(value)}" for path, value in values.items()) or "base"


def points_of(study: StudyConfig, registry: Registry) -> list[Point]:
    """Every run of a study, checked; all that is not allowed is told at once, before anything runs.

    Raises:
        RequestError: An axis names nothing, or values are not allowed.
    """
    check_axes([*study.crossed, *study.zipped], study.base, registry)
    problems: list[str] = []
    points: list[Point] = []
    for setting in settings_of(study):
        try:
            config = study.base
            for path, value in setting.values.items():
                config = with_value(config, path, value)
            config = resolve_config(config, registry)
        except (ParameterError, CompositionError, RequestError) as error:
            problems.append(f"{setting.label}: {error.message}")
            continue
        points += _repeated(study, setting, config)
    if problems:
        raise RequestError("\n  ".join(problems), hint="Nothing was run.")
    return points


def _repeated(study: StudyConfig, setting: Setting, config: RunConfig) -> Iterator[Point]:
    drawn = [(fold, repeat) for repeat in range(study.repeats) for fold in range(study.folds)]
    folds: list[tuple[int, int] | None] = [*drawn] or [None]
    for data_seed in range(config.data_seed, config.data_seed + study.data_seeds):
        for fold in folds:
            for seed in range(config.seed, config.seed + study.seeds):
                yield Point(
                    setting=setting,
                    config=dataclasses.replace(config, seed=seed, data_seed=data_seed),
                    fold=fold,
                )

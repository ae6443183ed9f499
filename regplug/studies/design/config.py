"""The configuration of a study: its fields, and how it is read from a file and the command line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge

from regplug.config import UPDATE_FIELDS, RunConfig, Suggest, config_from, read_file
from regplug.config.directions import check_direction
from regplug.config.params import check_fields
from regplug.errors import RequestError, did_you_mean
from regplug.studies.design.axes import Axis, on_and_off, parse_axis

DEFAULT_FOLDS = 5
"""Default number of folds of a cross-validation."""


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
        given = {name: getattr(self, name) for name in _OWN_FIELDS}
        for name, value in check_fields(StudyConfig, given, subject="The study").items():
            object.__setattr__(self, name, value)
        self._check_folds()
        self._check_metric()
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

    def _check_folds(self) -> None:
        if self.folds == 1:
            raise RequestError("One fold leaves no rows to train on.", hint="Choose --folds 2 or more.")
        if self.folds and self.base.fold:
            raise RequestError(
                f"fold={self.base.fold} is one fold, but {self.folds} folds are cross-validated.",
                hint="Leave out --fold.",
            )

    def _check_metric(self) -> None:
        split = self.metric.partition("/")[0]
        if self.metric and split != "valid":
            told = (
                f"by the {split} split" if split in ("test", "train") else "by something other than a validation metric"
            )
            raise RequestError(
                f"metric={self.metric} would choose the best setting {told}.",
                hint="Choose a metric valid/...; the test split is used once, at the end.",
            )
        check_direction(self.metric, self.minimize)

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
        own = {name: getattr(self, name) for name in _OWN_FIELDS}
        return {**{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}, "base": self.base.to_dict()}

    def delivers(self, kind: str) -> bool:
        """Returns whether the best setting is trained again: by a sweep only to export it, or with several seeds."""
        return kind == "cv" or self.base.export or self.final_seeds > 1

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> StudyConfig:
        """Reads the result of `to_dict`."""
        own = {name: document[name] for name in _OWN_FIELDS if name in document}
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


_OWN_FIELDS = tuple(f.name for f in dataclasses.fields(StudyConfig) if f.name != "base")
"""The fields of a study that are not fields of its base run."""


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
    from_file = {} if file is None else read_file(file)
    _check_names(from_file, file)
    given = {name: value for name, value in (flags or {}).items() if value is not None}
    study = {name: value for name, value in {**from_file, **given}.items() if name in _OWN_FIELDS}
    for name in ("grid", "zip", "tune"):
        if isinstance(study.get(name), str):
            study[name] = (study[name],)
    base_file = {name: value for name, value in from_file.items() if name not in _OWN_FIELDS}
    base_flags = {name: value for name, value in given.items() if name not in _OWN_FIELDS}
    read = StudyConfig(**study)
    varied = {axis.path.partition(".")[0] for axis in (*read.crossed, *read.zipped)}
    suits = None if varied & {*UPDATE_FIELDS} else suggest
    base = config_from(base_file, str(file), overrides, base_flags, suggest=suits)
    return _with_folds(dataclasses.replace(read, base=base), kind)


def _check_names(from_file: Mapping[str, object], file: Path | None) -> None:
    known = [*_OWN_FIELDS, *(f.name for f in dataclasses.fields(RunConfig))]
    for name in from_file:
        if name not in known:
            raise RequestError(f"{file}: {name} is unknown.", hint=did_you_mean(name, known))


def _with_folds(study: StudyConfig, kind: str) -> StudyConfig:
    """Returns the study with the default number of folds if it is a cross-validation that does not say how many.

    Raises:
        RequestError: Folds are set for a sweep.
    """
    folded = next((name for name in ("folds", "repeats", "group") if getattr(study, name) != _default(name)), None)
    if folded and kind == "sweep":
        raise RequestError(f"A sweep has no folds, but {folded} is set.", hint="Use regplug cv.")
    is_cv = kind == "cv" or folded
    return dataclasses.replace(study, folds=DEFAULT_FOLDS) if is_cv and not study.folds else study


def _default(name: str) -> object:
    return StudyConfig.__dataclass_fields__[name].default

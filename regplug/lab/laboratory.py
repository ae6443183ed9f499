"""What a study works with: the number of seeds, sweeps and runs that are tracked, and the folder of the data."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from regplug.api import DataContext
from regplug.config.spec import ComponentSpec
from regplug.errors import DataError, FailedError, ParameterError, did_you_mean, some_of
from regplug.functions.given import read_study
from regplug.registry import build, default_registry
from regplug.reports.curves import Curve

if TYPE_CHECKING:
    from torch import nn

    from regplug.data import RawData
    from regplug.registry import Registry
    from regplug.runs.results import Observer, RunResult
    from regplug.studies.measuring import PointResult
    from regplug.studies.results import StudyObserver, StudyResult

DATA_DIR_VARIABLE = "REGPLUG_DATA_DIR"

QUICK_SEEDS = 3

_SET_BY_LAB = frozenset(("observers", "refit", "registry", "tracking_uri"))
"""Arguments of `regplug.sweep` and `regplug.run` that the laboratory gives itself."""

_T = TypeVar("_T")


class Runs:
    """The runs of a sweep, by setting.

    Args:
        result: The sweep's result.
        models: Trained network by `Point.key`; empty unless they were kept.
        setting: The setting of these runs; empty for those of every setting.
    """

    def __init__(self, result: StudyResult, models: Mapping[str, nn.Module], setting: str = "") -> None:
        self.result, self._models, self._setting = result, models, setting

    @property
    def settings(self) -> list[str]:
        """The settings, as the table of a sweep names them: `l2.strength=3`; `base` if nothing varies."""
        return list(dict.fromkeys(each.point.setting.label for each in self._results))

    def __getitem__(self, setting: str) -> Runs:
        """Returns the runs of one setting.

        Raises:
            LookupError: There is no such setting.
        """
        if setting not in self.settings:
            raise LookupError(f"The sweep has no setting {setting}. {did_you_mean(setting, self.settings)}")
        return Runs(self.result, self._models, setting)

    def values(self, metric: str) -> list[float]:
        """Returns the final value of a metric for each run, in the order of the seeds; NaN where a run has none."""
        return [each.metrics.get(metric, float("nan")) for each in self._results]

    def curves(self, metric: str) -> list[Curve]:
        """Returns the learning curve (epoch, value) of each run that has one."""
        return [each.history[metric] for each in self._results if each.history.get(metric)]

    def models(self) -> list[nn.Module]:
        """Returns the trained networks in evaluation mode, in the order of the seeds; needs `keep_models=True`.

        Raises:
            FailedError: A run failed; `models_or_none` leaves a gap for it.
        """
        for each in self._results:
            if each.error:
                raise FailedError(f"The run {each.point.key} failed, so it has no network. {each.error}")
        return [self._models[each.point.key] for each in self._results]

    def models_or_none(self) -> list[nn.Module | None]:
        """Returns what `models` does, with None where a run failed."""
        return [None if each.error else self._models[each.point.key] for each in self._results]

    def errors(self) -> list[str]:
        """Returns the error of each run, empty for one that finished; a diverged run names the loss or weight."""
        return [each.error for each in self._results]

    @property
    def _results(self) -> Sequence[PointResult]:
        return [each for each in self.result.results if not self._setting or each.point.setting.label == self._setting]


@dataclass
class Lab:
    """A laboratory for one study. Created by `regplug.lab.run`.

    Args:
        study: Name of the study.
        quick: Whether the study must end within seconds, with fewer seeds and shorter training.
        seeds: Number of seeds.
        tracking_uri: The store.
        registry: The installed components.
        observers: Receive the events of the study's sweeps.
        folder: A folder for temporary files of the study.
    """

    study: str
    quick: bool
    seeds: int
    tracking_uri: str | None = None
    registry: Registry | None = None
    observers: Sequence[StudyObserver] = ()
    folder: Path = field(default_factory=Path)
    mark: str = ""
    """Mark in the names of the sweeps, so that they are never taken for those of an earlier, killed attempt."""
    sweeps: list[StudyResult] = field(default_factory=list)
    """Results of the sweeps so far."""
    runs: list[RunResult] = field(default_factory=list)
    """Results of the single runs so far."""

    def pick(self, full: _T, quick: _T) -> _T:
        """Returns the value for this mode."""
        return quick if self.quick else full

    def shortened(self, how: str) -> str:
        """Returns why claims are undecided in quick mode, such as `one epoch instead of ten`; empty in full mode."""
        return f"quick mode: {how}" if self.quick else ""

    def sweep(self, label: str = "", *, keep_models: bool = False, **fields: Any) -> Runs:
        """Trains settings over all seeds, stacked where possible; a sweep of its own in MLflow, without export.

        With `folds` it is a cross-validation, whose runs are ordered by data seed, then by fold, then by seed.

        Each seed also draws its own data, unless `pair_seeds=False`.

        Args:
            label: Short name within the study; needed if the study has several sweeps.
            keep_models: Whether the trained networks are kept in memory.
            fields: Arguments of `regplug.sweep`, such as `grid`, `model`, `epochs`; with `folds`, those of
                `regplug.cross_validate`.

        Raises:
            ParameterError: There is no such field; nothing was trained.
        """
        from regplug.functions import cross_validate, sweep

        kind, function = ("cv", cross_validate) if "folds" in fields else ("sweep", sweep)
        _require_known("sweep", fields, function, ("label", "keep_models"))
        defaults = {"seeds": self.seeds, "pair_seeds": True, "export": False, "config": None, "overrides": ()}
        given = {"weights": None, **defaults, **self._place(label), **fields}
        given |= {"registry": self.registry}
        study = read_study(kind, given)
        models: dict[str, nn.Module] = {}

        def keep(points: Sequence[Any], network: Callable[[int], nn.Module]) -> None:
            models.update({point.key: network(run) for run, point in enumerate(points)})

        if keep_models:
            study.on_trained(keep)
        result = study.run(self.observers, self.tracking_uri)
        self.sweeps.append(result)
        return Runs(result, models)

    def run(self, label: str = "", *, observers: Sequence[Observer] = (), **fields: Any) -> RunResult:
        """Trains one run without export and returns its result, with the trained model.

        Args:
            label: Short name within the study.
            observers: As for `regplug.run`.
            fields: Arguments of `regplug.run`.

        Raises:
            ParameterError: There is no such field; nothing was trained.
        """
        from regplug.functions import run

        _require_known("run", fields, run, ("label", "observers"))
        given = {"export": False, **self._place(label), **fields}
        result = run(**given, observers=observers, tracking_uri=self.tracking_uri, registry=self.registry)
        self.runs.append(result)
        return result

    def data(self, dataset: str, seed: int = 0) -> RawData:
        """Returns a dataset's arrays as a run of that data seed gets them, before normalisation.

        Args:
            dataset: Such as `linear_regression:train_rows=50`.
            seed: The data seed.
        """
        known = self.registry or default_registry()
        spec = ComponentSpec.parse(dataset)
        made: RawData = build(known.find("dataset", spec), spec.values, DataContext(data_seed=seed))
        return made

    def data_folder(self, name: str) -> Path:
        """Returns a folder of `REGPLUG_DATA_DIR`.

        Args:
            name: The folder, such as `cifar2`.

        Raises:
            DataError: The variable is not set, or the folder does not exist.
        """
        root = os.environ.get(DATA_DIR_VARIABLE)
        folder = Path(root or "").expanduser() / name
        if not root or not folder.is_dir():
            told = f"{folder} does not exist" if root else f"{DATA_DIR_VARIABLE} is not set"
            raise DataError(
                f"The data folder {name} is missing: {told}.",
                hint=f"Set {DATA_DIR_VARIABLE} to the folder that contains {name}.",
            )
        return folder

    def _place(self, label: str) -> dict[str, str]:
        name = " ".join(part for part in (self.study, label, self.mark) if part)
        return {"experiment": f"lab/{self.study}", "name": name}


def _require_known(method: str, fields: Iterable[str], function: Callable[..., Any], own: Sequence[str]) -> None:
    """Checks the names of fields against the arguments of a function and the method's own.

    Raises:
        ParameterError: A name is unknown.
    """
    known = [*own, *(name for name in inspect.signature(function).parameters if name not in _SET_BY_LAB)]
    for name in fields:
        if name not in known:
            listed = f"help(regplug.{function.__name__})"
            near = did_you_mean(name, known, listed)
            names = "" if near.startswith("Known") else f" Known: {some_of(known, listed)}."
            raise ParameterError(f"lab.{method} has no field {name}.", hint=f"{near}{names}")

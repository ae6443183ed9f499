"""The data of a study's runs, read once for each data seed and split once for each fold; and their components."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from regplug.data import Prepared
from regplug.data.folds import fold_data, trimming_note
from regplug.errors import DataError
from regplug.registry import Registry
from regplug.registry.components import Components, find_components
from regplug.runs.data_facts import DataFacts, facts_of
from regplug.runs.loading import check_batch_size, load_data, prepare_for
from regplug.studies.design.config import StudyConfig
from regplug.studies.design.points import Point
from regplug.studies.design.settings import Setting

MOST_ROW_VALUES = 50_000_000
"""Most values of a metric by run and test row that a study keeps, in about 150 MB."""


class StudyData:
    """Returns each run's data and components; runs with equal data get the same object.

    Args:
        study: The study.
        registry: The installed components.
    """

    def __init__(self, study: StudyConfig, registry: Registry) -> None:
        self._study, self._registry = study, registry
        self._known: dict[tuple[Any, ...], Prepared] = {}
        self._facts: dict[str, DataFacts] = {}
        self._components: dict[int, tuple[Setting, Components]] = {}

    def __call__(self, point: Point) -> Prepared:
        """Returns the data of one run.

        Raises:
            DataError: They cannot be read, or not split as requested.
        """
        config = point.config
        altering = (config.train_rows, config.label_noise)
        key = (config.dataset, config.dtype, config.device, config.data_seed, config.fold, point.fold, altering)
        if key not in self._known:
            self._known[key] = self._read(point) if point.fold is None else self._part(point)
        check_batch_size(config, self._known[key])
        return self._known[key]

    def components(self, point: Point) -> Components:
        """Returns the components of one run. The runs of a setting share them; they are found once."""
        setting = point.setting
        if id(setting) not in self._components:
            # With the setting itself, so that no other object takes its id.
            self._components[id(setting)] = setting, find_components(point.config, self._registry)
        return self._components[id(setting)][1]

    def facts(self, point: Point) -> DataFacts:
        """Returns the stored facts about one run's data."""
        data = self(point)
        if data.digest not in self._facts:
            whole = None if point.fold is None else self._whole(point).raw
            self._facts[data.digest] = facts_of(data, whole=whole, folds=self._study.folds)
        return self._facts[data.digest]

    def shares_test_rows(self, points: Sequence[Point]) -> bool:
        """Returns whether the runs of each setting have the same test rows, few enough to keep a value of each."""
        if self._study.folds or len({point.config.data_seed for point in points}) > 1:
            return False
        return len(points) * max(self.facts(point).sizes["test"] for point in points) <= MOST_ROW_VALUES

    def notes(self, points: Iterable[Point]) -> tuple[str, ...]:
        """Returns notes on the folds for the reader."""
        folded = {(p.config.dataset, p.config.data_seed): p for p in points if p.fold is not None}
        told = (trimming_note(self._whole(p).raw, self._study.folds, p.config.data_seed) for p in folded.values())
        return tuple(dict.fromkeys(filter(None, told)))

    def digest(self) -> str:
        """Returns one hexadecimal SHA-256 for all data returned so far."""
        return hashlib.sha256(" ".join(sorted({data.digest for data in self._known.values()})).encode()).hexdigest()

    def _whole(self, point: Point) -> Prepared:
        # Folds are made of the rows as they are; each fold's training rows are altered by themselves.
        plain = dataclasses.replace(point.config, train_rows=0, label_noise=0.0)
        return self(dataclasses.replace(point, fold=None, config=plain))

    def _read(self, point: Point) -> Prepared:
        return load_data(point.config, self.components(point))

    def _part(self, point: Point) -> Prepared:
        whole, fold = self._whole(point), point.fold or (0, 0)
        if self._study.group and whole.raw.groups is None:
            raise DataError(
                f"group={self._study.group}: the dataset {whole.raw.name} has no groups.",
                hint="The dataset csv takes a column; pass your own arrays as RawData(groups=...).",
            )
        raw = fold_data(
            whole.raw,
            fold=fold[0],
            folds=self._study.folds,
            repeat=fold[1],
            data_seed=point.config.data_seed,
        )
        return prepare_for(point.config, raw)

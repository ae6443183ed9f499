"""A stand-in for the Hugging Face library `datasets`, as far as it is used; it need not be installed."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pandas
import pytest


class ClassLabel:
    """As datasets.ClassLabel."""

    def __init__(self, names):
        self.names = names


class Saved:
    """Behaves as datasets.Dataset."""

    def __init__(self, columns, features):
        self.columns, self.features = columns, features

    @property
    def column_names(self):
        return list(self.columns)

    def __len__(self):
        return len(next(iter(self.columns.values())))

    def __getitem__(self, row):
        return {name: values[row] for name, values in self.columns.items()}

    def to_pandas(self):
        return pandas.DataFrame(self.columns)


def stand_in(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """Puts a module `datasets` in place, whose load_from_disk returns a value."""
    module = types.ModuleType("datasets")
    module.load_from_disk = lambda path: value
    monkeypatch.setitem(sys.modules, "datasets", module)


def saved_table() -> Saved:
    """A table of a number, a category and two classes."""
    columns = {"age": [float(row) / 3 for row in range(40)], "town": ["a", "b"] * 20, "label": [0, 1, 1, 0] * 10}
    return Saved(columns, {"age": None, "town": None, "label": ClassLabel(["no", "yes"])})


def write_saved(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Writes a folder that looks as save_to_disk leaves one; returns the parameters of the dataset that reads it."""
    folder.mkdir()
    (folder / "dataset_info.json").write_text("{}")
    stand_in(monkeypatch, saved_table())
    return {"path": str(folder)}

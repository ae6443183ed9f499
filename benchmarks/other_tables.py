"""Writes more tables for `benchmarks/tables.py`: real ones of installed libraries, and generated ones that are awkward.

    python benchmarks/other_tables.py FOLDER
    python benchmarks/tables.py FOLDER

The real ones come with scikit-learn, and with statsmodels where it is installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

STATSMODELS = {
    "fair": "affairs",
    "anes96": "vote",
    "randhie": "mdvis",
    "engel": "foodexp",
    "ccard": "AVGEXP",
    "cancer": "cancer",
    "fertility": "2010",
}
"""Target of each table that is used."""

Made = tuple[str, pd.DataFrame, str]


def bundled() -> Iterator[Made]:
    """Yields name, table and target of scikit-learn's own tables."""
    for name in ("diabetes", "wine", "breast_cancer", "iris", "digits"):
        frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
        yield name, frame, "target"


def statsmodels() -> Iterator[Made]:
    """Yields those of statsmodels."""
    for name, target in STATSMODELS.items():
        try:
            module = importlib.import_module(f"statsmodels.datasets.{name}")
        except ImportError:
            return
        yield name, module.load_pandas().data.dropna(axis=1, how="all").dropna(subset=[target]), target


def generated() -> Iterator[Made]:
    """Yields generated ones: heavy tails, outliers, rare classes, many categories, few or many rows and columns."""
    random = np.random.default_rng(0)
    for name, make in (("friedman1", datasets.make_friedman1), ("friedman2", datasets.make_friedman2)):
        x, y = make(n_samples=1000, noise=1.0, random_state=0)
        yield name, _frame(x, y), "y"
    x, y = datasets.make_regression(1000, 20, n_informative=8, noise=20.0, random_state=0)
    town, colour = random.choice(list("abcdefgh"), 1000), random.choice(["red", "blue"], 1000)
    yield "regression_categories", _frame(x, y + 60 * (town == "c") - 40 * (colour == "red"), town, colour), "y"
    income, age, rooms = random.lognormal(1.2, 0.5, 5000), random.integers(1, 52, 5000), random.gamma(2, 2, 5000)
    where = random.uniform(-1, 1, (5000, 2))
    price = income * (1 + np.exp(-4 * (where**2).sum(axis=1))) + 0.01 * age + 0.2 * random.normal(size=5000)
    occupants = 3 + random.lognormal(-1, 1, 5000) + 1200 * (random.random(5000) < 0.0005)
    columns = np.column_stack([income, age, rooms, occupants, where])
    yield "california_like", _frame(columns, np.minimum(price - 0.3 * np.minimum(occupants, 5), 12)), "y"
    x = random.normal(size=(1500, 6))
    yield "skewed_target", _frame(x, np.exp(x[:, 0] + 0.5 * x[:, 1] + 0.3 * random.normal(size=1500))), "y"
    outliers = random.standard_t(1.5, size=(1500, 6))
    yield "outliers", _frame(outliers, np.tanh(outliers[:, 0]) + 0.2 * random.normal(size=1500)), "y"
    spikes = np.where(random.random((3000, 40)) < 0.03, random.lognormal(0, 2, (3000, 40)), 0)
    spam = (spikes[:, :10] > 0).sum(axis=1) + random.normal(size=3000) * 0.3 > 0.5
    yield "spikes", _frame(spikes, np.where(spam, "spam", "ham")), "y"
    x, y = datasets.make_classification(2000, 20, n_informative=5, weights=[0.95], random_state=0)
    yield "rare_class", _frame(x, y), "y"
    x, y = datasets.make_classification(150, 200, n_informative=10, random_state=0)
    yield "wide", _frame(x, y), "y"
    x, y = datasets.make_classification(20_000, 12, n_informative=6, n_classes=4, random_state=0)
    yield "many_rows", _frame(x, y), "y"
    towns = random.integers(0, 300, 3000)
    effect = random.normal(size=300)[towns]
    x = random.normal(size=(3000, 3))
    noisy = effect + x[:, 0] + 0.3 * random.normal(size=3000)
    yield "many_categories", _frame(x, noisy, np.char.add("town", towns.astype(str))), "y"
    x = random.normal(size=(60, 4))
    yield "few_rows", _frame(x, x[:, 0] - x[:, 1] + 0.3 * random.normal(size=60)), "y"
    x, y = datasets.make_moons(800, noise=0.2, random_state=0)
    yield "moons", _frame(x, np.array(["left", "right"])[y]), "y"


def _frame(x: np.ndarray, y: np.ndarray, *texts: np.ndarray) -> pd.DataFrame:
    columns = {f"x{number}": x[:, number] for number in range(x.shape[1])}
    return pd.DataFrame({**columns, **{f"text{at}": text for at, text in enumerate(texts)}, "y": y})


def main() -> None:
    """Writes the tables and their index."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    index = {}
    for name, frame, target in (*bundled(), *statsmodels(), *generated()):
        frame.to_csv(folder / f"{name}.csv", index=False)
        index[name] = {"target": target}
    (folder / "index.json").write_text(json.dumps(index))


if __name__ == "__main__":
    main()

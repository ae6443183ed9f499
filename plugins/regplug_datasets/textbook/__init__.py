"""Descriptors and parameters of the small tables and of the generated data."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Lt

from regplug.api import Dataset, Parameters

Count = Annotated[int, Ge(0)]
Rows = Annotated[int, Ge(1)]
ClassRows = Annotated[int, Ge(2)]
Noise = Annotated[float, Ge(0)]


class TableParams(Parameters):
    """Parameters of `iris`, `wine`, `breast_cancer` and `diabetes`."""

    normalize: Literal["standard", "none"] = "standard"
    "standard: mean 0 and standard deviation 1 over the training split, by column; none: as they are."
    validation: Annotated[float, Ge(0), Lt(1)] = 0.2
    "Share of the rows that validate; 0 for none."
    test: Annotated[float, Gt(0), Lt(1)] = 0.2
    "Share of the rows that test."


class PlaneParams(Parameters):
    """Parameters of `moons`, `spirals` and `rings`."""

    train_rows: ClassRows = 200
    "Points to train on."
    validation_rows: Count = 100
    "Points to validate on; 0 for none."
    test_rows: ClassRows = 1000
    "Points to test on."
    noise: Noise = 0.1
    "Standard deviation of the normal noise on both coordinates."


class NoisyLineParams(Parameters):
    """Parameters of `noisy_line`."""

    train_rows: Rows = 10
    "Points to train on, evenly spaced from -1 to 1."
    validation_rows: Count = 0
    "Points to validate on, at random from -1 to 1; 0 for none."
    test_rows: Rows = 100
    "Points to test on, at random from -1 to 1."
    slope: float = 1.5
    "Slope of the line through the origin."
    noise: Noise = 0.5
    "Standard deviation of the normal noise on the target."


class PolynomialParams(Parameters):
    """Parameters of `polynomial`."""

    train_rows: Rows = 100
    "Points to train on."
    validation_rows: Count = 0
    "Points to validate on; 0 for none."
    test_rows: Rows = 100
    "Points to test on."
    coefficients: tuple[float, ...] = (5.0, 1.2, -3.4, 5.6)
    "Coefficients of x^i / i!, starting at i = 0."
    noise: Noise = 0.1
    "Standard deviation of the normal noise on the target."


class AddingParams(Parameters):
    """Parameters of `adding`."""

    length: Annotated[int, Ge(2)] = 20
    "Time steps of a sequence."
    train_rows: Rows = 1000
    "Sequences to train on."
    validation_rows: Count = 200
    "Sequences to validate on; 0 for none."
    test_rows: Rows = 500
    "Sequences to test on."


def bundled() -> Iterator[Dataset]:
    """Yields the tables that ship with scikit-learn."""
    for name, task, summary, source in (
        ("iris", "classification", "150 flowers of three species, four measures in cm", "Fisher 1936"),
        ("wine", "classification", "178 wines of three growers, 13 chemical measures", "Forina et al. 1988, UCI Wine"),
        (
            "breast_cancer",
            "classification",
            "569 tumours, malignant or benign, 30 measures of their cells",
            "Street, Wolberg and Mangasarian 1993, UCI Breast Cancer Wisconsin (Diagnostic)",
        ),
        (
            "diabetes",
            "regression",
            "442 patients, ten measures; the target is the progression of the disease in a year",
            "Efron, Hastie, Johnstone and Tibshirani 2004, Least Angle Regression",
        ),
    ):
        yield Dataset(
            name=name,
            target=f"regplug_datasets.textbook.sklearn_tables:{name}",
            params=TableParams,
            task=task,  # type: ignore[arg-type] # one of the two
            summary=f"{summary}; ships with scikit-learn, offline.",
            source=source,
        )


def generated() -> Iterator[Dataset]:
    """Yields the data that are drawn from the data seed."""
    yield Dataset(
        name="moons",
        target="regplug_datasets.textbook.plane:moons",
        params=PlaneParams,
        task="classification",
        summary="Two interleaved half circles in the plane; generated.",
        source="scikit-learn, make_moons",
    )
    yield Dataset(
        name="spirals",
        target="regplug_datasets.textbook.plane:spirals",
        params=PlaneParams,
        task="classification",
        summary="Two spirals that wind around each other in the plane; generated.",
        source="Lang and Witbrock 1988, Learning to Tell Two Spirals Apart",
    )
    yield Dataset(
        name="rings",
        target="regplug_datasets.textbook.plane:rings",
        params=PlaneParams,
        task="classification",
        summary="Two circles around one centre in the plane; generated.",
        source="scikit-learn, make_circles",
    )
    yield Dataset(
        name="noisy_line",
        target="regplug_datasets.textbook.curves:noisy_line",
        params=NoisyLineParams,
        task="regression",
        summary="Ten points of y = 1.5 x + noise; generated.",
    )
    yield Dataset(
        name="polynomial",
        target="regplug_datasets.textbook.curves:polynomial",
        params=PolynomialParams,
        task="regression",
        summary="y = 5 + 1.2 x - 3.4 x^2/2! + 5.6 x^3/3! + noise, x from N(0, 1); generated.",
        source="Zhang et al., Dive into Deep Learning, section 3.6",
    )
    yield Dataset(
        name="adding",
        target="regplug_datasets.textbook.sequences:adding",
        params=AddingParams,
        task="regression",
        summary="Sequences (time, 2) of random numbers; the target is the sum of the two that are marked; generated.",
        source="Hochreiter and Schmidhuber 1997, Long Short-Term Memory, section 5.4",
    )

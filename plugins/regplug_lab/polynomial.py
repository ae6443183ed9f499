"""Underfitting and overfitting of a polynomial."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.lab import Claim, Dots, Drawing, Findings, Lab, Runs, bounded, curves, functions, rate, spreads, within

RECIPE: dict[str, Any] = {"dataset": "polynomial", "lr": 0.01, "batch_size": 10, "loss": "mse", "probe": ()}

TRUE = (5.0, 1.2, -3.4, 5.6)

CASES = {"normal": ("B1", 4, 400), "underfit": ("B2", 2, 400), "overfit": ("B3", 20, 1500)}
"""Name -> row of FACTS, features, epochs."""

WEIGHTS = {
    "normal": ((4.95, 5.04), (1.17, 1.55), (-3.61, -3.25), (4.15, 5.64)),
    "underfit": ((2.24, 3.96), (2.45, 6.29)),
    "overfit": ((4.95, 5.04), (1.21, 1.32), (-3.50, -3.12), (5.04, 5.43)),
}
TRAIN = {"normal": (0.006, 0.038), "underfit": (2.0, 48)}
TEST = {"underfit": (3.1, 79), "overfit": (0.009, 0.13)}
"""Ranges of 60 to 100 seeds of the reference, where FACTS states them."""

TEXT = """
Four features fit the cubic, two cannot: whatever the training, their error stays near 11, that of the best line. With
20 features the notes expect a test loss that stays high. For this recipe that is wrong: gradient descent stops long
before the high powers move, and the test loss is almost that of four features. It is exact least squares with 20
features that overfits, by orders of magnitude, which is what cross-validation sees when it chooses the number of
features.
"""


def polynomial(lab: Lab) -> Findings:
    """Rows B1 to B3, and what exact least squares does."""
    runs = {
        name: lab.sweep(name, model=f"polynomial:features={features}", epochs=lab.pick(epochs, epochs // 4),
                        evaluate_every=lab.pick(10, 5), keep_models=True, **RECIPE)
        for name, (_, features, epochs) in CASES.items()
    }  # fmt: skip
    too_short = lab.shortened("a quarter of the epochs")
    values: dict[str, list[float]] = {}
    claims: list[Claim] = []
    for name, (row, *_) in CASES.items():
        weights_SF = np.array([_weights(model) for model in runs[name].models()])
        found: dict[str, tuple[list[float], tuple[float, float] | None]] = {
            f"w{at}": (list(weights_SF[:, at]), limits) for at, limits in enumerate(WEIGHTS[name])
        }
        found["train"] = runs[name].values("train/loss"), TRAIN.get(name)
        found["test"] = runs[name].values("test/loss"), TEST.get(name)
        for what, (seeds, limits) in found.items():
            values[f"{name}/{what}"] = seeds
            if limits is not None:
                claims.append(within(f"{row.lower()}_{what}", f"{name}: {what} is that of the reference.", seeds,
                                     *limits, source=f"FACTS {row}", undecided=too_short))  # fmt: skip
    exact_claims, exact_values = _least_squares(lab)
    return Findings(
        claims=[*claims, *_no_overfitting(values, too_short), *exact_claims],
        values={**values, **exact_values},
        text=TEXT,
        figures=_figures(lab, runs, values),
    )


def _weights(model: Any) -> NDArray[np.float64]:
    (weight,) = model.parameters()
    return np.asarray(weight.detach()[0], np.float64)


def _no_overfitting(values: dict[str, list[float]], too_short: str) -> list[Claim]:
    high = [value > 0.1 for value in values["overfit/test"]]
    return [
        rate("b3_rarely_high", "With 20 features the test loss exceeds 0.1 in 3 % of the runs only.", high, 0.03,
             source="FACTS B", undecided=too_short),
    ]  # fmt: skip


def _figures(lab: Lab, runs: dict[str, Runs], values: dict[str, list[float]]) -> list[Drawing]:
    train = lab.data("polynomial", 0).train
    xs = np.linspace(-3, 3, 200)
    fits = {
        name: np.array([_basis(xs, len(weights)) @ weights for weights in map(_weights, each.models())])
        for name, each in runs.items()
    }
    return [
        curves("losses", "Training and test loss", "Mean over the seeds and one standard deviation, of logarithms.",
               {f"loss | {name}": {split: each.curves(f"{split}/loss") for split in ("train", "test")}
                for name, each in runs.items()}, log=True),
        functions("fits", "Fitted functions", "Mean and range of the seeds; the crosses are the rows of one seed.", xs,
                  {f"y | {name}": {name: fit, "truth": _basis(xs, 4) @ np.array(TRUE)} for name, fit in fits.items()},
                  dots=[Dots(label="training rows", xs=list(train.x[:, 0]), ys=list(train.y[:, 0]))],
                  y_limits=(-45, 35)),
        spreads("weights", "Fitted weights", "Each seed, the mean, and the range of the reference.",
                {f"{name} w{at}": values[f"{name}/w{at}"] for name, all_ in WEIGHTS.items() for at in range(len(all_))},
                x_name="weight", references={f"{name} w{at}": limits for name, all_ in WEIGHTS.items()
                                             for at, limits in enumerate(all_)}),
    ]  # fmt: skip


# Exact least squares.

MOST_FEATURES = 20


def _basis(x_B: NDArray[np.float64], features: int) -> NDArray[np.float64]:
    return np.stack([x_B**power / math.factorial(power) for power in range(features)], axis=1)


def _draw(generator: np.random.Generator, rows: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    x_B = generator.standard_normal(rows)
    return x_B, _basis(x_B, 4) @ np.array(TRUE) + 0.1 * generator.standard_normal(rows)


def _fit(x_B: NDArray[np.float64], y_B: NDArray[np.float64], features: int) -> NDArray[np.float64]:
    weights, *_ = np.linalg.lstsq(_basis(x_B, features), y_B, rcond=None)
    return np.asarray(weights)


def chosen_features(x_B: NDArray[np.float64], y_B: NDArray[np.float64], folds: int = 5) -> int:
    """Returns the number of features, 1 to 20, with the least error in a cross-validation of exact least squares."""
    part_B = np.arange(len(x_B)) % folds
    errors = []
    for features in range(1, MOST_FEATURES + 1):
        squares = [
            np.square(_basis(x_B[part_B == fold], features) @ _fit(x_B[part_B != fold], y_B[part_B != fold], features)
                      - y_B[part_B == fold]).sum()
            for fold in range(folds)
        ]  # fmt: skip
        errors.append(sum(squares))
    return 1 + int(np.argmin(errors))


def _least_squares(lab: Lab) -> tuple[list[Claim], dict[str, list[float]]]:
    draws = lab.pick(200, 60)
    picked: dict[int, list[float]] = {}
    for rows in (20, 100):
        picked[rows] = [float(chosen_features(*_draw(np.random.default_rng([rows, at]), rows))) for at in range(draws)]
    overfitted = []
    for at in range(draws):
        generator = np.random.default_rng([7, at])
        weights = _fit(*_draw(generator, 100), MOST_FEATURES)
        x_B, y_B = _draw(generator, 100)
        overfitted.append(float(np.square(_basis(x_B, MOST_FEATURES) @ weights - y_B).mean()))
    claims = [
        rate("cv_20", "Cross-validation with 20 rows chooses 4 features in 75 % of the draws.",
             [count == 4 for count in picked[20]], 0.75, source="FACTS B"),
        rate("cv_100", "With 100 rows it does in 66 %.", [count == 4 for count in picked[100]], 0.66,
             source="FACTS B"),
        bounded("cv_least", "It never chooses fewer.", [*picked[20], *picked[100]], low=4, source="FACTS B"),
        bounded("exact_overfits", "Exact least squares with 20 features overfits: its median test loss is above 1.",
                [float(np.median(overfitted))], low=1, source="FACTS B"),
    ]  # fmt: skip
    sizes = [math.log10(loss) for loss in overfitted]
    return claims, {"cv/features_20": picked[20], "cv/features_100": picked[100], "least_squares/log10_test": sizes}

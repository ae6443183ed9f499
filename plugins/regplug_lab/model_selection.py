"""Choosing a strength by cross-validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.data import RawData
from regplug.lab import Findings, Lab, exact, greater, series

Array = NDArray[np.float64]

STRENGTHS = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)
ROWS, FOLDS = 60, 5
DATA = f"linear_regression:num_features=50,train_rows={ROWS},test_rows=1000,validation_rows=0,weight=0.1,bias=0,noise=1"

RECIPE: dict[str, Any] = {
    "model": "linear:bias=false", "dataset": DATA, "init": "zeros", "loss": "half_squared_error", "lr": 0.12,
    "momentum": 0.5, "dtype": "float64", "probe": (),
    "grid": [f"reg.l2.strength={','.join(map(str, STRENGTHS))}"], "baseline": f"l2.strength={STRENGTHS[0]}",
}  # fmt: skip

TEXT = """
Cross-validation estimates the error on new rows from the training rows alone: each fold is predicted by a model that
has not seen it. Each estimate is that of a model with four fifths of the rows, and it rests on 60 rows where the test
error rests on 1,000; but over the strengths the estimates fall and rise as the error on the test rows does. The
strength that it chooses costs little more than the one that the test rows themselves would choose, and most of what
decay can gain is gained. Gradient descent, run long enough, gives the closed form of ridge regression.
"""


def k_fold(lab: Lab) -> Findings:
    """Chooses λ by five folds, and compares with the best on the test rows and with the closed form."""
    epochs = lab.pick(2000, 800)
    whole = lab.sweep("whole", batch_size=ROWS, epochs=epochs, evaluate_every=epochs, keep_models=True, **RECIPE)
    folded = lab.sweep(
        "folds", batch_size=ROWS - ROWS // FOLDS, epochs=epochs, evaluate_every=epochs, folds=FOLDS, seeds=1,
        data_seeds=lab.seeds, pair_seeds=False, **RECIPE,
    )  # fmt: skip
    labels = [f"l2.strength={strength:g}" for strength in STRENGTHS]
    test_SL = np.array([whole[label].values("test/loss") for label in labels]).T
    cv_SL = np.array([np.reshape(folded[label].values("valid/loss"), (lab.seeds, FOLDS)).mean(1) for label in labels]).T
    seeds = np.arange(lab.seeds)
    chosen = test_SL[seeds, cv_SL.argmin(1)]
    values = {
        "test/chosen": list(chosen),
        "test/best": list(test_SL.min(1)),
        "test/weakest": list(test_SL[:, 0]),
        "strength/chosen": [STRENGTHS[at] for at in cv_SL.argmin(1)],
        "strength/best": [STRENGTHS[at] for at in test_SL.argmin(1)],
    }
    source = "Hastie, Tibshirani and Friedman 2009, section 7.10"
    return Findings(
        claims=[
            exact("ridge", "Gradient descent ends with the ridge solution, for every strength from 0.1 on.",
                  _distance_from_ridge(lab, whole), 0, 1e-6, source="closed form"),
            greater("gain", "The strength that cross-validation chooses has a lower loss on new rows than the weakest.",
                    values["test/weakest"], values["test/chosen"], source=source),
            greater("most", "It gains more than it leaves to the best strength.",
                    list(test_SL[:, 0] - chosen), list(chosen - test_SL.min(1)), source=source),
        ],
        values=values,
        text=TEXT,
        figures=[
            series("strength", "Loss against λ", "Mean and range of the seeds (of logarithms).", STRENGTHS,
                   {"half the squared error": {"cross-validation": cv_SL, "test rows": test_SL}}, x_name="λ",
                   log_x=True, log_y=True),
            series("chosen", "Chosen strengths", "Share of the seeds for which each strength is the best.", STRENGTHS,
                   {"share of the seeds": {"cross-validation": _shares(cv_SL), "test rows": _shares(test_SL)}},
                   x_name="λ", log_x=True, y_limits=(-0.05, 1.05)),
        ],
    )  # fmt: skip


def _shares(loss_SL: Array) -> Array:
    """Returns for each strength the share of the seeds whose least loss it has."""
    return np.bincount(loss_SL.argmin(1), minlength=len(STRENGTHS)) / len(loss_SL)


def ridge(raw: RawData, strength: float) -> Array:
    """Returns the weights that minimise mean((x w - y)^2) / 2 + strength / 2 |w|^2 on the training rows."""
    x_BF, y_B = np.asarray(raw.train.x, np.float64), np.asarray(raw.train.y, np.float64)[:, 0]
    gram_FF = x_BF.T @ x_BF / len(x_BF) + strength * np.eye(x_BF.shape[1])
    return np.asarray(np.linalg.solve(gram_FF, x_BF.T @ y_B / len(x_BF)))


def _distance_from_ridge(lab: Lab, whole: Any) -> list[float]:
    found = []
    for strength in (each for each in STRENGTHS if each >= 0.1):
        for seed, model in enumerate(whole[f"l2.strength={strength:g}"].models()):
            (weight,) = model.parameters()
            found.append(float(np.abs(weight.detach().numpy()[0] - ridge(lab.data(DATA, seed), strength)).max()))
    return found

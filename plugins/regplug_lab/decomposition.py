"""Bias and variance: what the test error of a setting is made of, over training sets that are drawn anew."""

from __future__ import annotations

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from torch import nn

from regplug.api import DataContext, Dataset, Task
from regplug.data import InputSpec, RawData, Split
from regplug.lab import Claim, Findings, Lab, bounded, exact, series

Array = NDArray[np.float64]

STRENGTHS = (0.005, 0.03, 0.2, 1.0)
ROWS, DEGREE, NOISE = 30, 11, 0.5
GRID = np.linspace(-1, 1, 201)

TEXT = """
Over many training sets, the expected squared error at a point is bias² + variance + noise: the bias is squared, which
one of the notes forgets. The stronger L2 is, the less the weights follow the training set that happened to be drawn
(variance falls), and the further their average stays from the truth (bias rises). The best strength lies between.
"""


def bias_variance(lab: Lab) -> Findings:
    """Ridges of four strengths on polynomials of degree 11, each trained on every training set."""
    epochs = lab.pick(2500, 1500)
    runs = lab.sweep(
        model="linear:bias=false", dataset=DATASET, init="zeros", loss="half_squared_error", lr=0.2, momentum=0.9,
        epochs=epochs, batch_size=ROWS, evaluate_every=epochs, dtype="float64", probe=(), keep_models=True,
        grid=[f"reg.l2.strength={','.join(map(str, STRENGTHS))}"],
    )  # fmt: skip
    features_GF = _features(GRID)
    trained = {float(label.partition("=")[2]): runs[label].models() for label in runs.settings}
    weights = {strength: _weights(models) for strength, models in trained.items() if strength in STRENGTHS}
    predictions = {strength: weights_SF @ features_GF.T for strength, weights_SF in weights.items()}
    parts = {strength: decomposed(each_SG, _truth(GRID)) for strength, each_SG in predictions.items()}
    bias, variance = ([parts[strength][part] for strength in STRENGTHS] for part in (0, 1))
    errors = [float(((each_SG - _truth(GRID)) ** 2).mean()) for each_SG in predictions.values()]
    parts_of = {"bias_squared": bias, "variance": variance, "error": errors}
    return Findings(
        claims=_claims(lab, weights, errors, bias, variance),
        values={f"{name}/{strength:g}": value for name, values in parts_of.items()
                for strength, value in zip(STRENGTHS, values, strict=True)},
        text=TEXT,
        figures=[
            series("parts", "Bias and variance by strength of L2",
                   f"Polynomials of degree {DEGREE} on {ROWS} noisy points of sin(πx), over {lab.seeds} training sets.",
                   STRENGTHS, {"squared error to the truth": {"bias²": bias, "variance": variance, "sum": errors}},
                   x_name="λ", log_x=True, log_y=True),
        ],
    )  # fmt: skip


def _claims(
    lab: Lab, weights: dict[float, Array], errors: list[float], bias: list[float], variance: list[float]
) -> list[Claim]:
    few = lab.shortened("three training sets instead of forty")
    ridges = [_ridge(*_drawn(seed), strength) for strength in STRENGTHS for seed in range(lab.seeds)]
    theory = "Geman, Bienenstock and Doursat 1992"
    return [
        exact("ridge", "Each run ends at the ridge solution in closed form.",
              np.concatenate([weights[strength] for strength in STRENGTHS]), ridges, 1e-3,
              source="theory: normal equations"),
        exact("sum", "The squared error to the truth is bias² + variance, at every strength.",
              np.add(bias, variance), errors, 1e-9, source=theory),
        bounded("variance", "Variance falls with every increase of the strength.", list(-np.diff(variance)), low=0,
                source=theory, undecided=few),
        bounded("bias", "Bias rises from the weakest to the strongest penalty.", [bias[-1] - bias[0]], low=0,
                source=theory, undecided=few),
        bounded("between", "The least error is at neither end.",
                [min(errors[0], errors[-1]) - min(errors[1:-1])], low=0, source=theory, undecided=few),
    ]  # fmt: skip


def decomposed(predictions_SG: Array, truth_G: Array) -> tuple[float, float]:
    """Returns squared bias and variance of predictions (training sets, points), averaged over the points.

    Source: Geman, Bienenstock and Doursat 1992, Neural Networks and the Bias/Variance Dilemma.

    >>> decomposed(np.array([[1.0], [3.0]]), np.array([0.0]))
    (4.0, 1.0)
    """
    bias_G, variance_G = predictions_SG.mean(axis=0) - truth_G, predictions_SG.var(axis=0)
    return float((bias_G**2).mean()), float(variance_G.mean())


def points(params: object, context: DataContext) -> RawData:  # noqa: ARG001 - no parameters
    """Returns a training set of a data seed; the test rows are the truth on a grid."""
    x_BF, y_B = _drawn(context.data_seed)
    inputs = InputSpec(layout="row", shape=(DEGREE + 1,), dtype="float32")
    task = Task(kind="regression", num_outputs=1)
    test = _split(_features(GRID), _truth(GRID))
    return RawData(name="sine_points", train=_split(x_BF, y_B), test=test, task=task, inputs=inputs)


DATASET = Dataset(
    name="sine_points", target="regplug_lab.decomposition:points", task="regression",
    summary="Noisy points of a sine as Legendre polynomials.",
)  # fmt: skip


def _truth(x_B: Array) -> Array:
    return np.sin(np.pi * x_B)


def _features(x_B: Array) -> Array:
    """Legendre polynomials of variance 1 on [-1, 1], in the precision of the data."""
    return (legendre.legvander(x_B, DEGREE) * np.sqrt(2 * np.arange(DEGREE + 1) + 1)).astype(np.float32).astype(float)


def _drawn(seed: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(seed)
    x_B = generator.uniform(-1, 1, ROWS)
    y_B = _truth(x_B) + NOISE * generator.standard_normal(ROWS)
    return _features(x_B), y_B.astype(np.float32).astype(float)


def _ridge(x_BF: Array, y_B: Array, strength: float) -> Array:
    gram_FF = x_BF.T @ x_BF / ROWS + strength * np.eye(x_BF.shape[1])
    return np.asarray(np.linalg.solve(gram_FF, x_BF.T @ y_B / ROWS))


def _weights(models: list[nn.Module]) -> Array:
    """The weights (models, F)."""
    return np.array([next(model.parameters()).detach().double().numpy().ravel() for model in models])


def _split(x_BF: Array, y_B: Array) -> Split:
    return Split(x=x_BF.astype(np.float32), y=y_B.astype(np.float32)[:, None])

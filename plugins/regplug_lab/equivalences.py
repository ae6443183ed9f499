"""Studies of what is, and what is not, the same as a squared penalty on the weights: input noise, early stopping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.api import DataContext, Dataset, Task
from regplug.data import InputSpec, RawData, Split
from regplug.lab import Claim, Findings, Lab, Runs, bounded, curves, equal, exact, greater, series, spreads

Array = NDArray[np.float64]

LEAST_SQUARES: dict[str, Any] = {
    "model": "linear:bias=false", "init": "zeros", "dtype": "float64", "probe": (),
}  # fmt: skip

# Input noise.

NOISE, DROPPED = 0.5, 0.3
NOISY_ROWS = 64

NOISE_TEXT = """
For a linear model and the squared error, Gaussian noise on the inputs adds std²‖w‖² to the expected loss: training on
noisy inputs is ridge regression (Bishop 1995). Dropping inputs is another penalty: it adds p/(1-p) Σⱼ wⱼ² mean(xⱼ²),
which weighs each column by its size. The notes name dropout where Bishop's result is about Gaussian noise.
The share below is how far the averaged weights went from least squares towards the ridge solution: 1 is all the way.
For a network f the same expansion holds for small std, with |f'|² + (f - y) f'' in the place of ‖w‖².
"""


def noise_is_tikhonov(lab: Lab) -> Findings:
    """Averaged weights of SGD with input noise, and with dropped inputs, against two closed-form ridges."""
    regs = {"noise": f"input_noise:std={NOISE}", "dropped": f"feature_dropout:drop_probability={DROPPED}"}
    weights = {name: _averaged(lab, name, reg) for name, reg in regs.items()}
    problems = [_noisy_problem(seed) for seed in range(lab.seeds)]
    penalties: dict[str, Callable[[Array], Array]] = {
        "noise": lambda x_BF: len(x_BF) * NOISE**2 * np.eye(x_BF.shape[1]),
        "dropped": lambda x_BF: DROPPED / (1 - DROPPED) * np.diag((x_BF**2).sum(axis=0)),
    }
    own, other = (
        {name: [_share(w_F, *problem, penalties[kinds[name]]) for w_F, problem in zip(each, problems, strict=True)]
         for name, each in weights.items()}
        for kinds in ({"noise": "noise", "dropped": "dropped"}, {"noise": "dropped", "dropped": "noise"})
    )  # fmt: skip
    ratios = [_expansion(sigma) for sigma in SIGMAS]
    return Findings(
        claims=[
            *_of_ridges({name: [share for share, _ in each] for name, each in own.items()}),
            greater("not_tikhonov", "Weights under dropped inputs are closer to their own ridge than to Tikhonov's.",
                    [off for _, off in other["dropped"]], [off for _, off in own["dropped"]], source="FACTS F"),
            exact("expansion", "For a network, std = 0.01 adds std² times the mean of |f'|² + (f - y) f'' to the loss.",
                  ratios[0], 1, 0.001, source="Bishop 1995, equations 10 to 13"),
        ],
        values={f"share/{name}": [share for share, _ in each] for name, each in own.items()}
        | {f"expansion/{sigma:g}": ratio for sigma, ratio in zip(SIGMAS, ratios, strict=True)},
        text=NOISE_TEXT,
        figures=[
            spreads("shares", "Share of the way from least squares to the ridge", "Each seed and the mean.",
                    {f"{name}: {kind} ridge": [share for share, _ in each]
                     for kind, found in (("its own", own), ("the other's", other)) for name, each in found.items()},
                    x_name="share of the way"),
            series("expansion", "Loss added by noise on the input of a network",
                   "The expected increase, over std² times the mean of |f'|² + (f - y) f''.", SIGMAS,
                   {"increase over its expansion": {"tanh network, y = sin 3x": ratios}}, x_name="std of the noise",
                   log_x=True, levels=[("the expansion is exact", 1.0)]),
        ],
    )  # fmt: skip


def _averaged(lab: Lab, name: str, reg: str) -> list[Array]:
    """Averaged weights (F,) for each seed. The rows are repeated, so that each unshuffled batch is the whole data."""
    epochs = lab.pick(1000, 100)
    dataset = Dataset(name="noisy_rows", target="regplug_lab.equivalences:noisy_rows", task="regression",
                      summary="Linear data with columns of unequal size, repeated.")  # fmt: skip
    runs = lab.sweep(name, dataset=dataset, reg=[reg, "swa:start=0.1"], lr=0.02, epochs=epochs, shuffle=False,
                     batch_size=NOISY_ROWS, evaluate_every=epochs, keep_models=True, **LEAST_SQUARES)  # fmt: skip
    return [_weights(model) for model in runs.models()]


def _weights(model: Any) -> Array:
    (weight,) = model.parameters()
    return weight.detach().double().numpy().ravel()  # type: ignore[no-any-return] # numpy of a tensor


def _noisy_problem(seed: int) -> tuple[Array, Array]:
    """Inputs (64, 5) with columns of sizes 2 to 0.5, and targets (64,) with noise of standard deviation 1."""
    generator = np.random.default_rng(seed)
    x_BF = generator.standard_normal((NOISY_ROWS, 5)) * np.linspace(2, 0.5, 5)
    y_B = x_BF.sum(axis=1) + generator.standard_normal(NOISY_ROWS)
    return x_BF.astype(np.float32).astype(np.float64), y_B.astype(np.float32).astype(np.float64)


def noisy_rows(params: object, context: DataContext) -> RawData:  # noqa: ARG001 - no parameters
    """Returns the problem of a data seed, its rows repeated sixteen times."""
    x_BF, y_B = _noisy_problem(context.data_seed)
    rows = _split(np.tile(x_BF, (16, 1)), np.tile(y_B, 16))
    return _regression("noisy_rows", rows, _split(x_BF, y_B))


def _share(w_F: Array, x_BF: Array, y_B: Array, penalty: Callable[[Array], Array]) -> tuple[float, float]:
    """Returns the share of the way from least squares to a ridge, and the distance from that ridge over that way."""
    gram_FF, moment_F = x_BF.T @ x_BF, x_BF.T @ y_B
    start_F, end_F = np.linalg.solve(gram_FF, moment_F), np.linalg.solve(gram_FF + penalty(x_BF), moment_F)
    way_F = end_F - start_F
    share = float((w_F - start_F) @ way_F / (way_F @ way_F))
    return share, float(np.linalg.norm(w_F - end_F) / np.linalg.norm(way_F))


def _of_ridges(shares: dict[str, list[float]]) -> list[Claim]:
    texts = {"noise": "Gaussian noise on the inputs gives the ridge solution with penalty std²‖w‖².",
             "dropped": "Dropped inputs give the ridge with penalty p/(1-p) Σ wⱼ² mean(xⱼ²)."}  # fmt: skip
    sources = {"noise": "Bishop 1995", "dropped": "FACTS F"}
    return [equal(name, text, shares[name], [1.0] * len(shares[name]), 0.05, source=sources[name])
            for name, text in texts.items()]  # fmt: skip


SIGMAS = (0.01, 0.03, 0.1, 0.3, 1.0)


def _expansion(sigma: float) -> float:
    """The expected increase of the squared error of a random tanh network, over Bishop's second-order term.

    The expectation over the noise is a Gauss-Hermite sum, so nothing is left to chance.
    """
    generator = np.random.default_rng(0)
    a_H, b_H, c_H = generator.standard_normal((3, 8))
    x_B = np.linspace(-1, 1, 50)
    y_B = np.sin(3 * x_B)

    def network(x: Array) -> Array:
        return np.tanh(x[..., None] * a_H + b_H) @ c_H  # type: ignore[no-any-return] # an array

    t_BH = np.tanh(x_B[:, None] * a_H + b_H)
    first_B = ((1 - t_BH**2) * a_H) @ c_H
    second_B = (-2 * t_BH * (1 - t_BH**2) * a_H**2) @ c_H
    nodes_N, weights_N = np.polynomial.hermite_e.hermegauss(80)
    noisy_BN = (network(x_B[:, None] + sigma * nodes_N) - y_B[:, None]) ** 2
    increase = float((noisy_BN @ (weights_N / weights_N.sum()) - (network(x_B) - y_B) ** 2).mean())
    return increase / (sigma**2 * float((first_B**2 + (network(x_B) - y_B) * second_B).mean()))


# Early stopping.

STEP, STEPS = 0.1, 1000
TIMES = {10: 1.0, 25: 0.4, 100: 0.1, 250: 0.04, 1000: 0.01}
"""Step k -> 1 / (STEP k), the strength of the ridge beside it."""
PATH_BOUND = 1.69

STOPPING_TEXT = """
From a zero start, k steps of gradient descent with rate η shrink the least-squares solution by 1 - (1 - ηs)^k along an
eigenvector of the data with eigenvalue s; a ridge shrinks it by s / (s + λ). Both leave directions with small s alone,
and with λ = 1/(ηk) they are close: the risk of stopping is never more than 1.69 times that of this ridge (Ali, Kolter
and Tibshirani 2019). Early stopping is therefore a penalty whose strength falls as training goes on: similar to L2, not
equal to it.
"""


def early_stopping_is_l2(lab: Lab) -> Findings:
    """Gradient descent that is stopped after k steps against ridges with λ = 1/(ηk)."""
    base: dict[str, Any] = {
        "dataset": STOPPED, "loss": "half_squared_error", "lr": STEP, "batch_size": STOPPED_ROWS, **LEAST_SQUARES,
    }  # fmt: skip
    stopped = lab.sweep("stopped", epochs=STEPS, evaluate_every=5, keep_models=True, **base)
    strengths = ",".join(map(str, TIMES.values()))
    long = lab.pick(3000, 1000)
    ridges = lab.sweep("ridge", grid=[f"reg.l2.strength={strengths}"], epochs=long, evaluate_every=long,
                       momentum=0.9, keep_models=True, **base)  # fmt: skip
    problems = [_stopped_problem(seed)[0] for seed in range(lab.seeds)]
    at_stop_SN, at_ridge_SN = _stopped_risks(stopped), _ridge_risks(ridges)
    ratios_N = at_stop_SN.mean(axis=0) / at_ridge_SN.mean(axis=0)
    filters = [_filtered(*problem, lambda s_F: 1 - (1 - STEP * s_F) ** STEPS) for problem in problems]
    ridge_errors = _ridge_errors(ridges, problems)
    curve_SN = np.array([[value for _, value in curve] for curve in stopped.curves("test/loss")])
    return Findings(
        claims=[
            exact("filter", "The stopped weights are least squares shrunk by 1 - (1 - ηs)^k along each eigenvector.",
                  [_weights(model) for model in stopped.models()], filters, 1e-6, source="theory: Ali et al. 2019"),
            exact("ridge", "The runs with L2 end at the closed-form ridge.", ridge_errors, 0, 1e-3,
                  source="theory: normal equations"),
            bounded("path", "With λ = 1/(ηk) the mean risk of stopping is at most 1.69 times that of the ridge.",
                    list(ratios_N), high=PATH_BOUND, source="Ali, Kolter and Tibshirani 2019, theorem 2"),
            greater("best", "The best stopping time has at most 1.69 times the risk of the best of these ridges.",
                    list(PATH_BOUND * at_ridge_SN.min(axis=1)), list(curve_SN.min(axis=1)),
                    source="Ali, Kolter and Tibshirani 2019"),
            greater("helps", "Stopping at the best time has a lower risk than the last step.",
                    list(curve_SN[:, -1]), list(curve_SN.min(axis=1)), source="Bishop 1995, section 9.2.4"),
        ],
        values={**{f"ratio/{time}": ratio for time, ratio in zip(TIMES, ratios_N, strict=True)},
                "best/stopped": list(curve_SN.min(axis=1)), "best/ridge": list(at_ridge_SN.min(axis=1))},
        text=STOPPING_TEXT,
        figures=[
            series("path", "Test loss of stopping after k steps, and of the ridge with λ = 1/(ηk)",
                   "Mean and range of the seeds. The test targets have no noise, so this loss is half the risk.",
                   list(TIMES), {"test loss": {"stopped after k steps": at_stop_SN, "ridge, λ = 1/(ηk)": at_ridge_SN}},
                   x_name="steps k", log_x=True, log_y=True),
            curves("learning", "Losses of gradient descent",
                   "Mean of the seeds and one standard deviation; the test targets have no noise.",
                   {"loss": {split: stopped.curves(f"{split}/loss") for split in ("train", "test")}}, log=True),
        ],
    )  # fmt: skip


def _stopped_risks(stopped: Runs) -> Array:
    return np.array([[dict(curve)[time] for time in TIMES] for curve in stopped.curves("test/loss")])


def _ridge_settings(ridges: Runs) -> list[Runs]:
    """The runs of each strength, in the order of the times; the sweep may add a reference without L2."""
    by_strength = {float(label.partition("=")[2]): ridges[label] for label in ridges.settings}
    return [by_strength[strength] for strength in TIMES.values()]


def _ridge_risks(ridges: Runs) -> Array:
    return np.array([runs.values("test/loss") for runs in _ridge_settings(ridges)]).T


def _ridge_errors(ridges: Runs, problems: list[tuple[Array, Array]]) -> list[float]:
    errors = []
    for strength, runs in zip(TIMES.values(), _ridge_settings(ridges), strict=True):
        for model, problem in zip(runs.models(), problems, strict=True):
            solution_F = _filtered(*problem, lambda s_F, strength=strength: s_F / (s_F + strength))  # type: ignore[misc]
            errors.append(float(np.abs(_weights(model) - solution_F).max()))
    return errors


def _filtered(x_BF: Array, y_B: Array, shrink: Callable[[Array], Array]) -> Array:
    """Least squares, shrunk by a factor along each eigenvector of `x.T @ x / rows`."""
    s_F, v_FF = np.linalg.eigh(x_BF.T @ x_BF / len(x_BF))
    along_F = v_FF.T @ (x_BF.T @ y_B / len(x_BF))
    return np.asarray(v_FF @ (shrink(s_F) / s_F * along_F))


STOPPED_ROWS = 40


def _stopped_problem(seed: int) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Rows (40, 20) with columns of sizes 1 to 0.1, a random linear truth, noise 1.5; and 2,000 rows without noise."""
    generator = np.random.default_rng(seed)
    truth_F = generator.standard_normal(20)

    def draw(rows: int, noise: float) -> tuple[Array, Array]:
        x_BF = generator.standard_normal((rows, 20)) * np.geomspace(1, 0.1, 20)
        y_B = x_BF @ truth_F + noise * generator.standard_normal(rows)
        return x_BF.astype(np.float32).astype(np.float64), y_B.astype(np.float32).astype(np.float64)

    return draw(STOPPED_ROWS, 1.5), draw(2000, 0.0)


def stopped_rows(params: object, context: DataContext) -> RawData:  # noqa: ARG001 - no parameters
    """Returns the problem of a data seed."""
    train, test = _stopped_problem(context.data_seed)
    return _regression("stopped_rows", _split(*train), _split(*test))


STOPPED = Dataset(
    name="stopped_rows", target="regplug_lab.equivalences:stopped_rows", task="regression",
    summary="Linear data with columns of unequal size and noisy targets; the test targets have no noise.",
)  # fmt: skip


def _split(x_BF: Array, y_B: Array) -> Split:
    return Split(x=x_BF.astype(np.float32), y=y_B.astype(np.float32)[:, None])


def _regression(name: str, train: Split, test: Split) -> RawData:
    inputs = InputSpec(layout="row", shape=train.x.shape[1:], dtype="float32")
    return RawData(name=name, train=train, test=test, task=Task(kind="regression", num_outputs=1), inputs=inputs)

"""Studies of weight decay on linear regression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.lab import Claim, Drawing, Findings, Lab, Runs, curves, equal, exact, series, spreads, within

BASE: dict[str, Any] = {
    "model": "linear", "dataset": "linear_regression", "init": "normal:std=1", "epochs": 100, "batch_size": 5,
    "lr": 0.003, "evaluate_every": 2,
}  # fmt: skip
"""200 features, 20 rows to train on, 100 to test on, 400 steps."""

CONCISE = "normal:std=1,bias=same"
"""FACTS K2: the bias, too, starts from N(0, 1)."""

LAMBDAS = "0,0.3,1,3,10"
OFF, ON = "l2.strength=0", "l2.strength=3"

Norm = tuple[float, float, float | None, float | None]

ROWS: tuple[tuple[str, str, str, Norm, tuple[float, float]], ...] = (
    # row, convention, setting, norm: low, high, mean, sd; test loss: low, high
    ("A1", "scratch", OFF, (11.63, 15.62, 13.41, 0.73), (48.7, 140)),
    ("A2", "scratch", ON, (0.315, 0.421, 0.365, 0.020), (0.0445, 0.188)),
    ("A3", "concise", OFF, (11.63, 15.62, None, None), (98, 280)),
    ("A4", "concise", ON, (0.320, 0.785, None, None), (0.106, 6.6)),
)
"""FACTS A1 to A4: the ranges of 100 to 200 seeds of the reference."""

LABELS = {"A1": "scratch, no decay", "A2": "scratch, λ = 3", "A3": "concise, no decay", "A4": "concise, λ = 3"}

LEFT = (1 - 0.003 * 3) ** 400
"""Share of the initial weights orthogonal to the data that 400 decayed steps leave."""

TEXT = f"""
With 20 rows and 200 features, 180 directions of the weights are orthogonal to all training rows. Without decay nothing
ever moves the weights in these directions: the norm of about 13.4 is that of the random start (chi with 180 degrees of
freedom), and so is the test error. With λ = 3 each of the 400 steps shrinks them by 1 - 0.003 · 3, which leaves
{100 * LEFT:.1f} % of the start: the norm 0.36 is that remainder, not a ridge solution. The "concise" convention doubles
the data gradient and reports the full squared error, so its losses are twice those of the "scratch" convention.
"""


def weight_decay(lab: Lab) -> Findings:
    """Rows A1 to A4: two conventions, with and without λ = 3."""
    runs = {
        "scratch": lab.sweep("scratch", grid=[f"reg.l2.strength={LAMBDAS}"], loss="half_squared_error", **BASE),
        "concise": lab.sweep("concise", grid=["reg.l2.strength=0,3"], loss="mse", **{**BASE, "init": CONCISE}),
    }
    values: dict[str, list[float]] = {}
    claims: list[Claim] = []
    for row, kind, setting, norm, test in ROWS:
        here, name = runs[kind][setting], _name(kind, setting)
        values[f"norm/{name}"], values[f"test/{name}"] = here.values("norm/weight"), here.values("test/loss")
        claims += _row(row, name, values, norm, test)
    claims.append(
        equal(
            "same_norm", "Without decay both conventions end with the same norm: that of the start.",
            values["norm/scratch/none"], values["norm/concise/none"], 0.1, source="FACTS A1, A3",
        )
    )  # fmt: skip
    claims.append(_chi(values["norm/scratch/none"]))
    values["norm/ridge"] = [_ridge_norm(lab, seed, 3.0) for seed in range(lab.seeds)]
    claims.append(
        within("ridge", "The exact ridge solution for λ = 3 has a tenth of the norm of the run with λ = 3.",
               values["norm/ridge"], 0.018, 0.050, source="FACTS A")
    )  # fmt: skip
    return Findings(
        claims=claims,
        values=values,
        text=TEXT,
        figures=[
            curves(
                "learning", "Losses with and without decay", "Mean over the seeds and one standard deviation.",
                {
                    f"loss | {kind}, {label}": {
                        split: each[setting].curves(f"{split}/loss") for split in ("train", "test")
                    }
                    for kind, each in runs.items()
                    for label, setting in (("no decay", OFF), ("λ = 3", ON))
                },
                log=True,
            ),
            _by_strength(runs["scratch"]),
            spreads(
                "norms", "Norm of the weights", "Each seed, the mean, and the range of the reference.",
                {LABELS[row]: values[f"norm/{_name(kind, setting)}"] for row, kind, setting, *_ in ROWS},
                x_name="norm of the weights", references={LABELS[row]: norm[:2] for row, _, _, norm, _ in ROWS},
                log=True,
            ),
        ],
    )  # fmt: skip


def _name(kind: str, setting: str) -> str:
    return f"{kind}/{'decay' if setting == ON else 'none'}"


def _row(row: str, name: str, values: dict[str, list[float]], norm: Norm, test: tuple[float, float]) -> list[Claim]:
    low, high, mean, sd = norm
    return [
        within(f"{row.lower()}_norm", f"The norm of the weights, {name}, is that of the reference.",
               values[f"norm/{name}"], low, high, mean=mean, sd=sd, source=f"FACTS {row}"),
        within(f"{row.lower()}_test", f"The test loss, {name}, is that of the reference.",
               values[f"test/{name}"], *test, source=f"FACTS {row}"),
    ]  # fmt: skip


def _chi(norms: list[float]) -> Claim:
    """The mean of chi with 180 degrees of freedom is 13.40; the fitted 20 directions add little."""
    chi = math.sqrt(2) * math.exp(math.lgamma(181 / 2) - math.lgamma(180 / 2))
    limit = 4 * 0.73 / math.sqrt(len(norms))
    return exact("chi_180", "Without decay the norm is chi with 180 degrees of freedom: decay never touched it.",
                 float(np.mean(norms)), chi, limit, source="theory: E chi(180)")  # fmt: skip


def _ridge_norm(lab: Lab, seed: int, strength: float) -> float:
    """Norm of the weights that minimise mean((x w + b - y)^2) / 2 + strength / 2 |w|^2; the bias is free."""
    train = lab.data("linear_regression", seed).train
    x_BF, y_B = np.asarray(train.x, np.float64), np.asarray(train.y, np.float64)[:, 0]
    x_BF, y_B = x_BF - x_BF.mean(axis=0), y_B - y_B.mean()
    gram_BB = x_BF @ x_BF.T + strength * len(x_BF) * np.eye(len(x_BF))
    return float(np.linalg.norm(x_BF.T @ np.linalg.solve(gram_BB, y_B)))


def _by_strength(runs: Runs) -> Drawing:
    """Norm and test loss against λ, for all seeds."""
    strengths = [float(text) for text in LAMBDAS.split(",")]

    def at(metric: str) -> NDArray[np.float64]:
        return np.array([runs[f"l2.strength={text}"].values(metric) for text in LAMBDAS.split(",")]).T

    return series(
        "strength", "Norm of the weights and test loss against λ", "Geometric mean and range of the seeds.",
        strengths, {"norm of the weights": {"scratch": at("norm/weight")}, "test loss": {"scratch": at("test/loss")}},
        x_name="λ", log_x=True, log_y=True,
    )  # fmt: skip


SMALL: dict[str, Any] = {
    "model": "linear", "dataset": "linear_regression:features=uniform", "init": "normal:std=1", "epochs": 100,
    "batch_size": 1, "lr": 0.003, "loss": "half_squared_error", "grid": ["reg.l2.strength=0.005,4"],
    "baseline": "l2.strength=0.005", "evaluate_every": 5,
}  # fmt: skip
"""FACTS K3: batches of one row, features uniform on [0, 1), the penalty in the loss, half squared error."""

PLAIN: dict[str, Any] = {
    "model": "linear:bias=false", "dataset": "linear_regression", "epochs": 100, "batch_size": 10, "shuffle": False,
    "lr": 0.003, "loss": "mse", "evaluate_every": 5,
}  # fmt: skip
"""FACTS K4: no bias, no shuffling, torch's own start, the full squared error."""

SMALL_ROWS: tuple[tuple[str, str, str, tuple[float, float], tuple[float, float]], ...] = (
    ("A5", "small batch, λ = 0.005", "l2.strength=0.005", (11.59, 14.30), (4.3, 10.5)),
    ("A6", "small batch, λ = 4", "l2.strength=4", (0.059, 0.117), (7e-4, 3.4e-3)),
    ("A7", "plain, λ = 0", OFF, (0.491, 0.599), (0.201, 0.460)),
    ("A8", "plain, λ = 3", ON, (0.088, 0.111), (0.019, 0.042)),
)

PANELS = {
    "small batch, λ = 0.005 and 4": {"weak or no decay": "A5", "strong decay": "A6"},
    "plain, λ = 0 and 3": {"weak or no decay": "A7", "strong decay": "A8"},
}

SMALL_TEXT = """
The same decay in two other recipes: batches of a single row with features in [0, 1), and the plain form without bias
that starts from torch's default. A weak λ = 0.005 leaves the start as it is; a strong λ = 4 removes it. In the plain
recipe the start is small (norm 0.58), so everything happens on a smaller scale. λ in the loss and `weight_decay` of
torch's SGD are one method: the trajectories agree to rounding. This is not so for decoupled decay, nor for Adam and
AdamW.
"""


def weight_decay_small_batch(lab: Lab) -> Findings:
    """Rows A5 to A8."""
    small = lab.sweep("small", **SMALL)
    plain = lab.sweep("plain", grid=["reg.l2.strength=0,3"], **PLAIN)
    values: dict[str, list[float]] = {}
    claims: list[Claim] = []
    runs = {row: (small if setting in small.settings else plain)[setting] for row, _, setting, *_ in SMALL_ROWS}
    for row, name, _, norm, test in SMALL_ROWS:
        values[f"norm/{row}"], values[f"test/{row}"] = runs[row].values("norm/weight"), runs[row].values("test/loss")
        claims += [
            within(f"{row.lower()}_norm", f"The norm of the weights ({name}) is that of the reference.",
                   values[f"norm/{row}"], *norm, source=f"FACTS {row}"),
            within(f"{row.lower()}_test", f"The test loss ({name}) is that of the reference.",
                   values[f"test/{row}"], *test, source=f"FACTS {row}"),
        ]  # fmt: skip
    names = {row: f"{row}: {name}" for row, name, *_ in SMALL_ROWS}
    return Findings(
        claims=[*claims, _same_as_torch(lab)],
        values=values,
        text=SMALL_TEXT,
        figures=[
            curves("learning", "Test loss", "Mean over the seeds and one standard deviation, of logarithms.",
                   {f"loss | {title}": {label: runs[row].curves("test/loss") for label, row in rows.items()}
                    for title, rows in PANELS.items()}, log=True),
            spreads("norms", "Norm of the weights", "Each seed, the mean, and the range of the reference.",
                    {names[row]: values[f"norm/{row}"] for row in runs}, x_name="norm of the weights",
                    references={names[row]: norm for row, _, _, norm, _ in SMALL_ROWS}, log=True),
        ],
    )  # fmt: skip


def _same_as_torch(lab: Lab) -> Claim:
    """A8 in the loss, and as torch's weight_decay, in double precision."""
    fields = {**PLAIN, "dtype": "float64", "epochs": lab.pick(100, 20)}
    ours = lab.run("loss", reg=["l2:strength=3"], **fields)
    theirs = lab.run("torch", optimizer="torch.optim:SGD:weight_decay=3.0", **fields)
    first, second = (dict(result.history["norm/weight"]) for result in (ours, theirs))
    return exact("same_as_torch", "λ in the loss and weight_decay of torch's SGD give the same trajectory.",
                 list(first.values()), [second[epoch] for epoch in first], 1e-8, source="FACTS A8")  # fmt: skip

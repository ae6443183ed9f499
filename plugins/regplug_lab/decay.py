"""Studies of weight decay on linear regression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from regplug.lab import Claim, Findings, Lab, curves, equal, exact, spreads, within

BASE: dict[str, Any] = {
    "model": "linear", "dataset": "linear_regression", "init": "normal:std=1", "epochs": 100, "batch_size": 5,
    "lr": 0.003, "evaluate_every": 2,
}  # fmt: skip
"""200 features, 20 rows to train on, 100 to test on, 400 steps."""

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
    grid = ["reg.l2.strength=0,3"]
    runs = {
        "scratch": lab.sweep("scratch", grid=grid, loss="half_squared_error", **BASE),
        "concise": lab.sweep("concise", grid=grid, loss="mse", **BASE),
    }
    values: dict[str, list[float]] = {}
    references: dict[str, tuple[float, float]] = {}
    claims: list[Claim] = []
    for row, kind, setting, norm, test in ROWS:
        here, name = runs[kind][setting], f"{kind}/{'decay' if setting == ON else 'none'}"
        values[f"norm/{name}"], values[f"test/{name}"] = here.values("norm/weight"), here.values("test/loss")
        references[f"norm/{name}"], references[f"test/{name}"] = norm[:2], test
        claims += _row(row, name, values, norm, test)
    claims.append(
        equal(
            "same_norm", "Without decay both conventions end with the same norm: that of the start.",
            values["norm/scratch/none"], values["norm/concise/none"], 0.1, source="FACTS A1, A3",
        )
    )  # fmt: skip
    claims.append(_chi(values["norm/scratch/none"]))
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
            spreads(
                "norms", "Norm of the weights", "Each seed, the mean, and the range of the reference.",
                {name: each for name, each in values.items() if name.startswith("norm/")},
                x_name="norm of the weights", references=references, log=True,
            ),
        ],
    )  # fmt: skip


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

"""The product of many random matrices: how gradients explode and vanish."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.lab import Findings, Lab, bounded, histograms, series, within
from regplug_lab.judging import near

SIZE, FACTORS = 4, 100
EXPONENT = (math.log(2) + 1 - np.euler_gamma) / 2
"""Top Lyapunov exponent of 4x4 matrices of N(0, 1): (ln 2 + psi(2)) / 2 = 0.55797, as psi(2) = 1 - gamma."""

BALANCED = 0.5724
"""Standard deviation of the entries at which the product neither grows nor dies."""

TEXT = """
Backpropagation multiplies one matrix for each layer. Whether the product explodes is not decided by whether "elements
are greater than 1": a 4x4 matrix whose sixteen elements are all 0.5 has the eigenvalue 2, and each further power
doubles it. Powers of one matrix are decided by its largest eigenvalue, products of random matrices by their Lyapunov
exponent: for normal entries of standard deviation s the norm of almost every product grows by exp(c) per factor in the
long run, with c = (ln 2 + ψ(2)) / 2 + ln s = 0.558 + ln s. At s = 0.5724 that is zero: the logarithm of the norm
neither grows nor falls on average, although single products wander.
"""


def log_sizes(generator: np.random.Generator, std: float, factors: int) -> NDArray[np.float64]:
    """Returns log10 of the greatest |entry| of a 4x4 matrix of N(0, std^2) after 0, 1, ..., `factors` multiplications.

    The product is divided by its greatest entry at each step, so nothing overflows.
    """
    product = std * generator.standard_normal((SIZE, SIZE))
    logs, size = [], 0.0
    for factor in range(factors + 1):
        if factor:
            product = product @ (std * generator.standard_normal((SIZE, SIZE)))
        greatest = float(np.abs(product).max())
        size += math.log10(greatest)
        product = product / greatest
        logs.append(size)
    return np.asarray(logs)


def exploding_product(lab: Lab) -> Findings:
    """A 4x4 matrix of N(0, 1) and 100 more; its growth against the exponent of the theory."""
    seeds = range(lab.seeds)
    logs = {std: _all(seeds, std, FACTORS) for std in (1.0, BALANCED, 0.3)}
    steps = lab.pick(20_000, 4_000)
    long = {std: _all(seeds, std, steps)[:, -1] * math.log(10) / steps for std in (1.0, BALANCED)}
    half = np.linalg.matrix_power(np.full((SIZE, SIZE), 0.5), FACTORS)
    elements = np.abs(np.random.default_rng(0).standard_normal(10_000))
    ends = [float(value) for value in logs[1.0][:, -1]]
    return Findings(
        claims=[
            within("size", "The greatest entry of a 4x4 matrix of N(0, 1) times 100 more is about 10^24.7.", ends, 19.5,
                   29.7, mean=24.7, sd=1.8, source="FACTS E"),
            near("exponent", "It grows by (ln 2 + ψ(2)) / 2 = 0.55797 per factor.", list(long[1.0]), EXPONENT,
                 source="FACTS E; Newman 1986"),
            near("balanced", "At a standard deviation of 0.5724 it neither grows nor dies: its logarithm has no drift.",
                 list(long[BALANCED]), EXPONENT + math.log(BALANCED), 1e-4, source="FACTS E"),
            bounded("halves", "The power of a matrix whose elements are all 0.5 explodes: its eigenvalue decides, "
                    "not its elements.", [float(np.log10(half.max()))], low=29, source="theory: its eigenvalue is 2"),
        ],
        values={"log10_size": ends, "exponent/std_1": list(long[1.0]), "exponent/balanced": list(long[BALANCED]),
                "log10_size/halves": float(np.log10(half.max()))},
        figures=[
            series("growth", "Greatest entry of the product", "Geometric mean of the seeds and their range.",
                   list(range(FACTORS + 1)),
                   {"greatest entry": {f"standard deviation {std:g}": 10.0 ** each for std, each in logs.items()}},
                   x_name="matrices multiplied", log_y=True),
            histograms("elements", "Size of the elements of the matrices",
                       "10,000 draws of N(0, 1): most are smaller than 1, and yet the product of such matrices "
                       "explodes.", {"size of an element of N(0, 1)": {"elements": elements}}, bins=40),
        ],
        text=TEXT,
    )  # fmt: skip


def _all(seeds: Any, std: float, factors: int) -> NDArray[np.float64]:
    return np.stack([log_sizes(np.random.default_rng([seed, factors]), std, factors) for seed in seeds])

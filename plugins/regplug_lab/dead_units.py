"""The study of dead ReLU units."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regplug.lab import Claim, Findings, Lab, Runs, bounded, curves, exact, series
from regplug_lab import by_hand
from regplug_lab.judging import near
from regplug_lab.pictures import training_images

RATES = (0.001, 0.1, *by_hand.DEAD)
"""Learning rates; at the first two, hardly a unit of the first layer is zero on the whole epoch (FACTS E)."""

ZEROS_START, ZEROS_FIFTH = 0.50, 0.35
"""FACTS E: the share of exact zeros of ReLU at learning rate 0.001.

FACTS counts a unit as dead "on the whole epoch", so the reference looks at the batches of an epoch while it trains, and
its share after five epochs is that of the fifth epoch, not that of the weights after it, which is smaller.
"""

HALF_DIGIT = 0.005
ZEROS = "dead/zero_fraction"

OTHERS: dict[str, dict[str, Any]] = {
    "leaky_relu": {"activation": "leaky_relu", "lr": 1.0},
    "He": {"init": "kaiming_normal", "lr": 1.0},
    "tanh": {"activation": "tanh", "lr": 0.001},
}

TEXT = """
A ReLU unit is dead if it is zero on every training image: no gradient reaches it, and it never comes back. An output
that is zero on half of the images is not dead; the notes count these zeros (*sparsity*) and call them death. At
learning rate 0.001 the share of zeros falls from one half to about a third while hardly a unit dies. Units die at
large learning rates, when one step moves the bias far below zero. A share is a fraction: the notes print it with a %
sign without multiplying by 100. A leaky ReLU has a slope left of zero, so it has no dead units.
FACTS has 5, 32 and 62 % of the first layer at learning rates 0.5, 1 and 2, without ranges. Plain torch, without
regplug, confirms none of the three: over 40 seeds the means are 0.7, 45 and 71 %. Seeds differ much, so one run or two
tell little: 0 to 9 % at 0.5, 13 to 78 % at 1.
"""


def dead_relu(lab: Lab) -> Findings:
    """Zeros and dead units of a 784-100-100-10 network by learning rate, activation and initializer."""
    images = torch.from_numpy(training_images(lab.data_folder("MNIST"))[: lab.pick(None, 2000)].copy())
    base: dict[str, Any] = {
        "model": "mlp:hidden=[100,100]", "dataset": lab.pick("mnist", "mnist:train_rows=2000"), "pair_seeds": False,
        "probe": ["dead_units"], "batch_size": 64,
    }  # fmt: skip
    trained: dict[str, Any] = {**base, "keep_models": True, "epochs": lab.pick(5, 1)}
    relu_runs = lab.sweep("relu", grid=["lr=" + ",".join(map(str, RATES))], **trained)
    start = lab.sweep("start", epochs=0, **base)
    runs = {f"{rate:g}": relu_runs[setting] for setting, rate in zip(relu_runs.settings, RATES, strict=True)}
    runs |= {label: lab.sweep(label, **fields, **trained) for label, fields in OTHERS.items()}
    dead = {label: dead_fractions(each, images) for label, each in runs.items() if label != "tanh"}
    relu, tanh = runs["0.001"], runs["tanh"]
    zeros = start.values(ZEROS)
    fifth = [over_last_epoch(one, dict(curve)) for one, curve in zip(zeros, relu.curves(ZEROS), strict=True)]
    short = lab.shortened("one epoch on 2,000 images")
    claims = [_dead_claim(rate, dead[f"{rate:g}"], short) for rate in RATES]
    return Findings(
        claims=[*claims, *_zero_claims(zeros, fifth, tanh, dead["leaky_relu"], short)],
        values={**{f"dead_fraction/{name}": each for name, each in dead.items()},
                "zero_fraction/start": zeros, "zero_fraction/fifth_epoch": fifth,
                "zero_fraction/relu": relu.values(ZEROS), "zero_fraction/tanh": tanh.values(ZEROS)},
        figures=[
            curves("zeros", "Exact zeros at learning rate 0.001", "Mean of the seeds and one standard deviation.",
                   {"fraction of zeros among all outputs": {"relu": relu.curves(ZEROS),
                                                            "tanh": tanh.curves(ZEROS)}}),
            series("dead", "Dead units of the first layer", "Mean of the seeds and their range; leaky ReLU and He's "
                   "weights at learning rate 1.", list(RATES),
                   {"fraction of dead units": {
                       "ReLU": np.asarray([dead[f"{rate:g}"] for rate in RATES]).T,
                       "ReLU, He's weights": _only_at(1.0, dead["He"]),
                       "leaky ReLU": _only_at(1.0, dead["leaky_relu"]),
                   }},
                   x_name="learning rate", log_x=True, y_limits=(-0.05, 1.05)),
        ],
        text=TEXT,
    )  # fmt: skip


def _dead_claim(rate: float, fractions: Sequence[float], short: str) -> Claim:
    name, text = f"dead_{rate:g}", f"The share of dead units in the first layer at learning rate {rate:g}"
    if rate in by_hand.DEAD:
        return by_hand.as_by_hand(name, text, fractions, by_hand.DEAD[rate], short)
    return near(name, f"{text} is about zero.", fractions, 0, HALF_DIGIT, source="FACTS E", undecided=short)


def _only_at(rate: float, fractions: Sequence[float]) -> NDArray[np.float64]:
    """Returns values (seeds, rates) that are known at one learning rate only, of the seeds that did not diverge."""
    known = _finite(fractions) or list(fractions)
    return np.where(np.asarray(RATES) == rate, np.asarray(known)[:, None], np.nan)


def _finite(fractions: Sequence[float]) -> list[float]:
    return [each for each in fractions if not math.isnan(each)]


def over_last_epoch(start: float, at_end: Mapping[float, float]) -> float:
    """Returns the mean over the last epoch of what a probe measures after each, by the trapezoidal rule.

    Args:
        start: Its value before the first epoch.
        at_end: Epoch -> its value after it.

    >>> over_last_epoch(0.5, {1: 0.375, 2: 0.125}), over_last_epoch(0.5, {1: 0.25})
    (0.25, 0.375)
    """
    last = max(at_end)
    return (at_end.get(last - 1, start) + at_end[last]) / 2


def _zero_claims(start: list[float], fifth: list[float], tanh: Runs, leaky: list[float], short: str) -> list[Claim]:
    return [
        near("zeros_start", "At the start half of relu's outputs are exactly zero.", start, ZEROS_START, HALF_DIGIT,
             source="FACTS E"),
        near("zeros_end", "In the fifth epoch at learning rate 0.001 it is 0.35 of them.", fifth, ZEROS_FIFTH,
             HALF_DIGIT, source="FACTS E", undecided=short),
        exact("zeros_tanh", "tanh is never exactly zero.", tanh.values(ZEROS), 0, 0, source="FACTS E"),
        bounded("leaky", "A leaky ReLU has no dead units, at learning rate 1 either (runs that did not diverge).",
                _finite(leaky), high=0, source="theory: its slope is never zero"),
    ]  # fmt: skip


def dead_fractions(runs: Runs, images: Tensor) -> list[float]:
    """Returns the fraction of the first layer's units that are zero on every training image; NaN of a diverged run."""
    return [math.nan if model is None else dead_fraction(model, images) for model in runs.models_or_none()]


@torch.no_grad()
def dead_fraction(model: nn.Module, images: Tensor) -> float:
    """Returns the fraction of the first layer's units that are zero on every image.

    Args:
        model: A perceptron with `activation1` after its first layer.
        images: uint8 `(rows, 784)`.
    """
    linear = next(part for part in model.modules() if isinstance(part, nn.Linear))
    activation = next(part for name, part in model.named_modules() if name.endswith("activation1"))
    alive = torch.zeros(linear.out_features, dtype=torch.bool)
    for part in torch.split(images, 5000):
        alive |= (activation(linear(part.float() / 255)) != 0).any(0)
    return 1 - float(alive.float().mean())

"""The study of dead ReLU units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regplug.lab import Claim, Findings, Lab, Runs, bounded, curves, exact, series
from regplug_lab.judging import near
from regplug_lab.pictures import training_images

DEAD = {0.001: 0.0, 0.1: 0.0, 0.5: 0.05, 1.0: 0.32, 2.0: 0.62}
"""FACTS E: learning rate -> fraction of the units of the first layer that are zero on the whole epoch."""

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
"""


def dead_relu(lab: Lab) -> Findings:
    """Zeros and dead units of a 784-100-100-10 network by learning rate, activation and initializer."""
    rates = tuple(DEAD)
    images = torch.from_numpy(training_images(lab.data_folder("MNIST"))[: lab.pick(None, 2000)].copy())
    base: dict[str, Any] = {
        "model": "mlp:hidden=[100,100]", "dataset": lab.pick("mnist", "mnist:train_rows=2000"), "pair_seeds": False,
        "probe": ["dead_units"], "batch_size": 64,
    }  # fmt: skip
    trained: dict[str, Any] = {**base, "keep_models": True, "epochs": lab.pick(5, 1)}
    relu_runs = lab.sweep("relu", grid=["lr=" + ",".join(map(str, rates))], **trained)
    start = lab.sweep("start", epochs=0, **base)
    runs = {f"{rate:g}": relu_runs[setting] for setting, rate in zip(relu_runs.settings, rates, strict=True)}
    runs |= {label: lab.sweep(label, **fields, **trained) for label, fields in OTHERS.items()}
    dead = {label: _dead_fractions(each, images) for label, each in runs.items() if label != "tanh"}
    relu, tanh = runs["0.001"], runs["tanh"]
    short = lab.shortened("one epoch on 2,000 images")
    claims = [
        near(f"dead_{rate:g}", f"At learning rate {rate:g}, {DEAD[rate]:g} of the first layer's units are dead.",
             dead[f"{rate:g}"], DEAD[rate], HALF_DIGIT, source="FACTS E", undecided=short)
        for rate in rates
    ]  # fmt: skip
    return Findings(
        claims=[*claims, *_zero_claims(start, relu, tanh, dead["leaky_relu"], short)],
        values={**{f"dead_fraction/{name}": each for name, each in dead.items()},
                "zero_fraction/start": start.values(ZEROS), "zero_fraction/relu": relu.values(ZEROS),
                "zero_fraction/tanh": tanh.values(ZEROS)},
        figures=[
            curves("zeros", "Exact zeros at learning rate 0.001", "Mean of the seeds and one standard deviation.",
                   {"fraction of zeros among all outputs": {"relu": relu.curves(ZEROS),
                                                            "tanh": tanh.curves(ZEROS)}}),
            series("dead", "Dead units of the first layer", "Mean of the seeds and their range; leaky ReLU and He's "
                   "weights at learning rate 1.", list(rates),
                   {"fraction of dead units": {
                       "ReLU": np.asarray([dead[f"{rate:g}"] for rate in rates]).T,
                       "ReLU, He's weights": _only_at(rates, 1.0, dead["He"]),
                       "leaky ReLU": _only_at(rates, 1.0, dead["leaky_relu"]),
                   }},
                   x_name="learning rate", log_x=True, y_limits=(-0.05, 1.05)),
        ],
        text=TEXT,
    )  # fmt: skip


def _only_at(rates: Sequence[float], rate: float, fractions: Sequence[float]) -> NDArray[np.float64]:
    """Returns values (seeds, rates) that are known at one learning rate only."""
    return np.where(np.asarray(rates) == rate, np.asarray(fractions)[:, None], np.nan)


def _zero_claims(start: Runs, relu: Runs, tanh: Runs, leaky: list[float], short: str) -> list[Claim]:
    return [
        near("zeros_start", "At the start half of relu's outputs are exactly zero.", start.values(ZEROS), 0.50,
             HALF_DIGIT, source="FACTS E"),
        near("zeros_end", "After five epochs at learning rate 0.001 it is 0.35 of them.", relu.values(ZEROS), 0.35,
             HALF_DIGIT, source="FACTS E", undecided=short),
        exact("zeros_tanh", "tanh is never exactly zero.", tanh.values(ZEROS), 0, 0, source="FACTS E"),
        bounded("leaky", "A leaky ReLU has no dead units, at learning rate 1 either.", leaky, high=0,
                source="theory: its slope is never zero"),
    ]  # fmt: skip


def _dead_fractions(runs: Runs, images: Tensor) -> list[float]:
    """Returns the fraction of the first layer's units that are zero on every training image; NaN if one diverged."""
    if any(runs.errors()):
        return [float("nan")] * len(runs.errors())
    return [dead_fraction(model, images) for model in runs.models()]


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

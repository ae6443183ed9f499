"""The study of vanishing gradients: how much of the gradient reaches the first layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regplug.lab import Claim, Findings, Lab, Runs, greater, series, within
from regplug_lab.judging import near
from regplug_lab.pictures import ONE_BATCH

SIZES: tuple[tuple[str, str, int, str, tuple[float, float] | None, float | None], ...] = (
    # activation, initializer, hidden layers, label, range of the reference, its value where it has no range
    ("relu", "default", 2, "default", (0.94, 1.29), None),
    ("sigmoid", "default", 2, "default", (0.12, 0.17), None),
    ("tanh", "default", 2, "default", (0.89, 1.08), None),
    ("relu", "default", 5, "default", (0.41, 1.07), None),
    ("sigmoid", "default", 5, "default", None, 3.9e-4),
    ("tanh", "default", 5, "default", None, 0.71),
    ("relu", "default", 20, "default", (3e-7, 1.7e-6), None),
    ("sigmoid", "default", 20, "default", (3e-17, 1.2e-16), None),
    ("tanh", "default", 20, "default", (1.7e-4, 5e-4), None),
    ("tanh", "xavier_uniform", 20, "Xavier", (0.9, 1.5), None),
    ("sigmoid", "xavier_uniform", 20, "Xavier", None, 1.2e-12),
    ("relu", "kaiming_uniform", 20, "He", (0.5, 2.1), None),
)
"""FACTS E: mean |gradient| of the first over the last hidden layer, 100 wide, first batch of 64.

FACTS does not name the images. In plain torch, Fashion-MNIST in [0, 1] gives the reference's values of sigmoid at every
depth (0.144, 3.9e-4, 7.2e-17); MNIST gives half of them, because its mean pixel is half as large.
"""

ROUNDING = {3.9e-4: 0.05e-4, 0.71: 0.005, 1.2e-12: 0.05e-12}
"""Half a unit of the last digit of a reference without a range."""

LEARNT: dict[tuple[str, int], tuple[float, float] | float] = {
    ("relu", 2): (0.70, 0.75), ("tanh", 2): (0.78, 0.82), ("sigmoid", 2): 0.1124,
    ("relu", 5): 0.11, ("tanh", 5): 0.44, ("sigmoid", 5): 0.1124,
}  # fmt: skip
"""FACTS E: accuracy on the training images of MNIST after five epochs at learning rate 0.001."""

VANISHING_TEXT = """
At the start, each sigmoid layer multiplies the gradient by at most a quarter, and nn.Linear's default weights shrink it
further: through 20 hidden layers sixteen orders of magnitude are lost. Xavier's weights keep it for tanh and He's for
ReLU; nothing helps a deep sigmoid network. Gradients are compared by layer in the order of the forward pass and by
weights alone: in the order of registration, or with biases mixed in, the picture is misleading.
In five epochs at learning rate 0.001 tanh learns more than ReLU, and sigmoid does not leave chance. So this experiment
does not show that ReLU is preferred; it shows that the learning rate is too small for all of them.
"""

WIDTH = 100
RATIO, SIZE = "gradient/ratio", "gradient/mean_abs"


def vanishing_gradients(lab: Lab) -> Findings:
    """The ratio of gradients by activation, depth and initializer, and what five epochs teach."""
    values: dict[str, list[float]] = {}
    layers: dict[str, NDArray[np.float64]] = {}
    claims = []
    every = _starts(lab)
    for activation, init, depth, label, limits, reference in SIZES:
        runs = every[activation, depth, init]
        name = f"{activation}_{depth}" + (f"_{label.lower()}" if label != "default" else "")
        values[f"ratio/{name}"] = ratios = runs.values(RATIO)
        text = f"{activation}, {depth} hidden layers, {label}: mean gradient of the first over the last hidden layer."
        if limits is not None:
            claims.append(within(name, text, ratios, *limits, source="FACTS E"))
        elif reference is not None:
            claims.append(near(name, text, ratios, reference, ROUNDING[reference], source="FACTS E"))
        if depth == 20:
            sizes = [runs.values(f"{SIZE}/hidden{layer}") for layer in range(1, depth + 1)]
            layers[f"{activation}, {label}"] = np.asarray(sizes).T
    learnt, more = _learning(lab)
    return Findings(
        claims=[*claims, *more],
        values={**values, **{f"train_accuracy/{activation}_{depth}": each for (activation, depth), each in
                             learnt.items()}},
        figures=[
            series("gradients", "Mean gradient by layer at the start, 20 hidden layers",
                   "Geometric mean of the seeds and their range.", list(range(1, 21)), {"mean size of the gradient":
                   layers}, x_name="layer", log_y=True),
        ],
        text=VANISHING_TEXT,
    )  # fmt: skip


def _learning(lab: Lab) -> tuple[dict[tuple[str, int], list[float]], list[Claim]]:
    short = lab.shortened("one epoch on 2,000 images instead of five on 60,000")
    learnt, claims = {}, []
    every = lab.sweep(
        "learning",
        grid=[_hidden(2, 5), _activations("relu", "sigmoid", "tanh")],
        model="mlp",
        lr=0.001,
        batch_size=64,
        dataset=lab.pick("mnist", "mnist:train_rows=2000"),
        epochs=lab.pick(5, 1),
        pair_seeds=False,
        probe=(),
    )
    found = _by_activation_and_depth(every)
    for (activation, depth), reference in LEARNT.items():
        runs = found[activation, depth]
        learnt[activation, depth] = accuracy = runs.values("train/accuracy")
        name, text = f"learnt_{activation}_{depth}", f"{activation}, {depth} hidden layers: accuracy after five epochs."
        if isinstance(reference, tuple):
            claims.append(within(name, text, accuracy, *reference, source="FACTS E", undecided=short))
        else:
            digit = 5e-5 if reference == 0.1124 else 5e-3
            claims.append(near(name, text, accuracy, reference, digit, source="FACTS E", undecided=short))
    text = "With two hidden layers tanh learns more than relu in these five epochs."
    claims.append(greater("tanh_beats_relu", text, learnt["tanh", 2], learnt["relu", 2], source="FACTS E",
                          undecided=short))  # fmt: skip
    return learnt, claims


def _starts(lab: Lab) -> dict[tuple[str, int, str], Runs]:
    """Returns untrained networks by activation, depth and initializer."""
    lab.data_folder("FashionMNIST")
    common: dict[str, Any] = {
        "model": "mlp",
        "dataset": ONE_BATCH,
        "epochs": 0,
        "batch_size": 64,
        "probe": ["gradients"],
    }
    grids = {
        "default": [_hidden(2, 5, 20), _activations("relu", "sigmoid", "tanh")],
        "xavier_uniform": [_hidden(20), _activations("sigmoid", "tanh")],
        "kaiming_uniform": [_hidden(20), _activations("relu")],
    }
    return {
        (*found, init): runs
        for init, grid in grids.items()
        for found, runs in _by_activation_and_depth(lab.sweep(init, grid=grid, init=init, **common)).items()
    }


def _hidden(*depths: int) -> str:
    return "model.hidden=" + ",".join(f"[{','.join([str(WIDTH)] * depth)}]" for depth in depths)


def _activations(*names: str) -> str:
    return f"activation={','.join(names)}"


def _by_activation_and_depth(runs: Runs) -> dict[tuple[str, int], Runs]:
    """Returns the runs of each setting of `_hidden` and `_activations`."""
    return {
        (name, setting.count(str(WIDTH))): runs[setting]
        for setting in runs.settings
        for name in ("relu", "sigmoid", "tanh")
        if f"activation={name}" in setting
    }

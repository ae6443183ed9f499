"""Studies of initialization: symmetry, and the variance through the layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regplug.api import Task
from regplug.data import InputSpec, RawData, Split
from regplug.lab import Claim, Drawing, Findings, Lab, Runs, bounded, exact, histograms, series
from regplug_lab.judging import near

# Symmetry.

SYMMETRY_TEXT = """
Hidden units that start equal get equal gradients, so they stay equal: the layer computes what one unit would. L2 and L1
add the same pull to each of them and change nothing; the notes' claim that regularization breaks the symmetry is wrong
for penalties. Dropout does break it, because it drops one unit and not the other. What stays equal is the *units*
(rows of W1), not "all elements of W1": the entries of one unit differ, since their inputs do.
"""

CONSTANT = "constant:value=0.1"
NAMES = {"none": "none", "l2": "l2:strength=0.01", "l1": "l1:strength=0.001", "dropout": "dropout:drop_probability=0.5"}


def spread_of_units(model: nn.Module) -> tuple[float, float]:
    """Returns the greatest difference between hidden units, and between the entries of one unit.

    A unit is its row of the first weight, its bias and its column of the second weight.
    """
    first, second = (part for part in model.modules() if isinstance(part, nn.Linear))
    unit = torch.cat([first.weight, first.bias[:, None], second.weight.T], dim=1).detach()
    entries = first.weight[0].detach()
    return float((unit - unit[0]).abs().max()), float((entries - entries.mean()).abs().max())


def symmetry_breaking(lab: Lab) -> Findings:
    """A network whose four hidden units start equal, with and without regularizers."""
    base: dict[str, Any] = {
        "model": "mlp:hidden=[4]", "dataset": "digits", "epochs": lab.pick(20, 5), "lr": 0.1, "init": CONSTANT,
        "pair_seeds": False, "probe": (), "dtype": "float64",
    }  # fmt: skip
    runs = {
        name: lab.sweep(name, keep_models=True, reg=() if name == "none" else [reg], **base)
        for name, reg in NAMES.items()
    }
    drawn = lab.sweep("random", keep_models=True, **{**base, "init": "xavier_uniform"})
    units = {name: [spread_of_units(model)[0] for model in each.models()] for name, each in runs.items()}
    entries = [spread_of_units(model)[1] for model in runs["none"].models()]
    others = [spread_of_units(model)[0] for model in drawn.models()]
    claims = [
        bounded(f"equal_{name}", f"With {label} the hidden units stay equal.", units[name], high=1e-6, source="FACTS E")
        for name, label in (("none", "SGD alone"), ("l2", "L2"), ("l1", "L1"))
    ]
    claims += [
        bounded("dropout", "Dropout makes the hidden units differ.", units["dropout"], low=1e-2, source="FACTS E"),
        bounded("random", "Units that start at random differ.", others, low=1e-2, source="theory"),
        bounded("elements", "The entries of one unit do not stay equal.", entries, low=1e-2, source="FACTS, errors"),
    ]
    return Findings(
        claims=claims,
        values={f"difference/{name}": each for name, each in {**units, "random": others}.items()}
        | {"difference/entries": entries},
        figures=[_units_figure(runs)],
        text=SYMMETRY_TEXT,
    )


def _units_figure(runs: dict[str, Runs]) -> Drawing:
    weights = {name: _first_weight(each.models()[0]) for name, each in runs.items()}
    # Inputs that vary; the corner pixels are zero in every image.
    moving = np.argsort(-np.abs(weights["none"][0] - 0.1))[:24]
    return series(
        "units", "Weights of four hidden units that started equal",
        "After training, at the 24 inputs that moved most; the first seed. Equal units lie on one line.",
        list(range(1, len(moving) + 1)),
        {f"weight | {name}": {f"unit {at + 1}": row[moving] for at, row in enumerate(each)}
         for name, each in weights.items()},
        x_name="input",
    )  # fmt: skip


def _first_weight(model: nn.Module) -> NDArray[np.float64]:
    first = next(part for part in model.modules() if isinstance(part, nn.Linear))
    return first.weight.detach().double().numpy()


# Variance.

WIDTH, DEPTH, ROWS = 512, 10, 64

XAVIER_TEXT = """
A layer multiplies the mean square of its inputs by fan_in · Var(w), and the activation keeps a part of it. Xavier's
variance 2 / (in + out) keeps it for a linear layer; ReLU keeps half of it, which He's variance 2 / in makes good. tanh
flattens, so with Xavier the signal shrinks slowly. nn.Linear's default, U(±1/√in), has the variance 1 / (3 in): with
ReLU each layer keeps a sixth, and ten layers 1.7e-8 (without the default's biases, which put a floor under it).
"""

SETTINGS: dict[str, tuple[str, str, float, float]] = {
    # label: activation, initializer, mean square after ten layers, half a unit of its last digit
    "identity, Xavier": ("identity", "xavier_normal", 1.0, 0.05),
    "ReLU, He": ("relu", "kaiming_normal", 0.94, 0.005),
    "tanh, Xavier": ("tanh", "xavier_normal", 0.052, 0.0005),
    "ReLU, default": ("relu", f"uniform:low={-(WIDTH**-0.5)},high={WIDTH**-0.5}", 1.7e-8, 0.05e-8),
}


def xavier(lab: Lab) -> Findings:
    """The mean square of the activations of ten layers of 512 units, at the start."""
    names = [f"activation/mean_square/activation{layer}" for layer in range(1, DEPTH + 1)]
    squares: dict[str, NDArray[np.float64]] = {}
    for at, (label, (activation, init, *_)) in enumerate(SETTINGS.items()):
        runs = lab.sweep(
            f"start{at}", model=f"mlp:hidden=[{','.join([str(WIDTH)] * DEPTH)}]", dataset=_normal_rows(), epochs=0,
            activation=activation, init=init, probe=["activation_statistics"],
            pair_seeds=False, batch_size=ROWS,
        )  # fmt: skip
        squares[label] = np.stack([runs.values(name) for name in names], axis=1)
    weights = {rule: _weights_by(lab, rule) for rule in RULES}
    ends = {label: [float(value) for value in each[:, -1]] for label, each in squares.items()}
    claims = [
        near(_key(label), f"After ten layers the mean square with {label} is {reference:g}.", ends[label], reference,
             digit, source="FACTS E")
        for label, (_, _, reference, digit) in SETTINGS.items()
    ]  # fmt: skip
    return Findings(
        claims=[*claims, *_rule_claims(weights)],
        values={f"mean_square/{_key(label)}": each for label, each in ends.items()},
        figures=[
            series("layers", "Mean square of the activations by layer", "Geometric mean of the seeds and their range.",
                   list(range(1, DEPTH + 1)), {"E[h²]": squares}, x_name="layer", log_y=True),
            histograms("weights", f"Weights of a layer from {WIDTH} to {OUT} units", "Three rules.",
                       {"weight": {rule: each.numpy() for rule, each in weights.items()}}, bins=40),
        ],
        text=XAVIER_TEXT,
    )  # fmt: skip


OUT = 256
RULES = ("xavier_normal", "xavier_uniform", "default")


def _weights_by(lab: Lab, rule: str) -> Tensor:
    """Returns the weight `(OUT, WIDTH)` of a layer that a rule has filled."""
    run = lab.run(rule, model=f"mlp:hidden=[{OUT}]", dataset=_normal_rows(), epochs=0, init=rule, probe=(),
                  batch_size=ROWS)  # fmt: skip
    return next(part.weight.detach() for part in run.model.modules() if isinstance(part, nn.Linear))


def _rule_claims(weights: dict[str, Tensor]) -> list[Claim]:
    std, bound = math.sqrt(2 / (WIDTH + OUT)), math.sqrt(6 / (WIDTH + OUT))
    normal = weights["xavier_normal"]
    error = 4 * std / math.sqrt(2 * normal.numel())
    # Of 131,072 uniform numbers the largest comes within a thousandth of the bound.
    sizes = {rule: float(weights[rule].abs().max()) for rule in ("xavier_uniform", "default")}
    return [
        exact("xavier_std", "Xavier's standard deviation is sqrt(2 / (in + out)), within four standard errors.",
              float(normal.std()), std, error, source="FACTS E; Glorot & Bengio 2010"),
        bounded("xavier_bound", "Xavier's uniform rule reaches to sqrt(6 / (in + out)).",
                [sizes["xavier_uniform"] / bound], low=0.999, high=1.000001, source="FACTS E; Glorot & Bengio 2010"),
        bounded("default_bound", "nn.Linear's default reaches to 1 / sqrt(in).",
                [sizes["default"] * math.sqrt(WIDTH)], low=0.999, high=1.000001, source="FACTS E"),
    ]  # fmt: skip


def _key(label: str) -> str:
    return label.lower().replace(", ", "_")


def _normal_rows() -> RawData:
    """Rows of N(0, 1), whose mean square is 1."""
    generator = np.random.default_rng(0)

    def split() -> Split:
        return Split(x=generator.standard_normal((ROWS, WIDTH)).astype(np.float32), y=np.zeros((ROWS, 1), np.float32))

    inputs = InputSpec(layout="row", shape=(WIDTH,), dtype="float32")
    task = Task(kind="regression", num_outputs=1)
    return RawData(name="normal_rows", train=split(), test=split(), task=task, inputs=inputs)

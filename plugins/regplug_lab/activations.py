"""The study of activation functions: their values and slopes."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regplug.lab import Claim, Findings, Lab, bounded, exact, functions

# Functions and slopes.

SHOWN = ("relu", "leaky_relu", "sigmoid", "tanh", "scaled_sigmoid", "gelu")
SCRATCH = {"relu_scratch": torch.relu, "sigmoid_scratch": torch.sigmoid, "tanh_scratch": torch.tanh}

ACTIVATIONS_TEXT = """
ReLU is x right of zero and 0 left of it; it is not "x near zero". The sigmoid's slope is at most 1/4, tanh's and ReLU's
at most 1, which is why gradients vanish fastest through sigmoids. 4 · sigmoid(x) - 2 is 2 · tanh(x / 2): slope 1 at
zero, range (-2, 2). The textbook's tanh, (exp(x) - exp(-x)) / (exp(x) + exp(-x)), is NaN from x = 89 on in float32,
because exp(89) overflows; regplug's hand-written one never takes exp of a positive number.
"""


def activations(lab: Lab) -> Findings:
    """Hand-written activations against torch's, slopes against formulas, and where a naive tanh fails."""
    names = ",".join([*SHOWN, *SCRATCH])
    runs = lab.sweep(
        model="mlp:hidden=[4]", dataset="moons", grid=[f"activation={names}"], epochs=0, seeds=1, keep_models=True,
        probe=(),
    )  # fmt: skip
    modules = {name: _activation_of(runs[f"activation={name}"].models()[0]) for name in [*SHOWN, *SCRATCH]}
    x = torch.linspace(-6, 6, 2401, dtype=torch.float64) + 1e-9  # not on a kink
    values, slopes = {}, {}
    for name, module in modules.items():
        values[name], slopes[name] = _applied(module, x)
    first = _first_nan()
    scaled = values["scaled_sigmoid"]
    (right,) = _applied(modules["relu"], torch.tensor([1e-6], dtype=torch.float64))[1]
    (left,) = _applied(modules["relu"], torch.tensor([-1e-6], dtype=torch.float64))[1]
    far = modules["tanh_scratch"].float()(torch.tensor([-1000.0, 89.0, 1000.0]))
    claims = [
        exact(name, f"{name} equals torch's.", values[name].numpy(), reference(x).numpy(), 1e-12,
              source="FACTS E, torch")
        for name, reference in SCRATCH.items()
    ]  # fmt: skip
    claims += _slope_claims(x, values, slopes)
    claims += [
        exact("scaled_sigmoid", "4 sigmoid(x) - 2 equals 2 tanh(x / 2).", scaled.numpy(),
              (2 * torch.tanh(x / 2)).numpy(), 1e-12, source="FACTS E"),
        exact("scaled_slope", "Its slope at zero is 1.", float(slopes["scaled_sigmoid"][1200]), 1, 1e-6,
              source="FACTS E"),
        bounded("scaled_range", "Its values lie between -2 and 2.", [float(scaled.min()), float(scaled.max())], low=-2,
                high=2, source="FACTS E"),
        exact("naive_tanh", "tanh by exponentials is NaN from 89 on in float32.", first, 89, 0, source="FACTS E"),
        exact("stable_tanh", "The installed hand-written tanh is -1, 1 and 1 at -1000, 89 and 1000.", far.numpy(),
              [-1, 1, 1], 0, source="torch"),
        exact("relu_near_zero", "relu has the slope 1 just right of zero and 0 just left of it: it is not x near zero.",
              [float(right), float(left)], [1, 0], 0, source="FACTS, errors in the notes"),
    ]  # fmt: skip
    jumps = {name: torch.where(slope.diff(append=slope[-1:]).abs() > 0.05, torch.nan, slope) for name, slope in
             slopes.items()}  # fmt: skip
    panels = {"f(x)": values, "slope f'(x)": jumps}
    return Findings(
        claims=claims,
        values={f"largest_slope/{name}": float(slope.max()) for name, slope in slopes.items()}
        | {"naive_tanh/first_nan": float(first)},
        figures=[
            functions("functions", "Activations and their slopes", "Gaps are jumps of the slope.", x.tolist(),
                      {panel: {name: each[name].tolist() for name in SHOWN} for panel, each in panels.items()}),
        ],
        text=ACTIVATIONS_TEXT,
    )  # fmt: skip


def _slope_claims(x: Tensor, values: dict[str, Tensor], slopes: dict[str, Tensor]) -> list[Claim]:
    sigmoid, tanh = values["sigmoid"], values["tanh"]
    formulas = {"relu": (x > 0).double(), "sigmoid": sigmoid * (1 - sigmoid), "tanh": 1 - tanh.square()}
    claims = [
        exact(f"slope_{name}", f"The slope of {name} by autograd is its formula.", slopes[name].numpy(),
              formula.numpy(), 1e-12, source="calculus")
        for name, formula in formulas.items()
    ]  # fmt: skip
    largest = [float(slopes[name].max()) for name in ("sigmoid", "tanh", "relu")]
    text = "The largest slopes of sigmoid, tanh and relu are 1/4, 1 and 1."
    return [*claims, exact("largest_slopes", text, largest, [0.25, 1, 1], 1e-6, source="calculus")]


def _activation_of(model: nn.Module) -> nn.Module:
    found: nn.Module = next(part for name, part in model.named_modules() if name.endswith("activation1"))
    return found


def _applied(module: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Returns values and slopes."""
    inputs = x.clone().requires_grad_()
    y = module.to(x.dtype)(inputs)
    (slope,) = torch.autograd.grad(y.sum(), inputs)
    return y.detach(), slope


def _first_nan() -> int:
    """Returns the first whole number at which tanh by exponentials is NaN in float32."""
    x = torch.arange(0, 200, dtype=torch.float32)
    naive = (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())
    return int(x[naive.isnan()][0])

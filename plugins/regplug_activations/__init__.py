"""First-party activations: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf, sqrt
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt

from regplug.api import Activation, Parameters, hookimpl

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


class LeakyReLUParams(Parameters):
    """Parameters of `leaky_relu`."""

    negative_slope: Annotated[float, Ge(0)] = 0.01
    "Slope left of zero."


class PReLUParams(Parameters):
    """Parameters of `prelu`."""

    negative_slope: float = 0.25
    "Initial slope left of zero; it is trained."


class ELUParams(Parameters):
    """Parameters of `elu` and `celu`."""

    alpha: Annotated[float, Gt(0)] = 1.0
    "The function approaches -alpha far left of zero."


class SoftplusParams(Parameters):
    """Parameters of `softplus`."""

    beta: Annotated[float, Gt(0)] = 1.0
    "How sharply it bends; as it grows, the function becomes relu."


class GELUParams(Parameters):
    """Parameters of `gelu`."""

    approximate: Literal["none", "tanh"] = "none"
    "none: with the exact normal distribution function; tanh: with an approximation of it."


def _elementwise(name: str, summary: str, *, module: str = "elementwise", **declared: Any) -> Activation:
    target = f"regplug_activations.{module}:{name}"
    return Activation(name=name, target=target, derivative=f"{target}_derivative", summary=summary, **declared)


@hookimpl
def regplug_activations() -> Iterator[Activation]:
    """Yields the first-party activations."""
    yield from _piecewise()
    yield from _smooth()
    yield from _bounded()
    yield from _scratch()


def _piecewise() -> Iterator[Activation]:
    """Yields activations whose derivative jumps."""
    yield _elementwise(
        "relu",
        "max(x, 0).",
        range=(0, inf),
        kinks=(0,),
        gain=sqrt(2),
        source="Nair and Hinton 2010; Glorot, Bordes and Bengio 2011",
    )
    yield _elementwise(
        "leaky_relu",
        "x right of zero, negative_slope * x left of it.",
        params=LeakyReLUParams,
        range=(-inf, inf),
        kinks=(0,),
        gain=sqrt(2 / 1.0001),
        source="Maas, Hannun and Ng 2013",
    )
    yield _elementwise(
        "prelu",
        "x right of zero, a * x left of it; each layer learns its own a.",
        params=PReLUParams,
        range=(-inf, inf),
        kinks=(0,),
        gain=sqrt(2 / 1.0625),
        source="He, Zhang, Ren and Sun 2015, arXiv:1502.01852",
    )
    yield _elementwise(
        "selu",
        "scale * elu with the constants at which activations keep mean 0 and variance 1.",
        range=(-SELU_SCALE * SELU_ALPHA, inf),
        kinks=(0,),
        gain=1.0,
        source="Klambauer, Unterthiner, Mayr and Hochreiter 2017, arXiv:1706.02515",
    )
    yield _elementwise(
        "hardswish",
        "x * min(max(x + 3, 0), 6) / 6.",
        range=(-0.375, inf),
        kinks=(-3, 3),
        gain=1.736657,
        source="Howard et al. 2019, arXiv:1905.02244",
    )
    yield _elementwise(
        "hardtanh",
        "x, clipped to [-1, 1].",
        range=(-1, 1),
        kinks=(-1, 1),
        gain=1.392036,
        source="Collobert 2004, Large Scale Machine Learning",
    )


def _smooth() -> Iterator[Activation]:
    """Yields unbounded activations with a continuous derivative."""
    yield _elementwise(
        "elu",
        "x right of zero, alpha * (exp(x) - 1) left of it.",
        params=ELUParams,
        range=(-1, inf),
        gain=1.245198,
        source="Clevert, Unterthiner and Hochreiter 2015, arXiv:1511.07289",
    )
    yield _elementwise(
        "celu",
        "x right of zero, alpha * (exp(x / alpha) - 1) left of it; the slope is continuous for any alpha.",
        params=ELUParams,
        range=(-1, inf),
        gain=1.245198,
        source="Barron 2017, arXiv:1704.07483",
    )
    yield _elementwise(
        "gelu",
        "x times the probability that a standard normal number is below x.",
        params=GELUParams,
        range=(-0.169971207479904, inf),
        gain=1.533530,
        source="Hendrycks and Gimpel 2016, arXiv:1606.08415",
    )
    yield _elementwise(
        "silu",
        "x * sigmoid(x); also called swish.",
        range=(-0.278464542761074, inf),
        gain=1.676532,
        source="Hendrycks and Gimpel 2016, arXiv:1606.08415; Ramachandran, Zoph and Le 2017, arXiv:1710.05941",
    )
    yield _elementwise(
        "mish",
        "x * tanh(softplus(x)).",
        range=(-0.308843413017246, inf),
        gain=1.486848,
        source="Misra 2019, arXiv:1908.08681",
    )
    yield _elementwise(
        "softplus",
        "log(1 + exp(beta * x)) / beta: relu with a rounded corner.",
        params=SoftplusParams,
        range=(0, inf),
        gain=1.041867,
        source="Dugas, Bengio, Belisle, Nadeau and Garcia 2000",
    )
    yield _elementwise("identity", "x: the network stays linear.", range=(-inf, inf), gain=1.0)


def _bounded() -> Iterator[Activation]:
    """Yields activations between two bounds, with a continuous derivative."""
    yield _elementwise("sigmoid", "1 / (1 + exp(-x)).", range=(0, 1), gain=1.846229)
    yield _elementwise(
        "scaled_sigmoid",
        "4 * sigmoid(x) - 2, which is 2 * tanh(x / 2): slope 1 at zero.",
        range=(-2, 2),
        gain=1.200328,
        source="Glorot and Bengio 2010 (initialization)",
    )
    yield _elementwise(
        "tanh",
        "(exp(x) - exp(-x)) / (exp(x) + exp(-x)).",
        range=(-1, 1),
        gain=1.592537,
        source="LeCun, Bottou, Orr and Mueller 1998, Efficient BackProp",
    )
    yield _elementwise(
        "softsign",
        "x / (1 + |x|).",
        range=(-1, 1),
        gain=2.337533,
        source="Bergstra, Desjardins, Lamblin and Bengio 2009",
    )


def _scratch() -> Iterator[Activation]:
    """Yields activations written with elementary operations, as a textbook does."""
    yield _elementwise(
        "relu_scratch",
        "relu, written with a comparison.",
        module="scratch",
        range=(0, inf),
        kinks=(0,),
        gain=sqrt(2),
        source="Zhang et al., Dive into Deep Learning, section 5.1",
    )
    yield _elementwise(
        "sigmoid_scratch",
        "sigmoid, written with exp.",
        module="scratch",
        range=(0, 1),
        gain=1.846229,
        source="Zhang et al., Dive into Deep Learning, section 5.1",
    )
    yield _elementwise(
        "tanh_scratch",
        "tanh, written with exp.",
        module="scratch",
        range=(-1, 1),
        gain=1.592537,
        source="Zhang et al., Dive into Deep Learning, section 5.1",
    )

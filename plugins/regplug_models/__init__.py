"""First-party models: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, MinLen

from regplug.api import Model, NoParams, hookimpl

Width = Annotated[int, Ge(1)]


@dataclass(frozen=True, kw_only=True)
class LinearParams:
    """Parameters of `linear`."""

    bias: bool = True
    "Whether the outputs have an offset."


@dataclass(frozen=True, kw_only=True)
class MLPParams:
    """Parameters of `mlp`."""

    hidden: Annotated[tuple[Width, ...], MinLen(1)] = (256, 128)
    "Units of each hidden layer, from the input on."


@hookimpl
def regplug_models() -> Iterator[Model]:
    """Yields the first-party models."""
    yield Model(
        name="linear",
        target="regplug_models.networks:linear",
        params=LinearParams,
        summary="One linear layer: linear regression, or softmax regression for classes.",
    )
    yield Model(
        name="mlp",
        target="regplug_models.networks:mlp",
        params=MLPParams,
        summary="Multilayer perceptron: hidden layers with an activation each, then the output.",
    )
    yield Model(
        name="cnn",
        target="regplug_models.networks:cnn",
        params=NoParams,
        summary="Two 3x3 convolutions of 32 and 64 channels with pooling, then a hidden layer of 128; images only.",
    )

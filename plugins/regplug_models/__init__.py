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


@dataclass(frozen=True, kw_only=True)
class ResidualMLPParams:
    """Parameters of `residual_mlp`."""

    width: Width = 128
    "Units of each layer."
    blocks: Annotated[int, Ge(1)] = 2
    "How many residual blocks of two layers each."


@dataclass(frozen=True, kw_only=True)
class TorchvisionParams:
    """Parameters of `torchvision`."""

    name: str = "resnet18"
    "Name of the architecture, as torchvision.models has it."
    side: Annotated[int, Ge(0)] = 0
    "Height and width to which images are enlarged first; 0 leaves them as they are."


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
        name="residual_mlp",
        target="regplug_models.residual:residual_mlp",
        params=ResidualMLPParams,
        summary="Fully connected layers in residual blocks, whose branches regularizers can drop or shake.",
        source="He et al. 2016, Identity Mappings in Deep Residual Networks",
    )
    yield Model(
        name="cnn",
        target="regplug_models.networks:cnn",
        params=NoParams,
        summary="Two 3x3 convolutions of 32 and 64 channels with pooling, then a hidden layer of 128; images only.",
    )
    yield Model(
        name="torchvision",
        target="regplug_models.torchvision_models:torchvision_classifier",
        params=TorchvisionParams,
        summary="Any classifier of torchvision with random weights; channels, classes and image size adapted.",
        source="torchvision.models",
    )

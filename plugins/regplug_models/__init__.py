"""First-party models: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, MinLen

from regplug.api import Model, NoParams, Parameters, hookimpl

Width = Annotated[int, Ge(1)]


class LinearParams(Parameters):
    """Parameters of `linear`."""

    bias: bool = True
    "Whether the outputs have an offset."


class MLPParams(Parameters):
    """Parameters of `mlp`."""

    hidden: Annotated[tuple[Width, ...], MinLen(1)] = (256, 128)
    "Units of each hidden layer, starting at the input."


class ResidualMLPParams(Parameters):
    """Parameters of `residual_mlp`."""

    width: Width = 128
    "Units of each layer."
    blocks: Annotated[int, Ge(1)] = 2
    "How many residual blocks of two layers each."


class PolynomialParams(Parameters):
    """Parameters of `polynomial`."""

    features: Width = 4
    "Basis functions of each input, the constant among them: 4 gives a polynomial of degree 3."


class DeepMLPParams(Parameters):
    """Parameters of `deep_mlp`."""

    depth: Width = 5
    "Hidden layers."
    width: Width = 100
    "Units of each hidden layer."


class LeNetParams(Parameters):
    """Parameters of `lenet`."""

    norm: Literal["none", "batch"] = "none"
    "batch: a batch normalization before each activation."
    pool: Literal["average", "max"] = "average"
    "average: as in 1998; max: as in most later code."


class TabularResNetParams(Parameters):
    """Parameters of `tabular_resnet`."""

    width: Width = 128
    "Units between the blocks; twice as many within them."
    blocks: Width = 2
    "How many residual blocks of two layers each."


class FTTransformerParams(Parameters):
    """Parameters of `ft_transformer`."""

    head_width: Width = 8
    "Numbers of a head; heads times as many represent a column."
    blocks: Width = 2
    "Transformer blocks."
    heads: Width = 4
    "Attention heads of each block."


class ResNetParams(Parameters):
    """Parameters of `resnet`."""

    width: Width = 16
    "Channels of the first stage; the second and third have twice and four times as many."
    blocks: Width = 1
    "Residual blocks of each of the three stages; n blocks make the paper's network of 6n + 2 layers."


class GRUParams(Parameters):
    """Parameters of `gru`."""

    width: Width = 64
    "Units of the hidden state."
    layers: Width = 1
    "Number of stacked recurrent layers."


class TorchvisionParams(Parameters):
    """Parameters of `torchvision`."""

    name: str = "resnet18"
    "Name of the architecture, as torchvision.models has it."
    side: Annotated[int, Ge(0)] = 0
    "Height and width to which images are first enlarged; 0 keeps their size."
    weights: str = ""
    "Trained weights to start from: default or a name of torchvision's, downloaded once, or a file of a state_dict."
    freeze: str | tuple[str, ...] = ()
    "Parameters that are not trained, as globs of parameter or module names such as layer1*."


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
        name="polynomial",
        target="regplug_models.networks:polynomial",
        params=PolynomialParams,
        summary="Linear in the powers x^i / i! of each input, without an additional bias.",
        source="Zhang et al., Dive into Deep Learning, section 3.6",
    )
    yield Model(
        name="deep_mlp",
        target="regplug_models.networks:deep_mlp",
        params=DeepMLPParams,
        summary="Many hidden layers of one width, in which gradients vanish or explode.",
        source="Glorot and Bengio 2010",
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
        name="lenet",
        target="regplug_models.images:lenet",
        params=LeNetParams,
        summary="LeNet-5: two 5x5 convolutions with pooling, then layers of 120 and 84; images only.",
        source="LeCun, Bottou, Bengio and Haffner 1998",
    )
    yield Model(
        name="resnet",
        target="regplug_models.images:resnet",
        params=ResNetParams,
        summary="A small residual network with batch normalization: three stages of 3x3 convolutions; images only.",
        source="He, Zhang, Ren and Sun 2016, arXiv:1512.03385, section 4.2",
    )
    yield Model(
        name="tabular_resnet",
        target="regplug_models.tabular:tabular_resnet",
        params=TabularResNetParams,
        summary="Fully connected residual blocks with batch normalization.",
        source="Gorishniy, Rubachev, Khrulkov and Babenko 2021, arXiv:2106.11959",
    )
    yield Model(
        name="ft_transformer",
        target="regplug_models.tabular:ft_transformer",
        params=FTTransformerParams,
        summary="A small transformer in which each feature of a row is a token, and categories are embedded.",
        source="Gorishniy, Rubachev, Khrulkov and Babenko 2021, arXiv:2106.11959",
    )
    yield Model(
        name="gru",
        target="regplug_models.recurrent:gru",
        params=GRUParams,
        stackable=False,
        why_single="torch.func.vmap cannot lift torch's recurrent layers",
        summary="Gated recurrent units over sequences (time, features); the output is made of the last state.",
        source="Cho et al. 2014, arXiv:1406.1078",
    )
    yield Model(
        name="torchvision",
        target="regplug_models.torchvision_models:torchvision_classifier",
        params=TorchvisionParams,
        summary="Any classifier of torchvision, random or trained; channels, classes and image size adapted.",
        source="torchvision.models",
    )

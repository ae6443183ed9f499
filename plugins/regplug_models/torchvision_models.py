"""Any classifier of torchvision, its input channels, its classes and its image size adapted.

Nothing is downloaded unless `weights` asks for it. The stem - the first convolution of three channels - is replaced by
one for the dataset's channels; it starts as torch starts a convolution, all else as torchvision starts it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from regplug.api import ModelContext
from regplug.errors import ModelError, ParameterError, did_you_mean
from regplug_models import TorchvisionParams
from regplug_models.torchvision_branches import mark_branches
from regplug_models.torchvision_weights import freeze, load_weights

COLOURS = 3
SIDES = (16, 28, 32, 48, 56, 64, 96, 112, 128, 160, 224, 256, 299)
"""Sides that are tried for a hint, where a network refuses the images as they are."""

_WITHOUT_SIDE_OUTPUTS: Mapping[str, Mapping[str, Any]] = {
    # In training these return their auxiliary heads as well, and warn of a change of their initialisation.
    name: {"aux_logits": False, "init_weights": True}
    for name in ("googlenet", "inception_v3")
}


class Enlarged(nn.Module):
    """Images brought to a side by nearest neighbours, then the network.

    Args:
        side: Height and width that the network gets.
        network: Takes `(B, C, side, side)`.
    """

    def __init__(self, side: int, network: nn.Module) -> None:
        super().__init__()
        self.side = side
        self.network = network

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Returns what the network gives for the enlarged images."""
        logits: Tensor = self.network(nn.functional.interpolate(x_BCHW, size=(self.side, self.side)))
        return logits


def torchvision_classifier(params: TorchvisionParams, context: ModelContext) -> nn.Module:
    """Returns a classifier of torchvision for images `(C, H, W)`.

    Raises:
        ParameterError: torchvision has no classifier of that name; near names are told.
        ModelError: The input is no image, or too small for the architecture; a side that it takes is told. Or the
            trained weights could not be had, or `freeze` names nothing.
    """
    known = classifiers()
    if params.name not in known:
        raise ParameterError(f"torchvision has no classifier {params.name!r}.", hint=did_you_mean(params.name, known))
    if len(context.input_shape) != 3:
        raise ModelError(
            f"torchvision's {params.name} needs images (channels, height, width); this dataset gives inputs of shape "
            f"{context.input_shape}.",
            hint="Choose --model mlp for rows, or a dataset of images.",
        )
    channels, height, width = context.input_shape
    shape = (channels, params.side, params.side) if params.side else (channels, height, width)
    try:
        network = _build(params.name, shape, context.task.num_outputs)
        _try(network, shape)
    except Exception as error:
        raise _refused(params.name, shape, context, error) from error
    if params.weights:
        load_weights(network, params.name, params.weights)
    freeze(network, (params.freeze,) if isinstance(params.freeze, str) else params.freeze)
    return Enlarged(params.side, network) if params.side else network


def classifiers() -> list[str]:
    """The names of torchvision's classifiers, without detection, segmentation, video and quantized ones."""
    return list(torchvision.models.list_models(module=torchvision.models))


def _build(name: str, shape: tuple[int, ...], num_outputs: int) -> nn.Module:
    settings = dict(_WITHOUT_SIDE_OUTPUTS.get(name, {}))
    network = torchvision.models.get_model(
        name, weights=None, num_classes=num_outputs, **settings, **_size_setting(name, shape)
    )
    _adapt_stem(network, shape[0])
    mark_branches(network)
    made: nn.Module = network
    return made


def _size_setting(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """The argument by which an architecture is told its image size, where it must be told."""
    if name.startswith("vit_"):
        return {"image_size": shape[1]}
    return {"input_size": shape[1:]} if name.startswith("maxvit") else {}


def _adapt_stem(network: nn.Module, channels: int) -> None:
    if channels == COLOURS:
        return
    name, old = next(
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, nn.Conv2d) and part.in_channels == COLOURS
    )
    stem = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type] # a pair, as Conv2d keeps it
        stride=old.stride,  # type: ignore[arg-type]
        padding=old.padding,  # type: ignore[arg-type]
        dilation=old.dilation,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    parent, _, attribute = name.rpartition(".")
    setattr(network.get_submodule(parent), attribute, stem)


@torch.no_grad()
def _try(network: nn.Module, shape: tuple[int, ...]) -> None:
    """Runs one image through; its running statistics stay as they are, for it is in evaluation mode."""
    network.eval()
    try:
        network(torch.zeros(1, *shape, device=next(network.parameters()).device))
    finally:
        network.train()


def _refused(name: str, shape: tuple[int, ...], context: ModelContext, error: Exception) -> ModelError:
    side = next((side for side in SIDES if side > max(shape[1:]) and _takes(name, (shape[0], side, side), context)), 0)
    hint = f"Let it enlarge them: --model torchvision:name={name},side={side}" if side else "Choose another network."
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}".rstrip(": ")
    return ModelError(f"torchvision's {name} cannot take images of {shape[1]}x{shape[2]} ({reason}).", hint=hint)


def _takes(name: str, shape: tuple[int, ...], context: ModelContext) -> bool:
    """Whether a network takes a size; asked without memory for its weights."""
    try:
        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _try(_build(name, shape, context.task.num_outputs), shape)
    except Exception:
        return False
    return True

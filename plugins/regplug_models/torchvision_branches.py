"""Which modules of torchvision's blocks hold what a residual connection adds.

Their `+` stands inside `forward` and has no site. The module whose output is added has one: in a block of a ResNet, the
last normalization.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn
from torchvision.models import (
    convnext,
    efficientnet,
    maxvit,
    mnasnet,
    mobilenetv2,
    mobilenetv3,
    regnet,
    resnet,
    swin_transformer,
    vision_transformer,
)

BRANCHES: Mapping[type[nn.Module], tuple[str, ...]] = {
    resnet.BasicBlock: ("bn2",),
    resnet.Bottleneck: ("bn3",),
    regnet.ResBottleneckBlock: ("f",),
    convnext.CNBlock: ("stochastic_depth",),
    maxvit.MBConv: ("stochastic_depth",),
    maxvit.PartitionAttentionLayer: ("stochastic_dropout",),
    swin_transformer.SwinTransformerBlock: ("stochastic_depth",),
    vision_transformer.EncoderBlock: ("dropout", "mlp"),
    efficientnet.MBConv: ("stochastic_depth",),
    efficientnet.FusedMBConv: ("stochastic_depth",),
    mobilenetv2.InvertedResidual: ("conv",),
    mobilenetv3.InvertedResidual: ("block",),
    mnasnet._InvertedResidual: ("layers",),
}
"""Class of a block -> names of the modules in it whose output is added to a shortcut."""

_HAS_SHORTCUT = ("use_res_connect", "apply_residual")
"""Attributes by which a block says whether it has a shortcut; without one it always has."""


def mark_branches(network: nn.Module) -> None:
    """Lets each module that a residual connection adds say so, by its attribute `is_branch`."""
    for block in network.modules():
        names = next((names for kind, names in BRANCHES.items() if isinstance(block, kind)), ())
        if all(getattr(block, attribute, True) for attribute in _HAS_SHORTCUT):
            for name in names:
                block.get_submodule(name).is_branch = True  # type: ignore[assignment]

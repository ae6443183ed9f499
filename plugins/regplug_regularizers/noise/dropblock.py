"""DropBlock: squares of feature maps are dropped.

Shape letters: B rows, C channels, H height, W width; S and T places of a block's corner, by height and by width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, final

import torch.nn.functional as F
from torch import Tensor, nn

from regplug.errors import CompositionError
from regplug.noise import Draw, uniform
from regplug.regularizer import Notice, RegularizerFunctions, RunContext, Shapes, Step
from regplug.sites import Site, SiteLayer, Sites
from regplug_regularizers.noise.places import at_place, doubt_before_batch_norm, require_one_each


def dropblock(x_BCHW: Tensor, uniform_BCST: Tensor, drop_probability: Tensor, block_size: int) -> Tensor:
    """Zeroes every block whose number is below gamma, and scales up so that the share of kept entries counts as all.

    `gamma = p * H * W / (block_size^2 * (H - block_size + 1) * (W - block_size + 1))`; then
    `y = x * mask * (entries of the mask / entries kept)`, over the whole batch.

    Args:
        x_BCHW: Feature maps.
        uniform_BCST: Uniform on [0, 1), one for each block: S = H - block_size + 1, T = W - block_size + 1.
        drop_probability: Scalar p in [0, 1), the share that is dropped if blocks do not overlap.
        block_size: Height and width of a block, at most H and W.

    Returns:
        A tensor of the shape of `x`.

    Source: Ghiasi et al. 2018, algorithm 1; as torchvision.ops.drop_block2d, whose blocks draw their own numbers.
    """
    height, width = x_BCHW.shape[-2:]
    gamma = drop_probability * (height * width) / (block_size**2 * uniform_BCST[0, 0].numel())
    seeds_BCST = (uniform_BCST < gamma).to(x_BCHW.dtype)
    padded = F.pad(seeds_BCST, [block_size - 1] * 4)
    mask = 1.0 - F.max_pool2d(padded, kernel_size=block_size, stride=1)
    return x_BCHW * (mask * (mask.numel() / mask.sum().clamp(min=1.0)))


@final
class DropBlockLayer(SiteLayer):
    """DropBlock at one place.

    Args:
        block_size: Height and width of a block.
    """

    def __init__(self, block_size: int) -> None:
        super().__init__()
        self.block_size = block_size

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """See `dropblock`."""
        if x.shape[0] == 0:
            return x
        return dropblock(x, noise, at_place(step.settings["drop_probability"], self.index), self.block_size)


def _images(sites: Sites) -> list[Site]:
    return [site for site in sites.activations() if len(site.output_shape) == 4]


@final
class DropBlock(RegularizerFunctions):
    """Puts DropBlock behind each activation of images, or where `at` says; evaluation is the identity."""

    def check(self, context: RunContext) -> Iterator[Notice]:
        """Doubts a dropout before a batch normalization."""
        yield from doubt_before_batch_norm(context, "dropblock")

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the layers in; a block is at most as large as the feature map."""
        chosen = sites.chosen(self.params.at, _images)
        require_one_each(sites, "drop_probability", self.params.drop_probability, chosen)
        for site in chosen:
            if len(site.output_shape) != 4:
                raise CompositionError(
                    f"{sites.owner}: {site.name} returns {site.output_shape}, and blocks are squares of images.",
                    hint="Name modules with at= whose output is (batch, channels, height, width), or take dropout.",
                )
            sites.after(site, DropBlockLayer(min(self.params.block_size, *site.output_shape[2:])))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One number for each block."""
        return {place.key: uniform(self._blocks(place.shape)) for place in shapes.places}

    def _blocks(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        size = min(self.params.block_size, *shape[2:])
        return (*shape[:2], shape[2] - size + 1, shape[3] - size + 1)

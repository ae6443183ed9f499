"""The operations of TrivialAugment on images in [0, 1], each row of a batch by an operation and a strength of its own.

Each is that of torchvision's TrivialAugmentWide, rounded to 256 levels where that one is.

Shape letters: B rows of the batch, C channels, H height, W width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug_regularizers.augmentation.geometry import rotations, warped

OPERATIONS = (
    "identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate", "brightness", "color", "contrast",
    "sharpness", "posterize", "solarize", "auto_contrast", "equalize",
)  # fmt: skip
BINS = 31
"""Strengths that an operation can have, 0 among them."""
FARTHEST, STRONGEST, WIDEST = 32.0, 0.99, 135.0
"""Greatest translation in pixels, change of colours or shear, and angle in degrees."""


def trivial_augment(x: Tensor, operation: Tensor, strength: Tensor, sign: Tensor) -> Tensor:
    """Returns images `(B, C, H, W)` in [0, 1], each with one operation applied.

    Args:
        x: Images in [0, 1] of one or three channels.
        operation: Number of an operation, `(B,)`.
        strength: In [0, 1], `(B,)`.
        sign: 1 or -1, `(B,)`, for operations that go both ways.

    Source: Mueller and Hutter 2021, table 1 (wide).
    """
    both = (strength * sign)[:, None, None, None]
    made = {
        "brightness": (x * (1 + STRONGEST * both)).clamp(0, 1),
        "color": _blend(x, _gray(x), both),
        "contrast": _blend(x, _gray(x).mean((1, 2, 3), keepdim=True), both),
        "sharpness": _blend(x, _smoothed(x), both),
        "posterize": _posterized(x, strength),
        "solarize": torch.where(x >= 1 - strength[:, None, None, None], 1 - x, x),
        "auto_contrast": _stretched(x),
        "equalize": _equalized(x),
    }
    result = _warped(x, operation, strength * sign)
    for name, values in made.items():
        result = torch.where((operation == OPERATIONS.index(name))[:, None, None, None], values, result)
    return result


def _warped(x: Tensor, operation: Tensor, amount: Tensor) -> Tensor:
    """Images sheared, moved or turned, where that is their operation; the others as they are."""

    def of(name: str) -> Tensor:
        return torch.where(operation == OPERATIONS.index(name), amount, 0.0)

    height, width = x.shape[-2:]
    shears = torch.stack([of("shear_x"), of("shear_y")], -1) * STRONGEST
    zero = torch.zeros_like(amount)
    sheared = torch.stack([torch.stack([zero, shears[:, 0]], -1), torch.stack([shears[:, 1], zero], -1)], -2)
    matrices = rotations(WIDEST * of("rotate")) + sheared
    # Shears leave the upper left corner where it is, and rotations the centre.
    corner = torch.tensor([height / 2, width / 2], dtype=x.dtype, device=x.device)
    translations = torch.stack([of("translate_x"), of("translate_y")], -1) * FARTHEST
    offsets = shears * corner - translations.trunc()
    is_geometric = (operation > 0) & (operation <= OPERATIONS.index("rotate"))
    return torch.where(is_geometric[:, None, None, None], warped(x, matrices, offsets, mode="nearest"), x)


def _blend(x: Tensor, other: Tensor, amount: Tensor) -> Tensor:
    factor = 1 + STRONGEST * amount
    return (factor * x + (1 - factor) * other).clamp(0, 1)


def _gray(x: Tensor) -> Tensor:
    """Luminance `(B, 1, H, W)`."""
    if x.shape[1] == 1:
        return x
    shares = torch.tensor([0.2989, 0.587, 0.114], dtype=x.dtype, device=x.device)
    return (x * shares[:, None, None]).sum(1, keepdim=True)


def _smoothed(x: Tensor) -> Tensor:
    """Each pixel but those at the edge averaged with its neighbours."""
    if min(x.shape[-2:]) <= 2:
        return x
    inner = x[..., 1:-1, 1:-1]
    sums = F.avg_pool2d(x, 3, stride=1) * 9
    return F.pad((sums + 4 * inner) / 13 - inner, (1, 1, 1, 1)) + x


def _posterized(x: Tensor, strength: Tensor) -> Tensor:
    """The eight bits of each value cut down to as few as two."""
    bits = 8 - (6 * strength).round()
    step = (2 ** (8 - bits))[:, None, None, None]
    return ((x * 255).round() / step).floor() * step / 255


def _stretched(x: Tensor) -> Tensor:
    """The values of each channel stretched to [0, 1]; a channel of one value stays."""
    low, high = x.amin((2, 3), keepdim=True), x.amax((2, 3), keepdim=True)
    is_flat = low == high
    return torch.where(is_flat, x, (x - low) / torch.where(is_flat, 1.0, high - low))


def _equalized(x: Tensor) -> Tensor:
    """Each channel with all of its 256 levels equally common, nearly."""
    levels = (x * 255).round().clamp(0, 255).long().flatten(2)
    ones = torch.ones_like(levels, dtype=x.dtype)
    counts = torch.zeros((*levels.shape[:2], 256), dtype=x.dtype, device=x.device).scatter_add(2, levels, ones)
    last = counts.gather(2, levels.amax(2, keepdim=True))
    step = ((levels.shape[2] - last) / 255).floor()
    before = counts.cumsum(2) - counts
    table = ((before + (step / 2).floor()) / step.clamp(min=1)).floor().clamp(0, 255)
    made = (table.gather(2, levels) / 255).view(x.shape)
    return torch.where((step == 0)[..., None], x, made)


def drawn(uniforms: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns operation, strength and sign of each row from three uniform numbers, `(B, 3)`."""
    operation = (uniforms[:, 0] * len(OPERATIONS)).floor()
    strength = (uniforms[:, 1] * BINS).floor() / (BINS - 1)
    return operation, strength, 2 * (uniforms[:, 2] * 2).floor() - 1

"""One hash for all that a module has learned."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def state_sha256(module: nn.Module) -> str:
    """Hashes names, dtypes, shapes and bytes of a module's `state_dict`, sorted by name.

    The device, the strides and the training flags do not matter; one bit of one weight does.

    Args:
        module: Any module; it is not changed.

    Returns:
        64 hexadecimal digits.

    >>> layer = nn.Linear(2, 1)
    >>> before = state_sha256(layer)
    >>> with torch.no_grad():
    ...     _ = layer.bias.add_(1)
    >>> before == state_sha256(layer)
    False
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, torch.Tensor):
            flat = value.detach().cpu().contiguous()
            digest.update(f"{name}\0{flat.dtype}\0{tuple(flat.shape)}\0".encode())
            digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
        else:
            digest.update(f"{name}\0{value!r}\0".encode())
    return digest.hexdigest()

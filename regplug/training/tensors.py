"""A model's tensors by name."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from regplug.regularizer import Tensors


def split_tensors(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the trained parameters and everything else that the model computes with, by name."""
    params: dict[str, Tensor] = {name: p for name, p in model.named_parameters() if p.requires_grad}
    frozen = {name: p for name, p in model.named_parameters() if not p.requires_grad}
    return params, {**frozen, **dict(model.named_buffers())}


def restore_tensors(model: nn.Module, params: Tensors, buffers: Tensors) -> None:
    """Copies tensors into a model, by name."""
    own = dict(model.named_parameters()) | dict(model.named_buffers())
    with torch.no_grad():
        for name, value in {**params, **buffers}.items():
            own[name].copy_(value)


def held_apart(state: Tensors, params: Tensors, buffers: Tensors) -> Tensors:
    """A regularizer's state with copies of what is a parameter or buffer itself, which the next step writes to."""
    if not state:
        return state
    written = {value.untyped_storage().data_ptr() for own in (params, buffers) for value in own.values()}
    return {
        name: value.detach().clone() if value.untyped_storage().data_ptr() in written else value
        for name, value in state.items()
    }

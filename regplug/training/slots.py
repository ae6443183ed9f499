"""The places where a model keeps its tensors, found once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from regplug.regularizer import Tensors


class Slots:
    """Calls a model at other tensors than its own, as torch.func.functional_call does.

    That function looks each name up at each call, which in a small network costs more than the network.

    Args:
        model: Its structure must not change any more.
        names: Parameters and buffers that a call may replace. Tied tensors are replaced wherever they stand.
    """

    def __init__(self, model: nn.Module, names: Tensors) -> None:
        by_tensor: dict[int, list[tuple[dict[str, Any], str]]] = {}
        for module in model.modules():
            for kept in (module._parameters, module._buffers):
                for leaf, tensor in kept.items():
                    if tensor is not None:
                        by_tensor.setdefault(id(tensor), []).append((kept, leaf))
        self._model = model
        self._places = {name: tuple(by_tensor[id(tensor)]) for name, tensor in names.items()}

    def call(self, tensors: Tensors, function: Callable[[], Tensor]) -> Tensor:
        """Calls `function` while the model holds `tensors`, and gives the model its own back."""
        own = [
            (kept, leaf, kept[leaf], tensor) for name, tensor in tensors.items() for kept, leaf in self._places[name]
        ]
        try:
            for kept, leaf, _, tensor in own:
                kept[leaf] = tensor
            return function()
        finally:
            for kept, leaf, tensor, _ in own:
                kept[leaf] = tensor

"""What an initializer that sees training data works on: the layers that it may change, and their outputs.

Shape letters: B rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from regplug.regularization.finding import find_roles, find_sites
from regplug.regularization.step import Role

BATCH_ROWS = 256
"""Training rows that such an initializer gets; all of them where there are fewer."""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One module whose own parameters an initializer may change in place.

    Args:
        name: Its name in the model.
        module: The module.
        params: The parameters to initialize, by their name in the module.
        roles: What each is for: `weight`, `bias` or `norm`.
        has_output: Whether `output` works: the model calls it as a module that takes and returns a tensor.
        model: The model that it belongs to.
    """

    name: str
    module: nn.Module
    params: Mapping[str, Tensor]
    roles: Mapping[str, Role]
    has_output: bool
    model: nn.Module

    @property
    def weights(self) -> list[Tensor]:
        """Its parameters with the role `weight`."""
        return [tensor for name, tensor in self.params.items() if self.roles[name] == "weight"]

    @property
    def biases(self) -> list[Tensor]:
        """Its parameters with the role `bias`."""
        return [tensor for name, tensor in self.params.items() if self.roles[name] == "bias"]

    def output(self, batch: Tensor) -> Tensor:
        """Runs the model with its present weights and returns what this layer returns at its first call.

        Args:
            batch: Inputs of the model `(B, ...)`.
        """
        outputs: list[Tensor] = []

        def record(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ARG001 - a hook's
            outputs.append(output)

        handle = self.module.register_forward_hook(record)
        try:
            self.model(batch)
        finally:
            handle.remove()
        return outputs[0]


def layers_of(model: nn.Module, names: Collection[str], example: Tensor) -> list[Layer]:
    """Returns the modules that own these parameters in the order of the forward pass; those without an output last.

    Args:
        model: The model.
        names: Names of the parameters to initialize.
        example: Inputs `(B, ...)`.
    """
    roles, modules = find_roles(model), dict(model.named_modules())
    own: dict[str, dict[str, Tensor]] = {}
    for name, param in model.named_parameters():
        if name in names:
            layer, _, short = name.rpartition(".")
            own.setdefault(layer, {})[short] = param.detach()
    called = dict.fromkeys(site.name for site in find_sites(model, example) if site.name in own)
    return [
        Layer(
            name=name,
            module=modules[name],
            params=own[name],
            roles={short: roles[f"{name}.{short}" if name else short] for short in own[name]},
            has_output=name in called,
            model=model,
        )
        for name in [*called, *(name for name in own if name not in called)]
    ]


@contextmanager
def neutral(model: nn.Module, seed: int) -> Iterator[None]:
    """Evaluation mode without gradients; modes, buffers and torch's global generator are restored afterwards.

    Args:
        model: On the CPU.
        seed: Seeds torch's global generator meanwhile, for a model that draws from it in evaluation too.
    """
    modes = [(module, module.training) for module in model.modules()]
    buffers = [
        (module, name, buffer, buffer.clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model.eval()
            yield
        finally:
            for module, name, buffer, before in buffers:
                module._buffers[name] = buffer.copy_(before)
            for module, training in modes:
                module.training = training

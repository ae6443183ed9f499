"""What one run computes at a step, as pure functions of its tensors; the loop lifts them for a stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regplug.api import Task
from regplug.losses import SETTINGS_KEY, LossFunction
from regplug.regularization.composition import Composition
from regplug.regularizer import Loss, Outputs, Role, Step, Tensors
from regplug.sites import Pass, current_pass, find_roles
from regplug.training.slots import Slots


class Program:
    """A restructured model, its regularizers and its loss: everything that the runs of a stack share.

    Args:
        model: The model. One run trains its tensors in place; a stack uses it as a template.
        regularizer: The composed regularizers.
        loss: The data loss.
        task: What is learned.
    """

    def __init__(self, *, model: nn.Module, regularizer: Composition, loss: LossFunction, task: Task) -> None:
        self.model, self.regularizer, self.loss, self.task = model, regularizer, loss, task
        self.roles: Mapping[str, Role] = find_roles(model)
        self.params, self.buffers = split_tensors(model)
        self._slots = Slots(model, {**self.params, **self.buffers})
        self._effective = _effective_weights(model)
        self._hidden = {name for each in self._effective for name in each.originals}
        self._penalises = bool(regularizer.acting("penalty"))
        self._wraps = bool(regularizer.acting("wrap_loss"))
        self._mixes = bool(regularizer.acting("batch"))

    def objective(
        self, params: Tensors, buffers: Tensors, step: Step, x: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The objective of one run on one batch, in training mode.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer; running statistics move in place.
            step: The composition's step.
            x: Inputs `(batch, ...)`.
            y: Targets.

        Returns:
            The objective, the data loss and the logits of the outermost pass.
        """
        if self._mixes:
            x, y = self.regularizer.batch(step, x, y)
        if self._wraps:
            data, outputs = self.regularizer.wrap_loss(step, self._loss(buffers, step, x, y))(params)
        else:
            outputs = self.forward(params, buffers, step, x)
            data = self.mean_loss(step, outputs.logits, y)
        if not self._penalises:
            return data, data, outputs.logits
        penalty = self.regularizer.penalty(step, self.weights(params), outputs)
        return data if penalty is None else data + penalty, data, outputs.logits

    def _loss(self, buffers: Tensors, step: Step, x: Tensor, y: Tensor) -> Loss:
        def loss(params: Tensors, number: int = 0, x: Tensor = x, y: Tensor = y) -> tuple[Tensor, Outputs]:
            outputs = self.forward(params, buffers, step, x, number)
            return self.mean_loss(step, outputs.logits, y), outputs

        return loss

    def mean_loss(self, step: Step, logits: Tensor, y: Tensor) -> Tensor:
        """The mean of the data loss over a batch, a scalar."""
        return self.loss.mean(logits, y, step.settings.get(SETTINGS_KEY, {}))

    def forward(self, params: Tensors, buffers: Tensors, step: Step, x: Tensor, number: int = 0) -> Outputs:
        """One forward pass of one run in training mode.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer, changed in place.
            step: The composition's step.
            x: Inputs `(batch, ...)`.
            number: Which pass of this step it is; each has masks of its own.
        """
        running = Pass(step, number)
        token = current_pass.set(running)
        try:
            logits = self.call(params, buffers, x)
        finally:
            current_pass.reset(token)
        return Outputs(logits, buffers, running.taps)

    def call(self, params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        """The model at these tensors, in the mode that it is in."""
        if params is self.params and buffers is self.buffers:
            # One run trains the model's own tensors: nothing to swap in.
            return self.model(x)  # type: ignore[no-any-return] # nn.Module returns Any
        return self._slots.call({**params, **buffers}, lambda: self.model(x))

    def weights(self, params: Tensors) -> Tensors:
        """Name -> effective weight: what a parametrized layer computes with, not what it is computed from."""
        if not self._effective:
            return params
        plain = {name: value for name, value in params.items() if name not in self._hidden}
        return plain | {each.name: each.value(params) for each in self._effective}

    def projected(self, step: Step, params: Tensors) -> dict[str, Tensor]:
        """Every parameter after `project` of its effective weight."""
        project = self.regularizer.project
        projected = {n: value if n in self._hidden else project(step, n, value) for n, value in params.items()}
        for each in self._effective:
            projected |= each.inverse(project(step, each.name, each.value(params)))
        return projected


@dataclass(frozen=True)
class _Effective:
    """One parametrized weight: how it is computed from its originals, and back."""

    name: str
    originals: tuple[str, ...]
    parametrization: nn.Module

    def value(self, params: Tensors) -> Tensor:
        own = {name.rpartition(".")[2]: params[name] for name in self.originals}
        return functional_call(self.parametrization, own, ())  # type: ignore[no-any-return]

    def inverse(self, value: Tensor) -> dict[str, Tensor]:
        originals: Any = value
        for module in reversed(list(self.parametrization.children())):
            right_inverse: Callable[[Any], Any] = module.right_inverse  # type: ignore[assignment]
            originals = right_inverse(originals)
        values = originals if isinstance(originals, tuple | list) else (originals,)
        return dict(zip(self.originals, values, strict=True))


def _effective_weights(model: nn.Module) -> tuple[_Effective, ...]:
    trained, _ = split_tensors(model)
    found = []
    for prefix, module in model.named_modules():
        for name, parametrization in getattr(module, "parametrizations", {}).items():
            path = f"{prefix}.{name}" if prefix else name
            inner = f"{prefix}.parametrizations.{name}" if prefix else f"parametrizations.{name}"
            originals = tuple(
                f"{inner}.{n}" for n, _ in parametrization.named_parameters(recurse=False) if n.startswith("original")
            )
            if all(n in trained for n in originals):
                found.append(_Effective(path, originals, parametrization))
    return tuple(found)


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

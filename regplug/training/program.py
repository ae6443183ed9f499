"""The computation of one run at a step, as pure functions of its tensors; the loop lifts them for a stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from regplug.api import Task
from regplug.errors import CompositionError
from regplug.losses import SETTINGS_KEY, LossFunction
from regplug.regularization.composition import Composition
from regplug.regularization.finding import find_roles
from regplug.regularization.layers import ActingLayer, Pass, current_pass
from regplug.regularization.structure import step_outside
from regplug.regularizer import Clock, Loss, Outputs, Role, Step, Tensors
from regplug.training.effective import find_effective
from regplug.training.passes import RunPasses
from regplug.training.slots import Slots
from regplug.training.tensors import split_tensors


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
        self.effective = find_effective(model, self.params)
        self.hidden = frozenset(name for each in self.effective for name in each.originals)
        self.acts_in_evaluation = any(isinstance(m, ActingLayer) and m.acts_in_evaluation for m in model.modules())
        self.needs_two_rows = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
        self._penalises = bool(regularizer.acting("penalty"))
        self._wraps = bool(regularizer.acting("wrap_loss"))
        self._weighs = bool(regularizer.acting("sample_losses"))
        self.mixes = bool(regularizer.acting("batch"))

    def objective(self, params: Tensors, buffers: Tensors, step: Step) -> tuple[dict[str, Tensor], Outputs]:
        """The objective of one run on one batch, in training mode.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer; running statistics move in place.
            step: The composition's step, with the original batch.

        Returns:
            `total` (the objective) and `loss` (the data loss), and where the data phase acts the batch that it made,
            `x` and `y`; and the outputs of the outermost pass.
        """
        step.attach(RunPasses(self, params, buffers))
        batch = step.require_batch()
        if self.mixes:
            x, y = self.regularizer.batch(step, batch.x, batch.y)
            step.batch = batch = batch._replace(x=x, y=y)
        if self._wraps:
            loss, outputs = self._wrapped(params, buffers, step)
        else:
            outputs = self.forward(params, buffers, step, batch.x)
            loss = self._data_loss(step, batch.y, outputs)
        weights = self.weights(params, buffers, step) if self._penalises else {}
        penalty = self.regularizer.penalty(step, weights, outputs) if self._penalises else None
        made = {"total": loss if penalty is None else loss + penalty, "loss": loss}
        if self.mixes:
            made |= {"x": batch.x, "y": batch.y}
        return made, outputs

    def _data_loss(self, step: Step, y: Tensor, outputs: Outputs) -> Tensor:
        if not self._weighs:
            return self.mean_loss(step, outputs.logits, y)
        losses = self.loss.per_sample(outputs.logits, y, step.settings.get(SETTINGS_KEY, {}))
        return self.regularizer.sample_losses(step, losses, outputs).mean()

    def _wrapped(self, params: Tensors, buffers: Tensors, step: Step) -> tuple[Tensor, Outputs]:
        """The loss with its wrappers. Their passes return buffers; those of the outermost become the run's."""
        value, outputs = self.regularizer.wrap_loss(step, self._loss(buffers, step))(params)
        with torch.no_grad():
            for name, own in buffers.items():
                if outputs.buffers[name] is not own:
                    own.copy_(outputs.buffers[name])
        return value, outputs

    def _loss(self, buffers: Tensors, step: Step) -> Loss:
        batch = step.require_batch()

        def loss(
            params: Tensors,
            number: int = 0,
            x: Tensor = batch.x,
            y: Tensor = batch.y,
            buffers: Tensors = buffers,
        ) -> tuple[Tensor, Outputs]:
            outputs = step.run(x=x, params=params, buffers=buffers, number=number)
            return self._data_loss(step, y, outputs), outputs

        return loss

    def mean_loss(self, step: Step, logits: Tensor, y: Tensor) -> Tensor:
        """The mean of the data loss over a batch, a scalar."""
        return self.loss.mean(logits, y, step.settings.get(SETTINGS_KEY, {}))

    def forward(self, params: Tensors, buffers: Tensors, step: Step, x: Tensor, number: int = 0) -> Outputs:
        """One forward pass of one run, in the model's current mode.

        Args:
            params: Name -> parameter.
            buffers: Name -> buffer, changed in place.
            step: The composition's step.
            x: Inputs `(B, ...)`.
            number: Which pass of this step it is; each has noise of its own.
        """
        running = Pass(step, number)
        token = current_pass.set(running)
        try:
            logits = self.call(params, buffers, x)
        finally:
            current_pass.reset(token)
        return Outputs(logits, buffers, running.taps)

    def call(self, params: Tensors, buffers: Tensors, x: Tensor) -> Tensor:
        """Calls the model with these tensors, in its current mode."""
        if params is self.params and buffers is self.buffers:
            # One run trains the model's own tensors: nothing to swap in.
            return self.model(x)  # type: ignore[no-any-return] # nn.Module returns Any
        return self._slots.call({**params, **buffers}, lambda: self.model(x))

    def weights(self, params: Tensors, buffers: Tensors, step: Step) -> Tensors:
        """Returns name -> effective weight: the weight that a layer computes with in evaluation. Writes nothing."""
        if not self.effective:
            return params
        plain = {name: value for name, value in params.items() if name not in self.hidden}
        return plain | {each.name: each.value(params, buffers, step) for each in self.effective}

    @torch.no_grad()
    def weight_shapes(self, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[int, ...]]:
        """Name -> shape of each effective weight.

        Args:
            settings: Regularizer's key -> parameter -> number.
        """
        weights = self.weights(self.params, self.buffers, step_outside(settings, self.model))
        return {name: tuple(value.shape) for name, value in weights.items()}

    def projected(self, step: Step, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Every parameter after `project` of its effective weight."""
        project = self.regularizer.project
        changed = {n: value if n in self.hidden else project(step, n, value) for n, value in params.items()}
        for each in self.effective:
            value = each.value(params, buffers, step)
            new = project(step, each.name, value)
            if new is not value:
                # The inverse is not exact, and a weight that is already allowed must not change by a bit.
                is_same = (new == value).all()
                changed |= {n: torch.where(is_same, params[n], v) for n, v in each.inverse(new).items()}
        return changed

    def decays(self, step: Step, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """Returns name of a weight -> strength of its decoupled decay, if it has one."""
        weights = self.weights(params, buffers, step)
        strengths = {name: self.regularizer.decay(step, name, value) for name, value in weights.items()}
        return {name: strength for name, strength in strengths.items() if strength is not None}

    def require_inverses(self, step: Step) -> None:
        """Refuses decay and projection of a weight whose parametrization cannot be set to a value.

        Args:
            step: The first step; its noise may be missing.

        Raises:
            CompositionError: A regularizer acts on such a weight.
        """
        acting = [f for f in ("decay", "project") if self.regularizer.acting(f)]
        for each in self.effective if acting else ():
            if each.can_be_set(self.params, self.buffers, step):
                continue
            weight = each.value(self.params, self.buffers, step)
            for function in acting:
                touched = _touched_by(self.regularizer, function, step, each.name, weight)
                if touched:
                    raise CompositionError(
                        f"{' and '.join(touched)} sets the weight {each.name}, but its parametrization "
                        f"({each.kind}) has no right_inverse that restores the weight.",
                        hint="Leave one of the two out, or use a penalty, which needs no inverse: l2 for weight_decay.",
                    )


def _touched_by(regularizer: Composition, function: str, step: Step, name: str, weight: Tensor) -> list[str]:
    """Keys of the members that decay or project this weight."""
    touched = []
    for part in regularizer.acting(function):
        try:
            result = getattr(part.functions, function)(step.child(part.key), name, weight)
        except KeyError:  # it reads noise or state, which do not exist before the first step
            result = True
        if result is not None and result is not weight:
            touched.append(part.key)
    return touched


def clock_at_start(program: Program, *, count: int = 1, epochs: int = 1) -> Clock:
    """The clock before the first step of a run of that many steps."""
    return Clock(index=0, count=count, epoch=0, epochs=epochs, task=program.task, roles=program.roles)

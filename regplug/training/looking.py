"""What probes see of a run: passes over a fixed sample that leave the run as it was."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from regplug.losses import SETTINGS_KEY
from regplug.probes import Evaluated, Gradients, HeldOut, Layer
from regplug.regularization.finding import recorded_outputs
from regplug.regularization.layers import Augmented
from regplug.regularizer import Batch, Clock, Member, Settings, Step
from regplug.sites import is_activation
from regplug.training.feed import FedBatch
from regplug.training.passes import in_mode
from regplug.training.program import Program

PROBED_ROWS = 256
"""Training rows that probes look at, about."""

PROBED_AT_ONCE = 1024
"""Held-out rows in one pass."""


class RunLook:
    """See `regplug.probes.Look`.

    Args:
        program: What the run computes.
        trained: Its trained parameters and buffers.
        seen: Its parameters and buffers as they are evaluated.
        state: Its regularizers' state.
        settings: Its settings as they now stand.
        clock: Where it stands.
        batches: The sample, with noise, as one run has it.
        before: Its parameters before the last step, or none.
        held_out: Returns the inputs of its held-out rows in parts, and their targets.
    """

    def __init__(
        self,
        *,
        program: Program,
        trained: Member,
        seen: Callable[[], Member],
        state: Mapping[str, Tensor],
        settings: Settings,
        clock: Clock,
        batches: Sequence[FedBatch],
        before: Mapping[str, Tensor],
        held_out: Callable[[], tuple[Iterator[Tensor], Tensor]],
    ) -> None:
        self._program, self._trained, self._seen, self._state = program, trained, seen, state
        self._settings, self._clock, self._batches, self._before = settings, clock, batches, before
        self._held_out = held_out

    def sample(self) -> Batch:
        """The rows that are looked at."""
        x, y, rows = (torch.cat([getattr(each, name) for each in self._batches]) for name in ("x", "y", "rows"))
        return Batch(x, y, y, rows)

    @torch.no_grad()
    def evaluated(self) -> Evaluated:
        """One pass in evaluation mode over the sample."""
        params, buffers = self._seen()
        batch, model = self.sample(), self._program.model
        with recorded_outputs(model) as outputs:
            logits = self._forward(params, buffers, batch.x)
        functions = {name for name, module in model.named_modules() if is_activation(_own(module))}
        chosen = {key: output for key, output in outputs.items() if key.rpartition("#")[0] in functions}
        return Evaluated(logits, self._losses(logits, batch.y), dict(outputs), chosen)

    def layers(self, activations: Mapping[str, Tensor]) -> tuple[Layer, ...]:
        """The layers with weights, in the order in which their modules were called."""
        called = list(dict.fromkeys(key.rpartition("#")[0] for key in activations))
        program = self._program
        originals = {name: each.name for each in program.effective for name in each.originals}
        weights, trained, biases = (defaultdict[str, list[str]](list) for _ in range(3))
        for name in program.params:
            shown = originals.get(name, name)  # a parametrized weight has the role and the place of its own name
            found = {"weight": trained, "bias": biases}.get(program.roles[shown])
            if found is not None:
                found[shown.rpartition(".")[0]].append(name)
            if found is trained and shown not in weights[shown.rpartition(".")[0]]:
                weights[shown.rpartition(".")[0]].append(shown)
        order = sorted(trained, key=lambda layer: _position(layer, called))
        return tuple(Layer(name or "model", *(tuple(of[name]) for of in (weights, trained, biases))) for name in order)

    def trained_params(self) -> dict[str, Tensor]:
        """The trained parameters as they are evaluated."""
        return {name: value.detach() for name, value in self._seen()[0].items()}

    @torch.no_grad()
    def held_out(self) -> HeldOut:
        """The outputs on held-out rows, in evaluation mode."""
        params, buffers = self._seen()
        inputs, y = self._held_out()
        return HeldOut(torch.cat([self._forward(params, buffers, x) for x in inputs]), y)

    def loss_at(self, params: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """The mean data loss of a batch in evaluation mode, twice differentiable."""
        buffers = {name: value.clone() for name, value in self._seen()[1].items()}
        # Of the kinds of attention, only torch's plain one can be differentiated twice.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
            return self._losses(self._forward(params, buffers, batch.x), batch.y).mean()

    def gradients(self) -> Gradients:
        """Gradients over the sample, in training mode; running statistics move in copies."""
        names = list(self._trained[0])
        sums: dict[str, list[Tensor]] = {}
        total = sum(each.size for each in self._batches)
        with torch.random.fork_rng(devices=[]), torch.enable_grad(), in_mode(self._program.model, training=True):
            for each in self._batches:
                params = {name: value.detach().clone().requires_grad_() for name, value in self._trained[0].items()}
                made, _ = self._program.objective(params, self._copied_buffers(), self._step(each))
                for part in ("loss", "total"):
                    grads = torch.autograd.grad(
                        made[part], list(params.values()), retain_graph=part == "loss", materialize_grads=True
                    )
                    weighted = [grad.detach() * (each.size / total) for grad in grads]
                    known = sums.get(part)
                    sums[part] = weighted if known is None else list(torch._foreach_add(known, weighted))
        return Gradients(*(dict(zip(names, sums[part], strict=True)) for part in ("loss", "total")))

    def last_update(self) -> dict[str, Tensor]:
        """What the last step changed."""
        return {name: self._trained[0][name].detach() - value for name, value in self._before.items()}

    def _forward(self, params: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
        step = Step(self._settings, {}, self._clock, state=self._state)
        with torch.random.fork_rng(devices=[]), in_mode(self._program.model, training=False):
            return self._program.forward(params, buffers, step, x).logits

    def _losses(self, logits: Tensor, y: Tensor) -> Tensor:
        return self._program.loss.per_sample(logits, y, self._settings.get(SETTINGS_KEY, {}))

    def _step(self, each: FedBatch) -> Step:
        batch = Batch(each.x, each.y, each.y, each.rows)
        return Step(self._settings, each.noise, self._clock, state=self._state, batch=batch)

    def _copied_buffers(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self._trained[1].items()}


def _own(module: nn.Module) -> nn.Module:
    """The module inside of what regularizers put around it."""
    return _own(module.module) if isinstance(module, Augmented) else module


def _position(name: str, called: Sequence[str]) -> int:
    """When a module was called; if its call was not recorded, with the innermost module around it, else last."""
    while name and name not in called:
        name = name.rpartition(".")[0]
    return called.index(name) if name else len(called)

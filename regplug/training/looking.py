"""What probes see of a run: passes over a fixed sample that leave the run as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from regplug.losses import SETTINGS_KEY
from regplug.probes import Evaluated, Gradients
from regplug.regularization.finding import recorded_outputs
from regplug.regularizer import Batch, Clock, Member, Settings, Step
from regplug.training.feed import FedBatch
from regplug.training.passes import in_mode
from regplug.training.program import Program

PROBED_ROWS = 256
"""Training rows that probes look at, about."""


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
    ) -> None:
        self._program, self._trained, self._seen, self._state = program, trained, seen, state
        self._settings, self._clock, self._batches, self._before = settings, clock, batches, before

    def sample(self) -> Batch:
        """The rows that are looked at."""
        x, y, rows = (torch.cat([getattr(each, name) for each in self._batches]) for name in ("x", "y", "rows"))
        return Batch(x, y, y, rows)

    @torch.no_grad()
    def evaluated(self) -> Evaluated:
        """One pass in evaluation mode over the sample."""
        params, buffers = self._seen()
        batch, model = self.sample(), self._program.model
        step = Step(self._settings, {}, self._clock, state=self._state)
        with torch.random.fork_rng(devices=[]), in_mode(model, training=False), recorded_outputs(model) as outputs:
            logits = self._program.forward(params, buffers, step, batch.x).logits
        losses = self._program.loss.per_sample(logits, batch.y, self._settings.get(SETTINGS_KEY, {}))
        return Evaluated(logits, losses, dict(outputs))

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

    def _step(self, each: FedBatch) -> Step:
        batch = Batch(each.x, each.y, each.y, each.rows)
        return Step(self._settings, each.noise, self._clock, state=self._state, batch=batch)

    def _copied_buffers(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in self._trained[1].items()}

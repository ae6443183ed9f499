"""Composes several regularizers into one; `identity` is the neutral element."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from regplug.noise import Draw, Key, pass_key, uniform
from regplug.regularization.returned import Returned
from regplug.regularizer import (
    EpochEnd,
    Identity,
    Loss,
    Member,
    Outputs,
    RegularizerFunctions,
    Shapes,
    Step,
    Tensors,
)

identity = Identity()

FUNCTIONS = (
    "noise",
    "init",
    "batch",
    "sample_losses",
    "penalty",
    "wrap_loss",
    "perturb",
    "gradients",
    "decay",
    "after_step",
    "project",
    "after_epoch",
    "evaluated",
    "finalize",
)
"""The functions that the loop calls; the others are called once, before it."""


_TURNS = "/turns"
"""Where the noise stands that decides whose turn it is; no key of a member begins with a slash."""


@dataclass(frozen=True)
class Part:
    """One regularizer of a composition, with the key of its settings, noise and state."""

    key: str
    functions: RegularizerFunctions

    @cached_property
    def returned(self) -> dict[str, Returned]:
        """Function -> the check of what it returns."""
        return {name: Returned(self.key, self.functions, name) for name in FUNCTIONS}


def overrides(regularizer: RegularizerFunctions, function: str) -> bool:
    """Whether a regularizer acts in a function, so that the host need not call it where it does not."""
    if isinstance(regularizer, Composition):
        return bool(regularizer.acting(function))
    return getattr(type(regularizer), function) is not getattr(RegularizerFunctions, function)


def compose(
    members: Mapping[str, RegularizerFunctions] | Sequence[tuple[str, RegularizerFunctions]],
    turns: Mapping[str, Sequence[str]] | None = None,
) -> Composition:
    """Returns one regularizer that applies the members in order.

    Settings, noise and state of the composition are those of the members under their keys; state is flat, with keys
    `member/name`. A composition may be a member of another; layers are put in by the outermost members alone.

    Args:
        members: Key -> regularizer, in the order in which each function applies them.
        turns: Key of a member that takes turns in the data phase -> the keys of those with which it does.
    """
    pairs = members.items() if isinstance(members, Mapping) else members
    return Composition([Part(key, functions) for key, functions in pairs], turns)


class Composition(RegularizerFunctions):
    """Regularizers in a resolved order. Made by `compose`."""

    def __init__(self, members: Sequence[Part], turns: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__()
        self.members = tuple(members)
        self.passes = max((m.functions.passes for m in members), default=1)  # type: ignore[misc] # of this instance
        # The loop reads this at each step, where an identity must cost nothing.
        self._acting = {f: tuple(m for m in members if overrides(m.functions, f)) for f in FUNCTIONS}
        soft = [i for i, m in enumerate(self._acting["batch"]) if m.functions.needs_soft_targets]
        self._soften_at = soft[0] if soft else None
        self._turns = {key: sorted((key, *others)) for key, others in (turns or {}).items()}

    def acting(self, function: str) -> tuple[Part, ...]:
        """The members that act in a function."""
        return self._acting[function]

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> dict[str, Draw]:
        """What its members need where it is itself a member, under `member/name`; the host asks `draws`."""
        return {
            f"{m.key}/{name}": draw
            for m in self._acting["noise"]
            for name, draw in m.functions.noise(shapes, settings.get(m.key, {})).items()
        }

    def draws(self, shapes_of: Callable[[str], Shapes], settings: Mapping[str, Mapping[str, Any]]) -> dict[Key, Draw]:
        """What all members need of one run at each step; a place draws anew for each forward pass."""
        found: dict[Key, Draw] = {}
        for member in self._acting["noise"]:
            shapes = shapes_of(member.key)
            at_places = {place.key for place in shapes.places}
            for key, draw in member.functions.noise(shapes, settings.get(member.key, {})).items():
                for number in range(self.passes if key in at_places else 1):
                    found[member.key, pass_key(key, number)] = draw
        for group in self._turns.values():
            found[_TURNS, "+".join(group)] = uniform((), per_sample=False)
        return found

    def init(self, shapes: Shapes, params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The states of all members, flat; the host asks `initial`, where each sees its own places."""
        return self.initial(lambda _: shapes, params, buffers)

    def initial(self, shapes_of: Callable[[str], Shapes], params: Tensors, buffers: Tensors) -> dict[str, Tensor]:
        """The states of all members at the start of one run, flat."""
        return {
            f"{m.key}/{name}": value
            for m in self._acting["init"]
            for name, value in m.returned["init"].state(m.functions.init(shapes_of(m.key), params, buffers)).items()
        }

    def batch(self, step: Step, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Members in order; indices become probabilities before the first that asks for them, and only then."""
        for i, member in enumerate(self._acting["batch"]):
            if i == self._soften_at and not y.is_floating_point():
                y = F.one_hot(y, step.clock.task.num_outputs).to(_floating(x))
            if step.batch is not None:
                step.batch = step.batch._replace(x=x, y=y)
            made = member.returned["batch"].batch(member.functions.batch(step.child(member.key), x, y))
            x, y = self._if_its_turn(member.key, step, made, (x, y))
        return x, y

    def _if_its_turn(
        self, key: str, step: Step, made: tuple[Tensor, Tensor], had: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """What a member made of the batch; the batch as it was where another one of its group acts in this step."""
        group = self._turns.get(key)
        if group is None:
            return made
        chosen = (step.noise[_TURNS]["+".join(group)] * len(group)).floor() == group.index(key)
        return torch.where(chosen, made[0], had[0]), torch.where(chosen, made[1], had[1])

    def sample_losses(self, step: Step, losses: Tensor, outputs: Outputs) -> Tensor:
        """Members in order."""
        for member in self._acting["sample_losses"]:
            changed = member.functions.sample_losses(step.child(member.key), losses, outputs)
            losses = member.returned["sample_losses"].rows(changed, losses)
        return losses

    def penalty(self, step: Step, weights: Tensors, outputs: Outputs) -> Tensor | None:
        """The sum of the members' penalties."""
        total: Tensor | None = None
        for member in self._acting["penalty"]:
            value = member.returned["penalty"].scalar(
                member.functions.penalty(step.child(member.key), weights, outputs)
            )
            total = value if total is None else total if value is None else total + value
        return total

    def wrap_loss(self, step: Step, loss: Loss) -> Loss:
        """The last member's loss is the outermost."""
        for member in self._acting["wrap_loss"]:
            loss = member.returned["wrap_loss"].loss(member.functions.wrap_loss(step.child(member.key), loss))
        return loss

    def perturb(self, step: Step, params: Tensors, grads: Tensors) -> Tensors | None:
        """Each member moves on from where the one before it went."""
        point: Tensors | None = None
        for member in self._acting["perturb"]:
            moved = member.functions.perturb(step.child(member.key), params if point is None else point, grads)
            if moved is not None:
                member.returned["perturb"].tensors(moved, params, "parameters")
                point = moved
        return point

    def gradients(self, step: Step, params: Tensors, grads: Tensors) -> tuple[Tensors, Tensors]:
        """Members in order."""
        state = step.state
        for member in self._acting["gradients"]:
            returned = member.returned["gradients"]
            made = member.functions.gradients(step.child(member.key), params, grads)
            new, own = returned.pair(made, "the gradients and the state")
            grads = returned.tensors(new, grads, "gradients")
            state = _merged(state, member.key, returned.state(own))
        return grads, state

    def decay(self, step: Step, name: str, weight: Tensor) -> Tensor | None:
        """The sum of the members' strengths."""
        total: Tensor | None = None
        for member in self._acting["decay"]:
            value = member.functions.decay(step.child(member.key), name, weight)
            total = value if total is None else total if value is None else total + value
        return total

    def after_step(self, step: Step, params: Tensors) -> tuple[Tensors, Tensors]:
        """Members in order."""
        state = step.state
        for member in self._acting["after_step"]:
            returned = member.returned["after_step"]
            made = member.functions.after_step(step.child(member.key), params)
            new, own = returned.pair(made, "the parameters and the state")
            params = returned.tensors(new, params, "parameters")
            state = _merged(state, member.key, returned.state(own))
        return params, state

    def project(self, step: Step, name: str, weight: Tensor) -> Tensor:
        """Members in order."""
        for member in self._acting["project"]:
            weight = member.returned["project"].weight(member.functions.project(step.child(member.key), name, weight))
        return weight

    def after_epoch(self, step: Step, metrics: Tensors, params: Tensors, buffers: Tensors) -> EpochEnd:
        """Members in order; one that stops is enough, and rate scales multiply."""
        state = step.state
        stop: Tensor | None = None
        scale: Tensor | None = None
        for member in self._acting["after_epoch"]:
            made = member.functions.after_epoch(step.child(member.key), metrics, params, buffers)
            end = member.returned["after_epoch"].epoch_end(made, params, buffers)
            params, buffers, state = end.params, end.buffers, _merged(state, member.key, end.state)
            stop = end.stop if stop is None else stop if end.stop is None else stop | end.stop
            scale = end.rate_scale if scale is None else scale if end.rate_scale is None else scale * end.rate_scale
        return EpochEnd(params, buffers, state, stop, scale)

    def evaluated(self, step: Step, params: Tensors, buffers: Tensors) -> Member:
        """Members in order."""
        for member in self._acting["evaluated"]:
            seen = member.functions.evaluated(step.child(member.key), params, buffers)
            params, buffers = member.returned["evaluated"].member(seen, params, buffers)
        return params, buffers

    def finalize(self, step: Step, params: Tensors, buffers: Tensors, batches: Iterable[Step]) -> Sequence[Member]:
        """Members in order; where one returns an ensemble, the next acts on each network of it."""
        networks: list[Member] = [(params, buffers)]
        for member in self._acting["finalize"]:
            own = step.child(member.key)
            finished = [member.functions.finalize(own, *network, batches) for network in networks]
            networks = [one for each in finished for one in member.returned["finalize"].networks(each, params, buffers)]
        return networks


def _floating(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.get_default_dtype()


def _merged(state: Tensors, key: str, own: Tensors) -> Tensors:
    if not own:
        return state
    return {**state, **{f"{key}/{name}": value for name, value in own.items()}}

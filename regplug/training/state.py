"""The tensors of one run or of a stack of runs, and the inputs of each run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from regplug.data.inputs import Inputs
from regplug.regularizer import Member, Shapes, Tensors
from regplug.training.lift import Lift
from regplug.training.optimizers import BoundRule, OptimizerState
from regplug.training.program import Program
from regplug.training.tensors import restore_tensors


@dataclass(frozen=True, kw_only=True)
class RunInputs:
    """The inputs of one run to the loop: only numbers and tensors, so that many runs can be stacked.

    Args:
        seed: Determines row order and noise.
        rate: Learning rate before the schedule.
        settings: Regularizer's key -> parameter -> number, one number for each place, or a `Ramp`.
        params: Initial parameters by name.
        buffers: Initial buffers by name.
        optimizer: The optimizer's numbers that may differ between the runs of a stack.
        train_rows: Rows of the training pool that this run trains on, int64; `None` for all.
        valid_rows: The same of the validation pool.
        test_rows: The same of the test pool.
        limits: `low` and `high`, of a normalised input, each where the dataset declares one.
        raw: The training rows before normalisation, a NumPy array; `None` where nobody knows them.
    """

    seed: int
    rate: float
    settings: Mapping[str, Mapping[str, Any]]
    params: Tensors
    buffers: Tensors
    optimizer: Mapping[str, float] = field(default_factory=dict)
    train_rows: Tensor | None = None
    valid_rows: Tensor | None = None
    test_rows: Tensor | None = None
    limits: Tensors = field(default_factory=dict)
    raw: Any = None

    def raw_rows(self) -> Any:
        """This run's training rows before normalisation, where they are known."""
        chosen = self.raw is not None and self.train_rows is not None
        return self.raw[self.train_rows.cpu().numpy()] if chosen else self.raw  # type: ignore[union-attr] # chosen

    def count_rows(self, pool: Pool) -> int:
        """Returns the number of rows in this run's training split."""
        return len(pool) if self.train_rows is None else len(self.train_rows)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Rows from which each run takes its own.

    Args:
        x: Normalised inputs `(rows, ...)`: a tensor, or rows that are made when they are asked for.
        y: Targets, `(rows,)` classes or `(rows, columns)` values.
    """

    x: Inputs
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass
class State:
    """Everything that changes during training."""

    params: dict[str, Tensor]
    buffers: dict[str, Tensor]
    optimizer: OptimizerState
    regularizer: Tensors
    epoch: int = 0
    rate_scale: Tensor | float = 1.0
    stopped: list[int | None] = field(default_factory=list)
    """For each run the epoch after which it stopped, or `None`."""
    diverged: list[str] = field(default_factory=list)
    """For each run, where it became NaN or infinite; empty if it did not."""
    ensembles: list[list[Member]] = field(default_factory=list)
    """For each finished run, the networks of its ensemble; empty if it ends with one network."""

    def tensors(self) -> list[Tensor]:
        """Returns every tensor that a step may change."""
        optimizer = [t for slot in self.optimizer.values() for t in slot]
        return [*self.params.values(), *self.buffers.values(), *optimizer, *self.regularizer.values()]

    def to_dict(self) -> dict[str, Any]:
        """Returns a copy that `torch.save` can write and `torch.load(weights_only=True)` can read."""
        scale = self.rate_scale
        return {
            "params": _copies(self.params),
            "buffers": _copies(self.buffers),
            "optimizer": {slot: [t.detach().clone() for t in tensors] for slot, tensors in self.optimizer.items()},
            "regularizer": _copies(self.regularizer),
            "epoch": self.epoch,
            "rate_scale": scale.clone() if isinstance(scale, Tensor) else scale,
            "stopped": list(self.stopped),
            "diverged": list(self.diverged),
        }

    def load_dict(self, saved: Mapping[str, Any]) -> None:
        """Restores a saved state, which may come from another device, into the existing parameters and buffers."""
        with torch.no_grad():
            for own, other in ((self.params, saved["params"]), (self.buffers, saved["buffers"])):
                for name, value in own.items():
                    value.copy_(other[name])
        home = next((value.device for value in self.params.values()), torch.device("cpu"))
        self.optimizer = {
            slot: [_copy_at(t, own, home) for t, own in zip_longest(tensors, self.optimizer.get(slot, ()))]
            for slot, tensors in saved["optimizer"].items()
        }
        self.regularizer = {
            name: _copy_at(value, self.regularizer.get(name), home) for name, value in saved["regularizer"].items()
        }
        scale = saved["rate_scale"]
        self.epoch, self.rate_scale = saved["epoch"], scale.to(home) if isinstance(scale, Tensor) else scale
        self.stopped, self.diverged = list(saved["stopped"]), list(saved["diverged"])


def _copy_at(value: Tensor, own: Tensor | None, home: torch.device) -> Tensor:
    """Returns a copy of a saved tensor on the device of the one that it replaces, or on that of the parameters."""
    return value.detach().to(home if own is None else own.device, copy=True)


def _copies(tensors: Tensors) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in tensors.items()}


def initial_state(
    program: Program,
    rule: BoundRule,
    runs: Sequence[RunInputs],
    lift: Lift,
    shapes_of: Callable[[str], Shapes],
) -> State:
    """Returns the state before the first step. The state of a single run uses the program's own tensors."""
    if lift.runs is None:
        restore_tensors(program.model, runs[0].params, runs[0].buffers)
        params, buffers = program.params, program.buffers
    else:
        params = {name: t.requires_grad_() for name, t in _stacked([run.params for run in runs]).items()}
        buffers = _stacked([run.buffers for run in runs])
    with torch.no_grad():
        limits = dict(runs[0].limits) if lift.runs is None else _stacked([run.limits for run in runs])
        raw = runs[0].raw_rows() if lift.runs is None else None
        init = lift(lambda *own: _initial(program, lambda key: replace(shapes_of(key), raw=raw), *own))
        regularizer = init(params, buffers, limits) if program.regularizer.acting("init") else {}
    return State(
        params=params,
        buffers=buffers,
        optimizer=rule.init(list(params.values())),
        regularizer=_copies(regularizer),
        stopped=[None] * len(runs),
        diverged=[""] * len(runs),
    )


def _initial(
    program: Program, shapes_of: Callable[[str], Shapes], params: Tensors, buffers: Tensors, limits: Tensors
) -> dict[str, Tensor]:
    """The regularizers' state of one run, whose inputs have these limits."""

    def within(key: str) -> Shapes:
        return replace(shapes_of(key), low=limits.get("low"), high=limits.get("high"))

    return program.regularizer.initial(within, params, buffers)


def _stacked(each: Sequence[Tensors]) -> dict[str, Tensor]:
    return {name: torch.stack([one[name].detach() for one in each]) for name in each[0]}

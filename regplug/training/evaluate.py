"""Runs in evaluation mode, and what each run ends with."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from regplug.losses import SETTINGS_KEY
from regplug.regularizer import Clock, Outputs, Settings, Step, Tensors
from regplug.training.feed import Batch, Feed, cut
from regplug.training.lift import Lift
from regplug.training.program import Program
from regplug.training.state import Pool, RunInputs, State
from regplug.training.stepper import write_

EVALUATION_ROWS = 8192
"""Rows that one evaluation pass takes at once, over all runs."""

EVALUATION_NUMBERS = 1 << 22
"""Input numbers that one evaluation pass of a stack takes at least, where its rows are short."""


class Evaluator:
    """Measures runs on a split, and finalizes them.

    Args:
        program: What every run computes.
        runs: What each run brings.
        lift: One run or a stack.
        settings: Regularizer's key -> parameter -> tensor, with those of the loss.
    """

    def __init__(self, *, program: Program, runs: Sequence[RunInputs], lift: Lift, settings: Settings) -> None:
        self._program, self._lift, self._loss_settings = program, lift, settings.get(SETTINGS_KEY, {})
        self._rows = {split: _rows_of(runs, split, lift) for split in ("train", "valid", "test")}
        self._kept: dict[str, tuple[Any, Any]] = {}
        self._evaluated = lift(program.regularizer.evaluated) if program.regularizer.acting("evaluated") else None

    @torch.no_grad()
    def measure(self, state: State, pool: Pool, split: str) -> dict[str, Tensor]:
        """Loss, and accuracy of a classification: scalars, or one for each run of a stack."""
        parts = list(self._passes(state, pool, split, self._measured_one))
        count = sum(rows for _, rows in parts)
        only = parts[0][0][0] if len(parts) == 1 else None
        measured = {"loss": sum(part[0] * rows for part, rows in parts) / count if only is None else only}
        if self._program.task.is_classification:
            measured["accuracy"] = sum(part[1] for part, _ in parts) / count
        return measured

    @torch.no_grad()
    def outputs(self, state: State, pool: Pool, split: str) -> Tensor:
        """Logits or values, in the order of the rows."""
        return torch.cat([out for out, _ in self._passes(state, pool, split, self._called_one)], self._lift.lead)

    def _called_one(self, params: Tensors, buffers: Tensors, settings: Tensors, x: Tensor, y: Tensor) -> Tensor:
        return self._program.call(params, buffers, x)

    def _measured_one(
        self, params: Tensors, buffers: Tensors, settings: Tensors, x: Tensor, y: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = self._program.call(params, buffers, x)
        loss = self._program.loss.mean(outputs, y, settings)
        if not self._program.task.is_classification:
            return (loss,)
        return loss, (outputs.argmax(-1) == y).sum()

    def _passes(self, state: State, pool: Pool, split: str, function: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
        """Yields for each part of a split what a function of it returns, and its rows."""
        params, buffers = self._tensors(state)
        rows = self._rows[split]
        total = len(pool) if rows is None else rows.shape[-1]
        size = self._rows_at_once(pool)
        own = None if rows is None or rows.ndim == 1 else 0
        lifted = self._lift(function, (0, 0, 0, own, own))
        with in_mode(self._program.model, training=False):
            for start in range(0, total, size):
                x, y = self._cut(split, pool, start, start + size)
                yield lifted(params, buffers, self._loss_settings, x, y), y.shape[0 if own is None else 1]

    def _cut(self, split: str, pool: Pool, start: int, stop: int) -> tuple[Any, Any]:
        """A part of a split; a small one of which each run has rows of its own is gathered but once."""
        rows = self._rows[split]
        if rows is None or rows.ndim == 1 or stop - start < rows.shape[-1]:
            return cut(rows, pool, start, stop)
        if rows.numel() * math.prod(pool.x.shape[1:]) > EVALUATION_NUMBERS:
            return cut(rows, pool, start, stop)
        if split not in self._kept:
            self._kept[split] = cut(rows, pool, start, stop)
        return self._kept[split]

    def _rows_at_once(self, pool: Pool) -> int:
        if self._lift.runs is None:
            return EVALUATION_ROWS
        short = min(4 * EVALUATION_ROWS, EVALUATION_NUMBERS // max(1, math.prod(pool.x.shape[1:])))
        return max(1, max(EVALUATION_ROWS, short) // self._lift.runs)

    @torch.no_grad()
    def params_of(self, state: State, run: int) -> dict[str, Tensor]:
        """The parameters of one run as they are evaluated."""
        params, _ = self._tensors(state)
        return dict(params) if self._lift.runs is None else {name: value[run] for name, value in params.items()}

    def _tensors(self, state: State) -> tuple[Tensors, Tensors]:
        if self._evaluated is None:
            return state.params, state.buffers
        return self._evaluated(state.params, state.buffers, state.regularizer)  # type: ignore[no-any-return]

    @torch.no_grad()
    def finalize(self, state: State, feed: Feed, settings: Settings, clock: Clock) -> None:
        """Each run's `finalize`, one run at a time; its tensors are written into the state."""
        for run in range(self._lift.runs or 1):
            own = _slice(self._lift, run)
            params, buffers, kept = own(state.params), own(state.buffers), own(state.regularizer)
            forward = _FinishForward(self._program, own(settings), clock)
            batches = _Batches(feed, run if self._lift.runs is not None else None)
            with in_mode(self._program.model, training=True):
                new = self._program.regularizer.finalize(forward, params, buffers, kept, batches)
            write_(own(state.params), new[0])
            write_(own(state.buffers), new[1])


class _FinishForward:
    """See `regplug.regularizer.FinishForward`."""

    def __init__(self, program: Program, settings: Settings, clock: Clock) -> None:
        self._program, self._settings, self._clock = program, settings, clock

    def __call__(self, params: Tensors, buffers: Tensors, batch: Batch) -> Outputs:
        step = Step(self._settings, batch.noise, self._clock)
        x, _ = self._program.regularizer.batch(step, batch.x, batch.y)
        return self._program.forward(dict(params), dict(buffers), step, x)

    def recompute_statistics(self, params: Tensors, buffers: Tensors, batches: Iterable[Batch]) -> Tensors:
        """As torch.optim.swa_utils.update_bn: the cumulative average over one pass."""
        norms = [m for m in self._program.model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
        if not any(m.track_running_stats for m in norms):
            return buffers
        fresh = {name: value.clone() for name, value in buffers.items()}
        for name, value in fresh.items():
            leaf = name.rpartition(".")[2]
            if leaf in ("running_mean", "num_batches_tracked"):
                value.zero_()
            elif leaf == "running_var":
                value.fill_(1)
        momenta = [m.momentum for m in norms]
        try:
            for module in norms:
                module.momentum = None  # torch's way to ask for the cumulative average
            for batch in batches:
                self(params, fresh, batch)
        finally:
            for module, momentum in zip(norms, momenta, strict=True):
                module.momentum = momentum
        return fresh


class _Batches:
    """The training batches of one run, once more, with noise of their own; can be iterated again."""

    def __init__(self, feed: Feed, run: int | None) -> None:
        self._feed, self._run = feed, run

    def __iter__(self) -> Iterator[Batch]:
        for batch in self._feed.epoch("finish"):
            yield batch if self._run is None else self._feed.of_run(batch, self._run)


def _rows_of(runs: Sequence[RunInputs], split: str, lift: Lift) -> Tensor | None:
    rows = [getattr(run, f"{split}_rows") for run in runs]
    if rows[0] is None:
        return None
    if lift.runs is None or all(r is rows[0] or torch.equal(r, rows[0]) for r in rows[1:]):
        return rows[0]  # type: ignore[no-any-return]
    return torch.stack(rows)


def _slice(lift: Lift, run: int) -> Any:
    """Takes one run out of nested tensors, as views."""

    def own(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if lift.runs is None else value[run]
        return {name: own(each) for name, each in value.items()}

    return own


@contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Iterator[None]:
    """Puts a model into a mode and restores the mode of every module."""
    modes = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode

"""Evaluates runs, and finalizes them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from regplug.data.inputs import rows_in_turn
from regplug.losses import SETTINGS_KEY
from regplug.regularizer import Batch, Clock, Member, Settings, Step, Tensors
from regplug.training.ensemble import combined
from regplug.training.feed import FedBatch, Feed
from regplug.training.lift import Lift
from regplug.training.passes import RunPasses, in_mode
from regplug.training.program import Program
from regplug.training.settings import RunSettings
from regplug.training.state import Pool, RunInputs, State
from regplug.training.stepper import write_

EVALUATION_ROWS = 8192
"""Rows in one evaluation pass, summed over all runs."""

EVALUATION_NUMBERS = 1 << 22
"""Minimum number of input values in one evaluation pass of a stack whose rows are short."""

LARGEST_EVALUATION = 1 << 25
"""Maximum number of input values in one evaluation pass, however few rows these are."""


class Evaluator:
    """Measures runs on a split, and finalizes them.

    Args:
        program: What every run computes.
        runs: What each run brings.
        lift: One run or a stack.
        settings: The settings at each step.
        sample: Returns batches of a fixed part of the training rows, used to recompute statistics before an evaluation.
    """

    def __init__(
        self,
        *,
        program: Program,
        runs: Sequence[RunInputs],
        lift: Lift,
        settings: RunSettings,
        sample: Callable[[], Sequence[FedBatch]],
    ) -> None:
        self._program, self._lift, self._settings, self._sample = program, lift, settings, sample
        self._rows = {split: _rows_of(runs, split, lift) for split in ("train", "valid", "test")}
        self._kept: dict[str, tuple[Pool, tuple[Any, Any]]] = {}
        self._acts = bool(program.regularizer.acting("evaluated"))
        self._seen: Member | None = None
        self.clock: Clock

    def forget(self) -> None:
        """Discards cached values after the state has changed."""
        self._seen = None

    @torch.no_grad()
    def measure(self, state: State, pool: Pool, split: str) -> dict[str, Tensor]:
        """Returns the loss and, for classification, the accuracy: scalars, or one value for each run of a stack."""
        if any(state.ensembles):
            return self._measured_ensembles(state, pool, split)
        parts = list(self._passes(state, pool, split, self._measured_one))
        count = sum(rows for _, rows in parts)
        only = parts[0][0][0] if len(parts) == 1 else None
        measured = {"loss": sum(part[0] * rows for part, rows in parts) / count if only is None else only}
        if self._program.task.is_classification:
            measured["accuracy"] = sum(part[1] for part, _ in parts) / count
        return measured

    @torch.no_grad()
    def outputs(self, state: State, pool: Pool, split: str) -> Tensor:
        """Returns logits or values, in the order of the rows."""
        if any(state.ensembles):
            each = [self._outputs_of_run(state, pool, split, run) for run in range(self._lift.runs or 1)]
            return torch.stack(each) if self._lift.runs is not None else each[0]
        return torch.cat([out for out, _ in self._passes(state, pool, split, self._called_one)], self._lift.lead)

    @torch.no_grad()
    def row_losses(self, outputs: Tensor, pool: Pool, split: str) -> Tensor:
        """Returns the loss of each row, `(rows,)`, or with a leading axis of runs.

        Args:
            outputs: The result of `outputs`.
            pool: The rows of all runs.
            split: The split.
        """
        rows = self._rows[split]
        own = None if rows is None or rows.ndim == 1 else 0
        lifted = self._lift(self._row_losses_one, (0, 0, own))
        return lifted(outputs, self._shown_settings(), pool.y if rows is None else pool.y[rows])  # type: ignore[no-any-return]

    def _row_losses_one(self, outputs: Tensor, settings: Settings, y: Tensor) -> Tensor:
        return self._program.loss.per_sample(outputs, y, settings.get(SETTINGS_KEY, {}))

    def _measured_ensembles(self, state: State, pool: Pool, split: str) -> dict[str, Tensor]:
        """Like `measure`, for runs that end with ensembles: one run at a time, because ensemble sizes may differ."""
        measured: dict[str, list[Tensor]] = {}
        for run in range(self._lift.runs or 1):
            outputs, y = self._outputs_of_run(state, pool, split, run), pool.y[self.rows_of_run(split, pool, run)]
            settings = self._lift.of_run(self._shown_settings(), run)
            measured.setdefault("loss", []).append(self._program.loss.mean(outputs, y, settings.get(SETTINGS_KEY, {})))
            if self._program.task.is_classification:
                measured.setdefault("accuracy", []).append((outputs.argmax(-1) == y).to(outputs.dtype).mean())
        is_stack = self._lift.runs is not None
        return {name: torch.stack(each) if is_stack else each[0] for name, each in measured.items()}

    def _outputs_of_run(self, state: State, pool: Pool, split: str, run: int) -> Tensor:
        """Returns the outputs of one run, with all its networks combined, in the order of the rows."""
        own = partial(self._lift.of_run, run=run)
        networks = state.ensembles[run] or [(own(state.params), own(state.buffers))]
        settings = own(self._shown_settings())
        parts = torch.split(self.rows_of_run(split, pool, run), self._rows_at_once(pool))
        each: list[list[Tensor]] = [[] for _ in networks]
        with in_mode(self._program.model, training=False):
            for x in rows_in_turn(pool.x, parts):
                for outputs, network in zip(each, networks, strict=True):
                    outputs.append(self._called_one(*network, settings, x, x))
        return combined([torch.cat(one) for one in each], self._program.task.kind)

    def _shown_settings(self) -> Settings:
        """Returns the settings that an evaluation needs: the loss's, or all of them if a layer acts in evaluation."""
        now = self._settings.at(self.clock.index - 1)
        if self._program.acts_in_evaluation:
            return now
        return {SETTINGS_KEY: now[SETTINGS_KEY]} if SETTINGS_KEY in now else {}

    def rows_of_run(self, split: str, pool: Pool, run: int) -> Tensor:
        """Returns which rows of a pool are a run's."""
        rows = self._rows[split]
        if rows is None:
            return torch.arange(len(pool), device=pool.x.device)
        return rows if rows.ndim == 1 else rows[run]

    def _called_one(self, params: Tensors, buffers: Tensors, settings: Settings, x: Tensor, y: Tensor) -> Tensor:
        if not self._program.acts_in_evaluation:
            return self._program.call(params, buffers, x)
        return self._program.forward(params, buffers, Step(settings, {}, self.clock), x).logits

    def _measured_one(
        self, params: Tensors, buffers: Tensors, settings: Settings, x: Tensor, y: Tensor
    ) -> tuple[Tensor, ...]:
        outputs = self._called_one(params, buffers, settings, x, y)
        loss = self._program.loss.mean(outputs, y, settings.get(SETTINGS_KEY, {}))
        if not self._program.task.is_classification:
            return (loss,)
        return loss, (outputs.argmax(-1) == y).sum()

    def _passes(self, state: State, pool: Pool, split: str, function: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
        """Applies a function of a run's tensors, x and y to each part of a split; yields its results and row counts."""
        params, buffers = self._tensors(state)
        settings = self._shown_settings()
        rows = self._rows[split]
        total = len(pool) if rows is None else rows.shape[-1]
        size = self._rows_at_once(pool)
        own = None if rows is None or rows.ndim == 1 else 0
        lifted = self._lift(function, (0, 0, 0, own, own))
        with in_mode(self._program.model, training=False):
            for x, y in self._parts(split, pool, total, size):
                yield lifted(params, buffers, settings, x, y), y.shape[0 if own is None else 1]

    def _parts(self, split: str, pool: Pool, total: int, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields a split in parts. A small split with different rows for each run is gathered only once."""
        rows = self._rows[split]
        places = [slice(start, min(start + size, total)) for start in range(0, total, size)]
        indices = places if rows is None else [rows[..., place] for place in places]
        parts = zip(rows_in_turn(pool.x, indices), rows_in_turn(pool.y, indices), strict=True)
        numbers = 0 if rows is None else rows.numel() * math.prod(pool.x.shape[1:])
        if rows is None or rows.ndim == 1 or len(indices) > 1 or numbers > EVALUATION_NUMBERS:
            yield from parts
            return
        kept = self._kept.get(split)
        if kept is None or kept[0] is not pool:
            kept = self._kept[split] = pool, next(parts)
        yield kept[1]

    def _rows_at_once(self, pool: Pool) -> int:
        row = max(1, math.prod(pool.x.shape[1:]))
        most = max(1, LARGEST_EVALUATION // row)
        if self._lift.runs is None:
            return min(EVALUATION_ROWS, most)
        short = min(4 * EVALUATION_ROWS, EVALUATION_NUMBERS // row)
        return max(1, min(max(EVALUATION_ROWS, short), most) // self._lift.runs)

    @torch.no_grad()
    def tensors_of(self, state: State, run: int) -> Member:
        """Returns the parameters and buffers of one run, as used in evaluation."""
        own = partial(self._lift.of_run, run=run)
        params, buffers = self._tensors(state)
        return own(params), own(buffers)

    def _tensors(self, state: State) -> Member:
        if not self._acts:
            return state.params, state.buffers
        if self._seen is None:
            self._seen = self._evaluated(state)
        return self._seen

    def _evaluated(self, state: State) -> Member:
        """Applies the members' `evaluated` to the state."""
        sample = self._sample()
        shared = None if self._lift.runs is None or (sample and sample[0].is_shared) else 0
        lifted = self._lift(self._evaluated_one, (0, 0, 0, 0, 0, shared))
        noise = [batch.noise for batch in sample]
        rows = [{"x": batch.x, "y": batch.y, "rows": batch.rows} for batch in sample]
        settings = self._settings.at(self.clock.index - 1)
        return lifted(state.params, state.buffers, settings, state.regularizer, noise, rows)  # type: ignore[no-any-return]

    def _evaluated_one(
        self, params: Tensors, buffers: Tensors, settings: Settings, state: Tensors, noise: Any, rows: Any
    ) -> Member:
        step = Step(settings, {}, self.clock, state=state)
        passes = RunPasses(self._program, params, buffers, [])
        passes.sample = [_step_of(own, drawn, step, passes) for own, drawn in zip(rows, noise, strict=True)]
        step.attach(passes)
        try:
            return self._program.regularizer.evaluated(step, params, buffers)
        finally:
            passes.sample = []  # its steps refer to the passes, and a cycle would keep the sample in memory

    @torch.no_grad()
    def finalize(self, state: State, feed: Feed) -> None:
        """Applies `finalize` to one run at a time, and writes the resulting tensors into the state."""
        settings = self._settings.at(self.clock.index - 1)
        state.ensembles = []
        for run in range(self._lift.runs or 1):
            own = partial(self._lift.of_run, run=run)
            params, buffers = own(state.params), own(state.buffers)
            passes = RunPasses(self._program, params, buffers)
            step = Step(own(settings), {}, self.clock, state=own(state.regularizer), passes=passes)
            batches = _Batches(feed, run if self._lift.runs is not None else None, step, passes)
            networks = self._program.regularizer.finalize(step, params, buffers, batches)
            state.ensembles.append([] if len(networks) == 1 else [_copied(network) for network in networks])
            write_(params, networks[-1][0])
            write_(buffers, networks[-1][1])
        self.forget()


class _Batches:
    """The training batches of one run as steps with their own noise; can be iterated more than once."""

    def __init__(self, feed: Feed, run: int | None, step: Step, passes: RunPasses) -> None:
        self._feed, self._run, self._step, self._passes = feed, run, step, passes

    def __iter__(self) -> Iterator[Step]:
        for batch in self._feed.epoch("finish"):
            one = batch if self._run is None else self._feed.of_run(batch, self._run)
            rows = {"x": one.x, "y": one.y, "rows": one.rows}
            yield _step_of(rows, one.noise, self._step, self._passes)


def _step_of(rows: Tensors, noise: Any, like: Step, passes: RunPasses) -> Step:
    """Returns a step on these rows, with the settings, clock and state of another step."""
    batch = Batch(rows["x"], rows["y"], rows["y"], rows["rows"])
    return Step(like.settings, noise, like.clock, state=like.state, batch=batch, passes=passes)


def _copied(network: Member) -> Member:
    params, buffers = network
    return {n: t.detach().clone() for n, t in params.items()}, {n: t.detach().clone() for n, t in buffers.items()}


def _rows_of(runs: Sequence[RunInputs], split: str, lift: Lift) -> Tensor | None:
    rows = [getattr(run, f"{split}_rows") for run in runs]
    if rows[0] is None:
        return None
    if lift.runs is None or all(r is rows[0] or torch.equal(r, rows[0]) for r in rows[1:]):
        return rows[0]  # type: ignore[no-any-return]
    return torch.stack(rows)

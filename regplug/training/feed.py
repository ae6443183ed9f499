"""Batches and noise, by the block: gathered once for many steps, in each run's own order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regplug.data import order
from regplug.noise import Draw, Key, NoiseStream, at_step, block_length
from regplug.training.lift import Lift
from regplug.training.state import Pool, RunInputs


class Batch(NamedTuple):
    """One step's data.

    Args:
        number: Which step of the epoch.
        x: Inputs `(batch, ...)`, or `(runs, batch, ...)` where runs have orders of their own.
        y: Targets, likewise.
        noise: Component -> key -> tensor.
        size: Rows of one run's batch.
    """

    number: int
    x: Tensor
    y: Tensor
    noise: dict[str, dict[str, Tensor]]
    size: int


class Feed:
    """Yields the batches of an epoch.

    Args:
        pool: The training rows.
        runs: What each run brings.
        lift: One run or a stack.
        draws: What each run needs of noise at each step.
        batch_size: Rows in a batch.
        shuffle: Whether each epoch has an order of its own.
    """

    def __init__(
        self,
        *,
        pool: Pool,
        runs: Sequence[RunInputs],
        lift: Lift,
        draws: Sequence[Mapping[Key, Draw]],
        batch_size: int,
        shuffle: bool,
    ) -> None:
        self._pool, self._runs, self._lift, self._draws = pool, tuple(runs), lift, tuple(draws)
        self._batch_size, self._shuffle = batch_size, shuffle
        self.rows = len(pool) if runs[0].train_rows is None else len(runs[0].train_rows)
        self.steps = -(-self.rows // batch_size)
        self._length = block_length(draws, self.steps, batch_size * math.prod(pool.x.shape[1:]))
        floating = pool.x.dtype if pool.x.is_floating_point() else torch.get_default_dtype()
        self._streams = [
            NoiseStream(run.seed, own, length=self._length, dtype=floating, device=pool.x.device)
            for run, own in zip(self._runs, self._draws, strict=True)
        ]
        # Runs of one seed on the same rows share order and batch: they are gathered once.
        self._leaders, self._follows = _groups(self._runs)
        self.is_shared = lift.runs is None or len(self._leaders) == 1

    def epoch(self, epoch: int | str) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            epoch: Epochs done before, or a word for a pass over the data that is no epoch.
        """
        rows = self._order(epoch)
        span = self._length * self._batch_size
        for number, start in enumerate(range(0, self.rows, span)):
            part = rows[..., start : start + span]
            axis = part.ndim - 1
            xs = torch.split(self._gather(self._pool.x, part), self._batch_size, axis)
            ys = torch.split(self._gather(self._pool.y, part), self._batch_size, axis)
            noise = self._block(epoch, number)
            for step, (x, y) in enumerate(zip(xs, ys, strict=True)):
                size = y.shape[axis]
                drawn = at_step(noise, self._draws[0], step, size, self._lift.lead) if noise else {}
                yield Batch(number * self._length + step, x, y, drawn, size)

    def of_run(self, batch: Batch, run: int) -> Batch:
        """One run's part of a stacked batch."""
        noise = {key: {name: value[run] for name, value in own.items()} for key, own in batch.noise.items()}
        x, y = (batch.x, batch.y) if self.is_shared else (batch.x[run], batch.y[run])
        return batch._replace(x=x, y=y, noise=noise)

    def _gather(self, values: Tensor, rows: Tensor) -> Tensor:
        return values.index_select(0, rows) if rows.ndim == 1 else values[rows]

    def _order(self, epoch: int | str) -> Tensor:
        if self.is_shared:
            return self._order_of(self._runs[0], epoch).to(self._pool.x.device)
        orders = torch.stack([self._order_of(self._runs[first], epoch) for first in self._leaders])
        return orders[self._follows].to(self._pool.x.device)

    def _order_of(self, run: RunInputs, epoch: int | str) -> Tensor:
        rows = order(self.rows, run.seed, epoch, self._shuffle)
        return rows if run.train_rows is None else run.train_rows[rows]

    def _block(self, epoch: int | str, number: int) -> dict[Key, Tensor]:
        if not self._draws[0]:
            return {}
        blocks = [stream.block(epoch, number) for stream in self._streams]
        if self._lift.runs is None:
            return blocks[0]
        return {key: torch.stack([block[key] for block in blocks], dim=1) for key in blocks[0]}


def _groups(runs: Sequence[RunInputs]) -> tuple[list[int], Tensor]:
    """Runs by their order of rows: the first of each group, and to which group each run belongs."""
    firsts: dict[Any, int] = {}
    of_run = []
    for number, run in enumerate(runs):
        rows = None if run.train_rows is None else run.train_rows.numpy(force=True).tobytes()
        firsts.setdefault((run.seed, rows), number)
        of_run.append(list(firsts).index((run.seed, rows)))
    return list(firsts.values()), torch.tensor(of_run)


def cut(rows: Tensor | None, pool: Pool, start: int, stop: int) -> tuple[Any, Any]:
    """A slice of a pool's rows, or of those that a run names."""
    if rows is None:
        return pool.x[start:stop], pool.y[start:stop]
    part = rows[..., start:stop]
    return pool.x[part], pool.y[part]

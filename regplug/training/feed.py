"""Batches and noise. Both are prepared in blocks of many steps, in each run's own order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from regplug.data import order
from regplug.data.inputs import rows_in_turn
from regplug.noise import Draw, Key, NoiseStream, at_step, block_length
from regplug.training.lift import Lift
from regplug.training.state import Pool, RunInputs


class FedBatch(NamedTuple):
    """One step's data.

    Args:
        number: Which step of the epoch.
        x: Inputs `(batch, ...)`, or `(runs, batch, ...)` where runs have orders of their own.
        y: Targets, likewise.
        rows: Numbers of the rows in the training split, likewise; int64.
        noise: Component -> key -> tensor.
        size: Rows of one run's batch.
        is_shared: Whether the runs of a stack share it.
    """

    number: int
    x: Tensor
    y: Tensor
    rows: Tensor
    noise: dict[str, dict[str, Tensor]]
    size: int
    is_shared: bool


class Feed:
    """Yields the batches of an epoch.

    Args:
        pool: The training rows.
        runs: What each run brings.
        lift: One run or a stack.
        draws: The noise that each run needs at each step.
        batch_size: Rows in a batch.
        shuffle: Whether each epoch has an order of its own.
        needs_two_rows: Whether an epoch leaves out a last batch of one row, as batch normalization needs.
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
        needs_two_rows: bool = False,
    ) -> None:
        self._pool, self._runs, self._lift, self._draws = pool, tuple(runs), lift, tuple(draws)
        self._batch_size, self._shuffle = batch_size, shuffle
        self.rows = runs[0].count_rows(pool)
        self._used = rows_of_an_epoch(self.rows, batch_size, needs_two_rows=needs_two_rows)
        self.steps = -(-self._used // batch_size)
        self._length = block_length(draws, self.steps, batch_size * math.prod(pool.x.shape[1:]))
        floating = pool.x.dtype if pool.x.is_floating_point() else torch.get_default_dtype()
        self._streams = [
            NoiseStream(run.seed, own, length=self._length, dtype=floating, device=pool.x.device)
            for run, own in zip(self._runs, self._draws, strict=True)
        ]
        # Runs with the same seed and the same rows share order and batches, which are gathered once.
        self._leaders, self._follows = _groups(self._runs)
        self.is_shared = lift.runs is None or len(self._leaders) == 1

    def epoch(self, epoch: int | str) -> Iterator[FedBatch]:
        """Yields the batches of one epoch.

        Args:
            epoch: Epochs done before, or a word that names a pass over the data outside training.
        """
        order, in_pool = self._order(epoch)
        axis = order.ndim - 1
        rows = torch.split(order[..., : self._used], self._batch_size, axis)
        parts = torch.split(in_pool[..., : self._used], self._batch_size, axis)
        xs = rows_in_turn(self._pool.x, parts, self._length)
        ys = rows_in_turn(self._pool.y, parts, self._length)
        noise: dict[Key, Tensor] = {}
        for number, (own, x, y) in enumerate(zip(rows, xs, ys, strict=True)):
            block, step = divmod(number, self._length)
            if step == 0:
                noise = self._block(epoch, block)
            size = y.shape[axis]
            drawn = at_step(noise, self._draws[0], step, size, self._lift.lead) if noise else {}
            yield FedBatch(number, x, y, own, drawn, size, self.is_shared)

    def of_run(self, batch: FedBatch, run: int) -> FedBatch:
        """Returns one run's part of a stacked batch."""
        noise = {key: {name: value[run] for name, value in own.items()} for key, own in batch.noise.items()}
        if self.is_shared:
            return batch._replace(noise=noise)
        return batch._replace(x=batch.x[run], y=batch.y[run], rows=batch.rows[run], noise=noise)

    def _order(self, epoch: int | str) -> tuple[Tensor, Tensor]:
        """Returns the rows of an epoch in order, as indices into the training split and into the pool."""
        device = self._pool.x.device
        if self.is_shared:
            rows = order(self.rows, self._runs[0].seed, epoch, self._shuffle).to(device)
            return rows, self._in_pool(self._runs[0], rows)
        leaders = [self._runs[first] for first in self._leaders]
        orders = [order(self.rows, run.seed, epoch, self._shuffle).to(device) for run in leaders]
        in_pool = [self._in_pool(run, rows) for run, rows in zip(leaders, orders, strict=True)]
        return torch.stack(orders)[self._follows], torch.stack(in_pool)[self._follows]

    def _in_pool(self, run: RunInputs, rows: Tensor) -> Tensor:
        return rows if run.train_rows is None else run.train_rows.to(rows.device)[rows]

    def _block(self, epoch: int | str, number: int) -> dict[Key, Tensor]:
        if not self._draws[0]:
            return {}
        blocks = [stream.block(epoch, number) for stream in self._streams]
        if self._lift.runs is None:
            return blocks[0]
        return {key: torch.stack([block[key] for block in blocks], dim=1) for key in blocks[0]}


def rows_of_an_epoch(rows: int, batch_size: int, *, needs_two_rows: bool) -> int:
    """How many of the training rows an epoch takes: all, or all but one where that one would be a batch of its own.

    >>> rows_of_an_epoch(65, 32, needs_two_rows=True), rows_of_an_epoch(65, 32, needs_two_rows=False)
    (64, 65)
    """
    return rows - 1 if needs_two_rows and rows > batch_size and rows % batch_size == 1 else rows


def _groups(runs: Sequence[RunInputs]) -> tuple[list[int], Tensor]:
    """Groups runs by row order: returns the first run of each group, and the group of each run."""
    firsts: dict[Any, int] = {}
    of_run = []
    for number, run in enumerate(runs):
        rows = None if run.train_rows is None else run.train_rows.numpy(force=True).tobytes()
        firsts.setdefault((run.seed, rows), number)
        of_run.append(list(firsts).index((run.seed, rows)))
    return list(firsts.values()), torch.tensor(of_run)

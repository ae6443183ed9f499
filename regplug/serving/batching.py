"""Computes waiting requests together: while one batch is computed, the next one gathers."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

from regplug.bundles.formats import Array

MOST_ROWS = 512
"""Rows of the largest batch; a request with more is computed in parts."""

MOST_WAITING = 16_384
"""Rows that may wait; further requests are refused until there is room."""

Result: TypeAlias = tuple[Array, Array]
Rows: TypeAlias = Any
"""An array `(B, ...)`, or anything else with a length and slices if requests share no batch."""

Compute: TypeAlias = Callable[[Rows], Result]
_Job: TypeAlias = "tuple[Rows, asyncio.Future[Result]]"


MOST_BLOCKING_S = 0.002
"""Time for which a batch may keep the server from reading other requests."""


class OverloadedError(Exception):
    """Too many rows are waiting."""


class Batcher:
    """Computes the rows of several requests in one call.

    No request waits for others to arrive: a free model takes whatever waits. Under load, batches grow by themselves.

    Args:
        compute: Maps rows `(B, ...)` to two arrays with as many rows; called in one thread.
        is_batched: Whether rows of several requests may share a batch.
        observe: Receives the number of rows of each batch.
    """

    def __init__(self, compute: Compute, *, is_batched: bool, observe: Callable[[int], object]) -> None:
        self._compute, self._is_batched, self._observe = compute, is_batched, observe
        self._jobs: deque[_Job] = deque()
        self._waiting_rows = 0
        self._is_filled = asyncio.Event()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="regplug-model")
        self._row_s = math.inf
        self._worker: asyncio.Task[None] | None = None

    @property
    def waiting_rows(self) -> int:
        """Number of rows that wait."""
        return self._waiting_rows

    def start(self) -> None:
        """Starts to work, in the running event loop."""
        self._worker = asyncio.get_running_loop().create_task(self._work())

    async def close(self) -> None:
        """Ends the work; requests must have ended before."""
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker
        self._thread.shutdown()

    async def submit(self, rows: Rows) -> Result:
        """Returns the results of the rows of one request.

        Raises:
            OverloadedError: Too many rows are waiting.
        """
        if self._jobs and self._waiting_rows + len(rows) > MOST_WAITING:
            raise OverloadedError
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._jobs.append((rows, future))
        self._waiting_rows += len(rows)
        self._is_filled.set()
        return await future

    async def _work(self) -> None:
        while True:
            await self._is_filled.wait()
            # Requests that arrived together are read first, so that they share a batch.
            await asyncio.sleep(0)
            batch = self._take()
            results = await self._compute_somewhere([rows for rows, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, BaseException):
                    future.set_exception(result)
                else:
                    future.set_result(result)

    async def _compute_somewhere(self, parts: Sequence[Rows]) -> list[Result | Exception]:
        """Computes here what takes less time than waking a thread twice, and anything else in the thread."""
        count = sum(map(len, parts))
        if self._row_s * count < MOST_BLOCKING_S:
            return self._compute_all(parts)
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._compute_all, parts)

    def _take(self) -> list[_Job]:
        batch = [self._jobs.popleft()]
        count = len(batch[0][0])
        while self._is_batched and self._jobs and count + len(self._jobs[0][0]) <= MOST_ROWS:
            batch.append(self._jobs.popleft())
            count += len(batch[-1][0])
        self._waiting_rows -= count
        if not self._jobs:
            self._is_filled.clear()
        return batch

    def _compute_all(self, parts: Sequence[Rows]) -> list[Result | Exception]:
        """Returns the result of each part; if a batch fails, each part is computed alone."""
        try:
            return list(self._together(parts))
        except Exception as error:
            if len(parts) == 1:
                return [error]
            return [self._compute_all([part])[0] for part in parts]

    def _together(self, parts: Sequence[Rows]) -> list[Result]:
        rows = parts[0] if len(parts) == 1 else np.concatenate(parts)
        starts = range(0, len(rows), MOST_ROWS)
        pieces = []
        for start in starts:
            piece = rows[start : start + MOST_ROWS]
            self._observe(len(piece))
            began = time.perf_counter()
            pieces.append(self._compute(piece))
            self._row_s = (time.perf_counter() - began) / len(piece)
        first, second = (np.concatenate(piece) for piece in zip(*pieces, strict=True))
        ends = np.cumsum([len(part) for part in parts])[:-1]
        return list(zip(np.split(first, ends), np.split(second, ends), strict=True))

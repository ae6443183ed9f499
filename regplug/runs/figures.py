"""Draws the figures of a run while the run goes on, and logs them when everything else is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from regplug.errors import FailedError
from regplug.runs.background_process import Executor
from regplug.tracking import TrackedRun


class Figures:
    """The figures of one run.

    Args:
        computing: Draws them.
    """

    def __init__(self, computing: Executor) -> None:
        self._computing = computing
        self._drawn: dict[str, tuple[Future[bytes], Callable[[], bytes]]] = {}

    def draw(self, file: str, function: Callable[..., bytes], *args: Any) -> None:
        """Starts drawing a figure.

        Args:
            file: Its name among the run's files.
            function: A module-level function that returns the PNG.
            args: Its arguments.
        """
        self._drawn[file] = self._computing.submit(function, *args), partial(function, *args)

    @contextmanager
    def logged_to(self, tracked: TrackedRun) -> Iterator[None]:
        """Logs the figures at the end of the block, also after an error in it."""
        try:
            yield
        finally:
            while self._drawn:
                file, (future, draw_here) = self._drawn.popitem()
                try:
                    png = future.result()
                except FailedError:  # the other process is gone, for example because memory ran out
                    png = draw_here()
                tracked.log_figure_png(png, file)

"""Notices a store that no longer responds, long before the write itself fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from regplug.errors import TrackingError
from regplug.tracking import reaching
from regplug.tracking.trouble import explain

LOOK_EVERY_S = 0.5
"""Time between two looks."""


class Watch:
    """Looks from a thread of its own whether a write takes long because the store is gone.

    Args:
        reach: Raises an error if the store cannot be reached; `None` for a file, which is not watched.
    """

    def __init__(self, reach: Callable[[], object] | None) -> None:
        self._reach = reach
        self._busy_since: float | None = None
        self._ended = threading.Event()

    def start(self, lose: Callable[[TrackingError], object], is_lost: Callable[[], bool]) -> None:
        """Starts the thread.

        Args:
            lose: Called with the error when the store does not respond.
            is_lost: Whether that is known already.
        """
        if self._reach is not None:
            looking = threading.Thread(target=self._look, args=(lose, is_lost), name="regplug-tracking-watch")
            looking.daemon = True
            looking.start()

    def stop(self) -> None:
        """Ends the thread."""
        self._ended.set()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Marks the time of a write."""
        self._busy_since = time.monotonic()
        try:
            yield
        finally:
            self._busy_since = None

    def is_stuck(self, after_s: float) -> bool:
        """Whether a write has taken longer than this, and the store does not respond."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > after_s and self._unreached() is not None

    def _look(self, lose: Callable[[TrackingError], object], is_lost: Callable[[], bool]) -> None:
        while not self._ended.wait(LOOK_EVERY_S):
            since = self._busy_since
            if is_lost() or since is None or time.monotonic() - since < reaching.STUCK_AFTER_S:
                continue
            error = self._unreached()
            if error is not None and self._busy_since == since:
                lose(error)

    def _unreached(self) -> TrackingError | None:
        """Returns why the store cannot be reached; a file always can."""
        try:
            if self._reach is not None:
                self._reach()
        except Exception as error:  # whatever it is, nothing can be sent
            return explain("The tracking store does not respond", error)
        return None

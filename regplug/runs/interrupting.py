"""Ctrl-C while a run trains: the first ends the training after the current epoch, the second ends the run at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def interrupted_softly(tell: Callable[[str], None], *, is_on: bool, what: str = "run") -> Iterator[Callable[[], bool]]:
    """Yields a function that returns whether the user pressed Ctrl-C in the block.

    Outside the main thread, where Python allows no signal handlers, and where somebody else handles or ignores Ctrl-C,
    nothing changes.

    Args:
        tell: Receives the message that the training will end.
        is_on: Whether the first Ctrl-C is noted; else it raises `KeyboardInterrupt` as always.
        what: What trains: a run or a study.
    """
    presses: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's arguments
        if presses:
            raise KeyboardInterrupt
        presses.append(number)
        tell(f"The training ends after this epoch. Press Ctrl-C again to end the {what} at once.")

    is_main = threading.current_thread() is threading.main_thread()
    if not is_on or not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield lambda: False
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(presses)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)

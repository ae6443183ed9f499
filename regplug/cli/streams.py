"""Standard streams that outlive their readers.

A run must not end because nobody reads its output any more, or because the output cannot be written: what cannot be
written is dropped, and the process tells so at its end.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO


class Outlet(io.FileIO):
    """Writes to a file descriptor until that fails once, and drops everything after that.

    Args:
        descriptor: Number of the open file, which stays open when this object is closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.trouble: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes, or drops, and returns the number of bytes."""
        while self.trouble is None:
            try:
                # What writes nothing is a full pipe that somebody has set to non-blocking.
                if (written := super().write(data)) is not None:
                    return written
                select.select([], [self], [])
            except OSError as error:
                self.trouble = error
        return memoryview(data).nbytes

    @property
    def complaint(self) -> str:
        """Why output was lost, in words; empty where none was, and where its reader wanted no more (`| head -1`)."""
        is_lost = self.trouble is not None and not isinstance(self.trouble, BrokenPipeError)
        return f"The output could not be written: {self.trouble.strerror}." if is_lost and self.trouble else ""


def guard_streams() -> Outlet:
    """Replaces stdout and stderr by streams that never raise, and returns the outlet of stdout.

    A standard stream that the caller closed is opened on the null device: otherwise the next file to be opened, such as
    the tracking database, would get its number, and whatever a library prints would be written into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    outlet = Outlet(1)
    sys.stdout = _text(outlet, sys.stdout)
    sys.stderr = _text(Outlet(2), sys.stderr)
    return outlet


def _text(outlet: Outlet, like: TextIO | None) -> TextIO:
    """A text stream with the settings of another; a character that it cannot encode is written as an escape."""
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=getattr(like, "line_buffering", True),
        write_through=getattr(like, "write_through", False),
    )

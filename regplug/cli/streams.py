"""Standard streams that never raise.

A run must not end because its output is no longer read or cannot be written: such output is dropped, and the process
reports this at its end.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, TextIO


class Outlet(io.FileIO):
    """Writes to a file descriptor until a write fails, then drops all further output.

    Args:
        descriptor: Number of the open file, which stays open when this object is closed.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.trouble: OSError | None = None

    def write(self, data: Any) -> int:
        """Writes or drops the data and returns its number of bytes."""
        while self.trouble is None:
            try:
                # `None` means a full pipe in non-blocking mode.
                if (written := super().write(data)) is not None:
                    return written
                select.select([], [self], [])
            except OSError as error:
                self.trouble = error
        return memoryview(data).nbytes

    @property
    def complaint(self) -> str:
        """Why output was lost; empty if none was, or if its reader closed the pipe (`| head -1`)."""
        is_lost = self.trouble is not None and not isinstance(self.trouble, BrokenPipeError)
        return f"The output could not be written: {self.trouble.strerror}." if is_lost and self.trouble else ""


def guard_streams() -> Outlet:
    """Replaces stdout and stderr by streams that never raise, and returns the outlet of stdout.

    A standard stream that the caller closed is opened on the null device. Otherwise the next opened file, such as the
    tracking database, would get its descriptor, and output of libraries would be written into that file.
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
    """Returns a text stream with the settings of another; characters that it cannot encode are escaped."""
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=getattr(like, "line_buffering", True),
        write_through=getattr(like, "write_through", False),
    )

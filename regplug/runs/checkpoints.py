"""Saves the progress of a run on disk while it trains, so that it can be resumed.

A checkpoint is written after an epoch, in a thread beside the training, and replaces the one before only when it is
whole. Checkpoints are spaced so that they take at most a fiftieth of the time.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from regplug.errors import RequestError

_SHARE = 0.02
"""The largest share of the time that checkpoints may take."""

_VERSION = 1


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last of them.

    Args:
        path: The file; its folder is created.
        every_s: Seconds between two checkpoints; 0 for none.
        tell: Receives a message if a checkpoint cannot be written. The training continues.
    """

    def __init__(self, path: Path, every_s: float, tell: Callable[[str], None]) -> None:
        self.path, self._every_s, self._tell = path, every_s, tell
        self._writing: threading.Thread | None = None
        self._trouble = ""
        self._is_told = False
        self._cost_s = 0.0
        self._last = time.monotonic()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self._wait()

    def offer(self, progress: Callable[[], Mapping[str, Any]], *, must: bool = False) -> None:
        """Saves a checkpoint if it is time for one.

        Args:
            progress: Returns what to save: tensors that nobody changes later, and plain values.
            must: Whether it is time in any case. The checkpoint is then on disk when this returns.
        """
        self._tell_trouble()
        is_due = time.monotonic() - self._last >= max(self._every_s, self._cost_s / _SHARE)
        is_busy = self._writing is not None and self._writing.is_alive()
        if not self._every_s or not (must or (is_due and not is_busy)):
            return
        self._wait()
        began = time.monotonic()
        saved = {"version": _VERSION, **progress()}
        writing = threading.Thread(target=self._write, args=(saved, began), name="regplug-checkpoint")
        try:
            writing.start()
        except RuntimeError:  # there is no room for another thread
            self._write(saved, began)
        else:
            self._writing = writing
        if must:
            self._wait()
            self._tell_trouble()

    def remove(self) -> None:
        """Removes the checkpoint of a run that is finished, and drafts that killed processes left."""
        self._wait()
        for path in (self.path, *self.path.parent.glob(f"{self.path.name}.*.part")):
            _remove(path)

    def _write(self, saved: Mapping[str, Any], began: float) -> None:
        draft = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as file:
                torch.save(saved, file)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self.path)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            self._trouble = str(error)
            _remove(draft)
        self._last = time.monotonic()
        self._cost_s = self._last - began

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.join()

    def _tell_trouble(self) -> None:
        if self._trouble and not self._is_told:
            self._is_told = True
            self._tell(
                f"A checkpoint could not be written to {self.path}: {self._trouble}. The run continues; if it is "
                "interrupted, it can only be resumed from an earlier checkpoint."
            )


def _remove(path: Path) -> None:
    """Removes a file; one that cannot be removed is left, because the run itself is not affected."""
    with contextlib.suppress(OSError):
        path.unlink()


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """Returns a saved checkpoint, or `None` if none was written.

    Raises:
        RequestError: The file is not a checkpoint of this version.
    """
    if not path.exists():
        return None
    hint = f"Remove {path} to train the run from its beginning."
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        version = saved["version"]
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise RequestError(f"The checkpoint {path} cannot be read: {error}", hint=hint) from error
    if version != _VERSION:
        raise RequestError(f"The checkpoint {path} was written by another version of regplug.", hint=hint)
    return saved

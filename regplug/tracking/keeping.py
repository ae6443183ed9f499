"""Keeps the waiting writes of a run on disk while its store is lost, as far as the disk allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from regplug.tracking.outbox import Outbox
from regplug.tracking.records import Call, Records


class Keeping:
    """The waiting writes of a run in its outbox; without one, or on a full disk, they only wait in memory.

    Args:
        outbox: The outbox, or `None`.
    """

    def __init__(self, outbox: Outbox | None) -> None:
        self._outbox = outbox
        self._places: dict[Call, Path] = {}
        self._trouble = ""

    @property
    def where(self) -> str:
        """What to tell the user: where the records are."""
        if self._trouble:
            return f"wait in memory, because they cannot be kept on disk ({self._trouble}),"
        return "wait in memory" if self._outbox is None else f"are kept in {self._outbox.path}"

    def add_all(self, records: Records, calls: Sequence[Call]) -> None:
        """Keeps all that waits when the store is lost."""
        self.add_records(records)
        for call in calls:
            self.add_call(call)

    def add_records(self, records: Records) -> None:
        """Keeps further records."""
        with self._keeping() as outbox:
            if outbox is not None:
                outbox.keep_records(records)

    def add_call(self, call: Call) -> None:
        """Keeps another write."""
        with self._keeping() as outbox:
            if outbox is not None and call not in self._places:
                self._places[call] = outbox.keep_call(call)

    def replace_records(self, records: Records) -> None:
        """Keeps only these records, because the others were delivered."""
        with self._keeping() as outbox:
            if outbox is not None:
                outbox.replace_records(records)

    def drop_call(self, call: Call) -> None:
        """Removes a write, because it was delivered."""
        place = self._places.pop(call, None)
        if self._outbox is not None and place is not None:
            with suppress(OSError):  # delivering it once more does no harm
                self._outbox.drop_call(place)

    def end(self, status: str, why: str) -> Path | None:
        """Keeps how the run ended; returns where, or `None` if it could not."""
        with self._keeping() as outbox:
            if outbox is not None:
                outbox.keep_end(status, why)
        return None if self._outbox is None else self._outbox.path

    def release(self) -> None:
        """Leaves everything to be delivered later, by any process."""
        if self._outbox is not None:
            self._outbox.release()

    def discard(self) -> None:
        """Removes all, because it was delivered."""
        if self._outbox is not None:
            self._outbox.discard()
        self._places.clear()

    @contextmanager
    def _keeping(self) -> Iterator[Outbox | None]:
        """Yields the outbox; gives it up if the disk cannot be written."""
        try:
            yield self._outbox
        except OSError as error:
            if self._outbox is not None:
                self._outbox.release()
            self._outbox, self._trouble = None, str(error)

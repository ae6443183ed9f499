"""Shows the sweeps of a study of the lab on stderr, one after another."""

from __future__ import annotations

from types import TracebackType

from regplug.cli.live_study import LiveStudy


class LiveLab(LiveStudy):
    """Shows sweeps without their warnings: an experiment is often one that a warning advises against.

    The warnings are stored with each sweep.
    """

    def warned(self, message: str) -> None:
        """Does nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A study of the lab is not continued by its next attempt, so only the display ends.
        super().__exit__(None, None, None)

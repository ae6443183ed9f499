"""Observers that plugins add: they receive the events of every run and cannot end one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol

from regplug.errors import RegplugError
from regplug.registry import Registered, Registry, build
from regplug.registry.faults import is_fault, told
from regplug.runs.results import Observer, RunEpoch, RunFinished, RunStarted


class Warned(Protocol):
    """Receives warnings."""

    def warned(self, message: str) -> None:
        """Called when something went wrong that does not end the run."""


class PluginObservers(Observer):
    """All observers of plugins during one run, or during the runs of one study.

    What one raises becomes a warning, and it is not called again in this run: an observer that waits for a server that
    is gone would make every epoch wait.

    Args:
        registry: What is installed.
        others: Observers that receive warnings.
        of: What they observe, `run` or `study`.
    """

    def __init__(self, registry: Registry, others: Sequence[Warned] = (), *, of: str = "run") -> None:
        self.warnings: list[str] = []
        self._others, self._of = others, of
        self._listening: dict[Registered, Any] = {}
        for one in registry.components("observer"):
            try:
                self._listening[one] = _made(one)
            except BaseException as error:
                self._drop(one, "when it was created", error)

    def hears(self, method: str) -> bool:
        """Returns whether any of them has a method of this name."""
        return any(hasattr(observer, method) for observer in self._listening.values())

    def stage(self, name: str) -> None:
        """Passes the event on."""
        self._tell("stage", name)

    def run_started(self, info: RunStarted) -> None:
        """Passes the event on."""
        self._tell("run_started", info)

    def epoch_ended(self, record: RunEpoch) -> None:
        """Passes the event on."""
        self._tell("epoch_ended", record)

    def run_finished(self, result: RunFinished) -> None:
        """Passes the event on."""
        self._tell("run_finished", result)

    def _tell(self, method: str, news: object) -> None:
        for one, observer in list(self._listening.items()):
            listen = getattr(observer, method, None)
            if listen is None:
                continue
            try:
                listen(news)
            except BaseException as error:
                self._drop(one, f"in {method}", error)

    def _drop(self, one: Registered, when: str, error: BaseException) -> None:
        """Reports the failure of an observer and stops calling it; Ctrl-C is raised again."""
        if not is_fault(error):
            raise error
        self._listening.pop(one, None)
        said = error.message if isinstance(error, RegplugError) else f"The observer {one.full_name} {told(error, when)}"
        message = f"{said.removesuffix('.')}. It receives no further events of this {self._of}."
        self.warnings.append(message)
        for other in self._others:
            other.warned(message)


@functools.cache
def _made(registered: Registered) -> Any:
    """Returns the observer, created once per process."""
    return build(registered, {})

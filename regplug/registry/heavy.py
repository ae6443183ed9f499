"""Finds the heavy libraries that a plugin imports, and how long they take.

A library is imported once a process: the first plugin that asks pays, and the next one seems to be free, although each
would cost as much if it were alone. So what is watched is the asking.
"""

from __future__ import annotations

import builtins
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

HEAVY_LIBRARIES = ("matplotlib", "mlflow", "numpy", "onnx", "onnxruntime", "pandas", "scipy", "sklearn", "torch")
"""What a descriptor module must not import, because every command would wait for it."""

_cost_ms: dict[str, float] = {}
"""How long the import of each took, where this process has seen it."""


class ImportWatch:
    """Notes which heavy libraries are asked for while it is entered; what they themselves ask for does not count."""

    def __init__(self) -> None:
        self._began = 0.0
        self._asked: dict[str, None] = {}
        self._paid: dict[str, None] = {}
        self._before: set[str] = set()
        self._brought: set[str] = set()
        self._is_inside = False
        self.ms = 0.0

    def __enter__(self) -> ImportWatch:
        self._before = _loaded()
        self._original: Callable[..., Any] = builtins.__import__
        self._watching = self._import
        builtins.__import__ = self._watching
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ms = 1000 * (time.perf_counter() - self._began)
        if builtins.__import__ is self._watching:
            builtins.__import__ = self._original
        # importlib.import_module does not call `__import__`.
        unasked = _loaded() - self._before - self._brought - set(self._asked)
        self._asked |= dict.fromkeys(sorted(unasked))
        self._paid |= dict.fromkeys(sorted(unasked))

    @property
    def heavy(self) -> tuple[str, ...]:
        """The libraries that were requested, sorted."""
        return tuple(sorted(self._asked))

    @property
    def paid(self) -> tuple[str, ...]:
        """What was imported for it, sorted."""
        return tuple(sorted(self._paid))

    @property
    def heavy_ms(self) -> dict[str, float]:
        """How long the import of what was asked for took, where that is known."""
        return {name: _cost_ms[name] for name in self.heavy if name in _cost_ms}

    def _import(self, name: str, *args: Any, **kwargs: Any) -> Any:
        is_relative = bool(kwargs.get("level", args[3] if len(args) > 3 else 0))
        top = name.partition(".")[0]
        if self._is_inside or is_relative or top not in HEAVY_LIBRARIES:
            return self._original(name, *args, **kwargs)
        self._asked[top] = None
        if top in sys.modules:
            return self._original(name, *args, **kwargs)
        self._is_inside, began, before = True, time.perf_counter(), _loaded()
        try:
            return self._original(name, *args, **kwargs)
        finally:
            self._is_inside = False
            self._paid[top] = None
            self._brought |= _loaded() - before
            _cost_ms[top] = 1000 * (time.perf_counter() - began)


def _loaded() -> set[str]:
    return {name for name in HEAVY_LIBRARIES if name in sys.modules}

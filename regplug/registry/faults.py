"""Finds the component whose code raised an exception, by walking its traceback.

Every component is imported by `load_target`, which tells this module. So no call of a plugin's function needs a `try`
of its own: whoever handles an exception asks here.
"""

from __future__ import annotations

import inspect
import linecache
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from regplug.api import PROJECT
from regplug.errors import PluginError, RegplugError
from regplug.registry.patience import PluginTimeout
from regplug.registry.records import Registered

_TRACEBACK_HINT = "--debug shows the whole traceback."

_LIBRARY_FOLDERS = frozenset(("site-packages", "dist-packages"))
_STDLIB = sysconfig.get_path("stdlib")

_loaded: dict[tuple[str, str], tuple[Registered, Any]] = {}
"""Each component that this process has imported with its target, by kind and name; the last one used at the end."""


def remember(registered: Registered, target: Any) -> None:
    """Notes that a component is in use."""
    key = registered.kind, registered.full_name
    _loaded.pop(key, None)
    _loaded[key] = registered, target


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Where a component, or code that it uses, raised.

    Args:
        file: The file.
        line: Number of the line, from 1.
        suspects: The component; several where the file belongs to several and nothing tells which was at work; none
            where it belongs to none, as the code of an object that the caller handed over.
    """

    file: str
    line: int
    suspects: tuple[Registered, ...]

    @property
    def place(self) -> str:
        """File and line, as text."""
        return f"{self.file}, line {self.line}"

    @property
    def whose(self) -> str:
        """Component and distribution, as the beginning of a sentence."""
        if not self.suspects:
            return "Your own code"
        one = self.suspects[0]
        if len(self.suspects) > 1:
            names = " or ".join(f"{each.kind} {each.name}" for each in self.suspects)
            return f"The {names} ({one.component.target if one.is_user_code else one.origin})"
        return describe(one)


def describe(one: Registered) -> str:
    """Returns a component with its plugin and distribution, as the beginning of a sentence."""
    return (
        f"Your {one.kind} {one.component.target}" if one.is_user_code else f"The {one.kind} {one.name} ({one.origin})"
    )


def is_fault(error: BaseException) -> bool:
    """Returns whether an exception is a failure, and not the user's Ctrl-C.

    `sys.exit` in somebody's code is one, and so is an exception of theirs that merely derives from KeyboardInterrupt.
    """
    kind = type(error)
    is_own_interrupt = isinstance(error, KeyboardInterrupt) and _top(kind.__module__) not in ("builtins", PROJECT)
    return isinstance(error, Exception | SystemExit | PluginTimeout) or is_own_interrupt


def find_fault(error: BaseException) -> Fault | None:
    """Returns the innermost place in a component's code that an exception went through, or `None`.

    Frames of libraries below it do not count, and neither does code above the host, such as the script that called it.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    first = next((at for at, (frame, _) in enumerate(frames) if _is_host(frame)), len(frames))
    inward = [each for each in frames[first:] if not _is_host(each[0])]
    while inward:
        frame, line = inward[-1]
        if any(_owns(one, frame) for one, _ in _loaded.values()) or not _is_library(frame):
            suspects = _suspects([each for each, _ in reversed(inward)])
            return Fault(file=frame.f_code.co_filename, line=line, suspects=suspects)
        inward.pop()
    return None


def plugin_error(error: BaseException) -> PluginError | None:
    """Describes an exception in a component's code: component, distribution, file, line and the original.

    Returns:
        The error to raise, or `None` where no component's code was in the way: that is the host's own fault.
    """
    fault = find_fault(error)
    return None if fault is None else _named(fault, error)


def _named(fault: Fault, error: BaseException) -> PluginError:
    code = linecache.getline(fault.file, fault.line).strip()
    return PluginError(
        f"{fault.whose} {told(error)}", hint=(f"That line reads: {code}\n" if code else "") + _TRACEBACK_HINT
    )


def told(error: BaseException, when: str = "") -> str:
    """Returns what somebody's code did, where, and in which words: "raised ValueError in net.py, line 3: no luck".

    Args:
        error: What it raised.
        when: When that was, such as "when it was built".
    """
    fault = find_fault(error)
    place = "" if fault is None else f" ({fault.place})" if when else f" in {fault.place}"
    if isinstance(error, PluginTimeout):
        return f"{error}{place}."
    is_exit = isinstance(error, SystemExit)
    did = "called sys.exit" if is_exit else f"raised {type(error).__name__}"
    return f"{did} {when}".rstrip() + place + (f": {error}" if str(error) else ".")


def message_of(error: BaseException) -> str:
    """Returns the message for an exception that stopped one of many runs."""
    named = error if isinstance(error, RegplugError) else plugin_error(error)
    return named.message if named is not None else f"{type(error).__name__}: {error}"


@contextmanager
def named_faults() -> Iterator[None]:
    """Raises what a component's code raises inside as a `PluginError` that names it; the rest passes unchanged.

    So does what an object raises that the caller handed over: its own exceptions are the caller's to catch.
    """
    try:
        yield
    except BaseException as error:
        fault = None if isinstance(error, RegplugError) or not is_fault(error) else find_fault(error)
        if fault is None or not fault.suspects:
            raise
        raise _named(fault, error) from error


def _suspects(outward: Sequence[FrameType]) -> tuple[Registered, ...]:
    """The component that was at work, else those that own a frame; the frames are the innermost first."""
    for frame in outward:
        if at_work := [one for one, target in _loaded.values() if _runs(target, frame)]:
            return (at_work[-1],)
    for is_near in (_is_module_of, _owns):
        for frame in outward:
            if near := tuple(one for one, _ in _loaded.values() if is_near(one, frame)):
                return near
    return ()


def _runs(target: Any, frame: FrameType) -> bool:
    """Whether a frame is a method of the target, the target itself, or a function inside it."""
    if isinstance(target, type):
        return isinstance(frame.f_locals.get("self"), target)
    code = getattr(inspect.unwrap(target), "__code__", None) if callable(target) else None
    inside = code is not None and frame.f_code.co_qualname.startswith(f"{code.co_qualname}.<locals>")
    return code is not None and (frame.f_code is code or (inside and frame.f_code.co_filename == code.co_filename))


def _is_module_of(one: Registered, frame: FrameType) -> bool:
    """Whether a frame is in the very module that a component's target names."""
    place = one.component.target.rpartition(":")[0] if one.is_user_code else one.component.target.partition(":")[0]
    if place.endswith(".py"):
        return Path(place).expanduser().resolve() == Path(frame.f_code.co_filename)
    return place == _module(frame)


def _owns(one: Registered, frame: FrameType) -> bool:
    """Whether a frame is in the package of a component's target; a library's code is nobody's own."""
    if _is_module_of(one, frame):
        return not one.is_user_code or not _is_library(frame)
    return not one.is_user_code and _top(one.component.target.partition(":")[0]) == _top(_module(frame))


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _is_host(frame: FrameType) -> bool:
    return _top(_module(frame)) == PROJECT


def _is_library(frame: FrameType) -> bool:
    """Whether the code was installed, or made at run time."""
    file = Path(frame.f_code.co_filename)
    return file.name.startswith("<") or not _LIBRARY_FOLDERS.isdisjoint(file.parts) or file.is_relative_to(_STDLIB)


__all__ = [
    "Fault",
    "describe",
    "find_fault",
    "is_fault",
    "message_of",
    "named_faults",
    "plugin_error",
    "remember",
    "told",
]

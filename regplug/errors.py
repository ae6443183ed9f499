"""Every error that regplug raises on purpose.

RegplugError
├── RequestError            the request was wrong                     exit code 2
│   ├── UnknownComponentError   no component of that name
│   ├── AmbiguousComponentError two third parties offer that name
│   ├── ParameterError          unknown, out of bounds, wrong type
│   ├── CompositionError        components that contradict each other
│   ├── DataError               a dataset that cannot be read or does not fit
│   ├── ModelError              a model that does not fit data or task
│   ├── TrackingError           a store that cannot be reached or written
│   └── BundleError             a file that is no bundle, or an input that does not fit it
├── PluginError             a plugin broke; names plugin and distribution   exit code 2
└── FailedError             the request was right, the work failed     exit code 1
    ├── DivergedError           a loss or weight became NaN or infinite
    ├── ComponentError          somebody's component broke in the middle; names it, file and line
    ├── ExportError             a model that cannot be exported as asked
    ├── TrackingLostError       a store that did not take all that was logged
    └── VerificationError       a bundle that is not what it says
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn

MOST_NAMES = 12
"""Names that a hint lists; more hide the sentence before them."""


class RegplugError(Exception):
    """The root: a message for a person, and a hint of what to do next.

    Args:
        message: What was asked, what was got, and whose part it was.
        hint: What is allowed, or the next step. May be empty.

    Its `result` is what was reached all the same, such as a `RunResult` that could not be tracked; `None` for nothing.
    """

    exit_code = 1
    result: Any = None

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class RequestError(RegplugError):
    """The request was wrong; nothing was started."""

    exit_code = 2


class UnknownComponentError(RequestError):
    """No component of that kind and name is installed."""


class AmbiguousComponentError(RequestError):
    """Two distributions offer that name and nothing says which is meant."""


class ParameterError(RequestError):
    """A parameter is unknown, out of bounds or of the wrong type."""


class CompositionError(RequestError):
    """Components, or a component and the rest of the run, contradict each other."""


class DataError(RequestError):
    """A dataset cannot be read, or does not fit what is asked of it."""


class ModelError(RequestError):
    """A model does not fit the data or the task."""


class TrackingError(RequestError):
    """The tracking store cannot be reached or written."""


class BundleError(RequestError):
    """A path is no bundle, or an input does not fit the bundle."""


class PluginError(RegplugError):
    """A plugin broke while it was imported, asked or built."""

    exit_code = 2


class FailedError(RegplugError):
    """The request was right and the work failed."""


class DivergedError(FailedError):
    """A loss, a gradient or a weight became NaN or infinite."""


class ComponentError(FailedError):
    """The code of a component raised after the work had begun; before that it is a `PluginError`."""


class ExportError(FailedError):
    """A model cannot be exported in the way that was asked for."""


class VerificationError(FailedError):
    """A bundle is not what it says it is."""


class TrackingLostError(FailedError):
    """The tracking store took the beginning of a run and not all of the rest."""


def raise_after_start(error: RegplugError, result: Any = None) -> NoReturn:
    """Raises an error that broke off what had begun: as one of the work, not of the request.

    Args:
        error: What was raised.
        result: What was reached all the same, or `None`.

    >>> raise_after_start(ModelError("It does not fit any more."))
    Traceback (most recent call last):
    regplug.errors.FailedError: It does not fit any more.
    """
    late = error
    if not isinstance(error, FailedError):
        late = _late_kind(error)(error.message, hint=error.hint)
    late.result = result
    if late is error:
        raise error
    raise late from error


def _late_kind(error: RegplugError) -> type[FailedError]:
    if isinstance(error, TrackingError):
        return TrackingLostError
    return ComponentError if isinstance(error, PluginError) else FailedError


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a sentence with the names nearest to `word`, or with all of them.

    Args:
        word: What was typed.
        known: What would have been understood.

    Returns:
        "Did you mean dropout?" where something is near, else "Known: a, b, c."

    >>> did_you_mean("dropuot", ["dropout", "l2"])
    'Did you mean dropout?'
    >>> did_you_mean("x", ["dropout", "l2"])
    'Known: dropout, l2.'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {some_of(names)}." if names else "None is installed."


def some_of(names: Iterable[str]) -> str:
    """Returns names with commas, and only the number of those that are too many to read.

    >>> some_of(["dropout", "l2"])
    'dropout, l2'
    >>> some_of(f"layer{i}" for i in range(100))[-36:]
    'layer9, layer10, layer11 and 88 more'
    """
    listed = list(names)
    shown = listed[:MOST_NAMES] if len(listed) > MOST_NAMES + 1 else listed
    more = f" and {len(listed) - len(shown)} more" if len(shown) < len(listed) else ""
    return ", ".join(shown) + more

"""All errors that regplug raises intentionally.

RegplugError
├── RequestError            the request was wrong                     exit code 2
│   ├── UnknownComponentError   no component has that name
│   ├── AmbiguousComponentError several third parties offer that name
│   ├── ParameterError          unknown, out of bounds or of the wrong type
│   ├── CompositionError        the components contradict each other
│   ├── DataError               the dataset cannot be read or does not fit
│   ├── ModelError              the model does not fit the data or the task
│   ├── TrackingError           the store cannot be reached or written
│   ├── MissingExtraError       a library that is installed on request is missing
│   └── BundleError             the path is not a bundle, or an input does not fit it
├── PluginError             a plugin failed; names plugin and distribution  exit code 2
└── FailedError             the request was right, but the work failed  exit code 1
    ├── DivergedError           a loss or weight became NaN or infinite
    ├── ComponentError          a component failed during a run; names it, file and line
    ├── ExportError             the model cannot be exported as requested
    ├── TrackingLostError       the store is missing a part of what was logged
    └── VerificationError       a check of the bundle failed
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, NoReturn

MOST_NAMES = 12
"""The most names that a hint lists; more would hide the sentence before them."""


class RegplugError(Exception):
    """The base class: a message for the user, and a hint on what to do next.

    Args:
        message: What was requested, what went wrong, and in which component.
        hint: What is allowed, or the next step. May be empty.

    The attribute `result` holds any result that exists despite the error, such as a `RunResult` that could not be
    tracked, or `None`.
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
    """Several distributions offer that name, and no pin chooses one."""


class ParameterError(RequestError):
    """A parameter is unknown, out of bounds or of the wrong type."""


class CompositionError(RequestError):
    """Components, or a component and the rest of the run, contradict each other."""


class DataError(RequestError):
    """A dataset cannot be read, or does not fit the request."""


class ModelError(RequestError):
    """A model does not fit the data or the task."""


class MissingExtraError(RequestError):
    """A library is missing that only an extra of regplug installs.

    Args:
        what: What needs the library, as the beginning of a sentence: `The format openvino`.
        library: The library.
        extra: The extra.
    """

    def __init__(self, what: str, library: str, extra: str) -> None:
        super().__init__(
            f"{what} needs the library {library}, which is not installed.", hint=f'pip install "regplug[{extra}]"'
        )


class TrackingError(RequestError):
    """The tracking store cannot be reached or written."""


class BundleError(RequestError):
    """A path is not a bundle, or an input does not fit the bundle."""


class PluginError(RegplugError):
    """A plugin failed while it was imported, its hooks were called or a component was built."""

    exit_code = 2


class FailedError(RegplugError):
    """The request was right, but the work failed."""


class DivergedError(FailedError):
    """A loss, a gradient or a weight became NaN or infinite."""


class ComponentError(FailedError):
    """A component's code raised an exception after the work had started; before that it is a `PluginError`."""


class ExportError(FailedError):
    """A model cannot be exported as requested."""


class VerificationError(FailedError):
    """A check of a bundle failed."""


class TrackingLostError(FailedError):
    """The tracking store has the start of a run but not everything that was logged later."""


def raise_after_start(error: RegplugError, result: Any = None) -> NoReturn:
    """Raises an error that occurred after the work had started, as a `FailedError`.

    Args:
        error: The original error.
        result: The result that exists despite the error, or `None`.

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


def did_you_mean(word: str, known: Iterable[str], all_with: str = "") -> str:
    """Returns a sentence with the names most similar to `word`, or with all of them.

    Args:
        word: The unknown name.
        known: The known names.
        all_with: The command that lists all of them, for a list that is cut off.

    Returns:
        "Did you mean dropout?" if a name is similar, else "Known: a, b, c."

    >>> did_you_mean("dropuot", ["dropout", "l2"])
    'Did you mean dropout?'
    >>> did_you_mean("x", ["dropout", "l2"])
    'Known: dropout, l2.'
    """
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=3, cutoff=0.6)
    if near:
        return f"Did you mean {' or '.join(near)}?"
    return f"Known: {some_of(names, all_with)}." if names else "None is installed."


def some_of(names: Iterable[str], all_with: str = "") -> str:
    """Joins names with commas; of a long list, shows the first ones and the number of the others.

    >>> some_of(["dropout", "l2"])
    'dropout, l2'
    >>> some_of(f"layer{i}" for i in range(100))[-36:]
    'layer9, layer10, layer11 and 88 more'
    >>> some_of((f"layer{i}" for i in range(100)), "regplug plugins list")[-33:]
    'and 88 more: regplug plugins list'
    """
    listed = list(names)
    shown = listed[:MOST_NAMES] if len(listed) > MOST_NAMES + 1 else listed
    more = f" and {len(listed) - len(shown)} more" if len(shown) < len(listed) else ""
    return ", ".join(shown) + more + (f": {all_with}" if more and all_with else "")

"""What a tracked run stores, and checks that a later command works on what the run worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from regplug.data import Prepared
from regplug.errors import DataError, RequestError, UnknownComponentError
from regplug.tracking.kinds import CONFIG_FILE as CONFIG_FILE

STATE_FILE = "state.pt"
"""The file with a run's trained state; `CONFIG_FILE` is the one with its configuration."""


def require_same_data(data: Prepared, seen: str | None, run: str, *, hint: str) -> None:
    """Checks that data have not changed since a run was trained on them.

    Args:
        data: The data as they are now.
        seen: The digest that was tracked, or its beginning; `None` if none was.
        run: The run, for the message.
        hint: What the user can do.

    Raises:
        DataError: They have changed.
    """
    if seen is not None and seen != data.digest[: len(seen)]:
        raise DataError(
            f"Dataset {data.raw.name} is not the one that run {run} was trained on: its digest was {seen[:12]} and is "
            f"{data.digest[:12]}.",
            hint=hint,
        )


@contextmanager
def asking_for_objects(run: str, function: str, arguments: str = "run, model=..., dataset=...") -> Iterator[None]:
    """Explains the error about a component that was a Python object of the caller.

    Args:
        run: The run or study, for the message.
        function: The function that takes the object again, such as `regplug.export`.
        arguments: Its arguments.

    Raises:
        RequestError: The block needs such an object.
    """
    try:
        yield
    except UnknownComponentError as error:
        if "'yours/" not in error.message:
            raise
        raise RequestError(
            f"{run} was trained with a Python object: {error.message}",
            hint=f"Pass the same object again: {function}({arguments}).",
        ) from error

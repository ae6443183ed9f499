"""What converters say while they work, and nobody who exports a bundle can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(*logger_names: str | None) -> Iterator[None]:
    """Keeps warnings and what loggers say below an error from the user.

    Args:
        logger_names: The loggers; `None` for the root, on which some advise directly.
    """
    loggers = [logging.getLogger(name) for name in logger_names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

"""What converters say while they work, and nobody who exports a bundle can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(logger_name: str | None) -> Iterator[None]:
    """Keeps warnings and what a logger says below an error from the user.

    Args:
        logger_name: The logger; `None` for the root, on which some advise directly.
    """
    logger = logging.getLogger(logger_name)
    level, logger.level = logger.level, logging.ERROR
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.level = level

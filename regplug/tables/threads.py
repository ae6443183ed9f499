"""Threads for work on large arrays; NumPy and Arrow run without Python's lock there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa

_MOST_THREADS = 4


def few_threads() -> ThreadPoolExecutor:
    """Returns as many threads as there are processors, or as `OMP_NUM_THREADS` allows, and at most 4."""
    return ThreadPoolExecutor(min(pa.cpu_count(), _MOST_THREADS), thread_name_prefix="regplug-table")

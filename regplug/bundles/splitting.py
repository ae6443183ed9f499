"""Runs files that take only so many rows in one call: the host splits larger batches. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from regplug.bundles.formats import Format, NamedRun, Run, RunAll


def open_split(form: Format, path: Path, *, optimised: bool) -> Run:
    """Opens a file as its format does; the result takes any number of rows.

    Raises:
        Exception: The runtime cannot open it.
    """
    run, most = form.open(path, optimised=optimised), form.largest_batch(path)
    if most is None:
        return run
    return lambda rows: np.concatenate([run(rows[start : start + most]) for start in _starts(len(rows), most)])


def open_outputs_split(form: Format, path: Path, *, optimised: bool) -> RunAll:
    """The same with all outputs."""
    run, most = form.open_outputs(path, optimised=optimised), form.largest_batch(path)
    if most is None:
        return run

    def split(rows: Any) -> Any:
        parts = [run(rows[start : start + most]) for start in _starts(len(rows), most)]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    return split


def open_named_split(form: Format, path: Path, manifest: Mapping[str, Any], *, optimised: bool) -> NamedRun:
    """The same for a file with several inputs or outputs."""
    run, most = form.open_named(path, manifest, optimised=optimised), form.largest_batch(path)
    if most is None:
        return run

    def split(arrays: Mapping[str, Any]) -> dict[str, Any]:
        count = len(next(iter(arrays.values())))
        parts = [
            run({name: array[start : start + most] for name, array in arrays.items()}) for start in _starts(count, most)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return split


def _starts(count: int, most: int) -> range:
    return range(0, max(1, count), most)

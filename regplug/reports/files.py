"""Figures as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from regplug.errors import RequestError, did_you_mean
from regplug.reports import plots
from regplug.reports.drawing import Drawing


def save_figures(drawn: Sequence[Drawing], folder: Path, formats: Sequence[str] = plots.FORMATS) -> list[Path]:
    """Writes each figure into a folder, which is made if it does not exist.

    Args:
        drawn: The figures.
        folder: Where to write them; a file of an earlier figure with the same name is replaced.
        formats: One file for each: `svg`, `pdf`, `png`.

    Returns:
        The files: `differences.svg` and so on.

    Raises:
        RequestError: A format is unknown, or a file cannot be written.
    """
    check_formats(formats)
    files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for drawing in drawn:
            figure = drawing.draw()
            for kind in formats:
                files.append(folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '-', drawing.name)}.{kind}")
                files[-1].write_bytes(plots.image(figure, kind))
    except OSError as error:
        raise RequestError(
            f"The figures cannot be written into {folder}: {error}", hint="Choose another folder."
        ) from error
    return files


def check_formats(formats: Sequence[str]) -> None:
    """Checks the formats of figures.

    Raises:
        RequestError: One is unknown, or there is none.
    """
    for kind in formats:
        if kind not in plots.FORMATS:
            raise RequestError(f"A figure cannot be written as {kind}.", hint=did_you_mean(kind, plots.FORMATS))
    if not formats:
        raise RequestError("No format of figures is given.", hint=f"Choose from {', '.join(plots.FORMATS)}.")

"""Figures as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from regplug.errors import RequestError
from regplug.reports import plots
from regplug.reports.drawing import Drawing
from regplug.reports.outputs import FIGURE_FORMATS, check_formats


def save_figures(drawn: Sequence[Drawing], folder: Path, formats: Sequence[str] = FIGURE_FORMATS) -> list[Path]:
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

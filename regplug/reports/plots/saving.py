"""Figures as PNG, PDF and SVG files, and as `<svg>` for a page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from regplug.reports.plots.style import COLORS, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# No metadata, so that the same numbers give the same bytes.
_METADATA: Mapping[str, Mapping[str, Any]] = {
    "svg": {"Date": None, "Creator": None, "Format": None, "Type": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
}

PAPER_DPI = 200
"""Resolution of a PNG file."""


def image(figure: Figure, kind: str) -> bytes:
    """Returns a figure as a file.

    Args:
        figure: The figure.
        kind: One of `outputs.FIGURE_FORMATS`. The letters of an SVG are outlines, so that it looks alike everywhere.
    """
    from matplotlib import rc_context

    buffer = BytesIO()
    # Type 42 embeds whole fonts, as publishers ask; a fixed salt makes the output reproducible.
    with rc_context({"pdf.fonttype": 42, "svg.fonttype": "path", "svg.hashsalt": "regplug"}):
        figure.savefig(buffer, format=kind, dpi=PAPER_DPI, metadata=dict(_METADATA[kind]))
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Returns a figure as PNG in the resolution of a screen."""
    buffer = BytesIO()
    # savefig would draw the figure twice, the first time only for its layout.
    figure.canvas.print_png(buffer, metadata=dict(_METADATA["png"]))  # type: ignore[attr-defined] # of FigureCanvasAgg
    return buffer.getvalue()


def svg(figure: Figure, title: str = "") -> str:
    """Returns a figure as an `<svg>` for an HTML page, in the page's colours and on its background.

    Labels are text in the page's font, so that they can be searched and read aloud.

    Args:
        figure: The figure.
        title: Its name for screen readers.
    """
    from matplotlib import rc_context

    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    text = StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "regplug"}):
        figure.savefig(text, format="svg", metadata=dict(_METADATA["svg"]))
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    for color, name in (*((color, f"figure-{at}") for at, color in enumerate(COLORS)), (PAPER, "card")):
        drawn = re.sub(rf"(?<=: ){color}", f"var(--{name}, {color})", drawn)
    label = f'<svg role="img" aria-label="{escape(title)}"' if title else "<svg"
    return re.sub(rf"(?<=: ){INK}", "currentColor", drawn).replace("<svg", label, 1)

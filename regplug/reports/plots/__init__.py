"""Draws figures with matplotlib's object interface (no global figure, no display); the only room that imports it.

matplotlib is imported when the first figure is drawn, because the import takes a quarter of a second.
"""

from __future__ import annotations

from regplug.reports.plots.history import curves_figure, curves_png
from regplug.reports.plots.layers import layer_histograms_figure, layers_figure
from regplug.reports.plots.lines import Band, bands_figure, lines_figure
from regplug.reports.plots.matrices import confusion_matrix_png, heat_map_figure
from regplug.reports.plots.panels import (
    Dots,
    HistogramPanel,
    Panel,
    Spread,
    histograms_figure,
    panels_figure,
    spreads_figure,
)
from regplug.reports.plots.points import Point, points_figure
from regplug.reports.plots.ranks import ranks_figure
from regplug.reports.plots.reliability import reliability_png
from regplug.reports.plots.rows import Row, rows_figure
from regplug.reports.plots.saving import image, png, svg
from regplug.reports.plots.style import get_ready

__all__ = [
    "Band",
    "Dots",
    "HistogramPanel",
    "Panel",
    "Point",
    "Row",
    "Spread",
    "bands_figure",
    "confusion_matrix_png",
    "curves_figure",
    "curves_png",
    "get_ready",
    "heat_map_figure",
    "histograms_figure",
    "image",
    "layer_histograms_figure",
    "layers_figure",
    "lines_figure",
    "panels_figure",
    "png",
    "points_figure",
    "ranks_figure",
    "reliability_png",
    "rows_figure",
    "spreads_figure",
    "svg",
]

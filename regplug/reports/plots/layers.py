"""Figures of a model's layers: quantities along the forward pass, and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from regplug.reports.plots.style import (
    COLORS,
    DASHES,
    FONT_SIZE,
    INK,
    MARKERS,
    dress,
    new_figure,
    tick_at_integers,
    visible,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_PANELS = 12
"""Most histograms in a figure; of more layers, as many are shown, evenly spread."""

MOST_NAMED_LAYERS = 12
"""More layers than these are numbered instead of named."""

LOG_FACTOR = 50
"""Positive values that span such a factor are drawn on a logarithmic axis."""

Layered = Mapping[str, Mapping[str, float]]
"""Label of a line, such as `epoch 3` -> layer -> value."""

Binned = tuple[Sequence[float], Sequence[int]]
"""Edges of bins, and the counts in them."""


def layers_figure(panels: Mapping[str, Layered]) -> Figure:
    """Returns a figure with a panel for each quantity: its values by layer, in the order of the forward pass.

    Args:
        panels: Quantity -> label of a line -> layer -> value; the layers are those of the first line.
    """
    figure, all_axes = new_figure(len(panels), 4.4, 3.4)
    for axes, (quantity, lines) in zip(all_axes, panels.items(), strict=True):
        layers = list(dict.fromkeys(layer for line in lines.values() for layer in line))
        for at, (label, values) in enumerate(lines.items()):
            _draw_line(axes, at, label, [values.get(layer, float("nan")) for layer in layers])
        positive = [value for line in lines.values() for value in line.values()]
        if positive and min(positive) > 0 and max(positive) > LOG_FACTOR * min(positive):
            axes.set_yscale("log")
        dress(axes, "layer, in the order of the forward pass", quantity)
        _name_layers(axes, layers)
        _legend(axes, len(lines))
    return figure


def layer_histograms_figure(panels: Mapping[str, Mapping[str, Binned]]) -> Figure:
    """Returns a figure with a panel for each name and an outlined histogram for each label, as densities.

    Args:
        panels: Name, such as a layer -> label, such as `start` -> edges and counts.
    """
    names = list(panels)
    if len(names) > MOST_PANELS:
        names = [names[at * (len(names) - 1) // (MOST_PANELS - 1)] for at in range(MOST_PANELS)]
    figure, all_axes = new_figure(len(names), 3.6, 2.8)
    for axes, name in zip(all_axes, names, strict=True):
        for at, (label, (edges, counts)) in enumerate(panels[name].items()):
            total = max(1, sum(counts)) * (edges[-1] - edges[0]) / len(counts)
            axes.stairs(
                [count / total for count in counts],
                edges,
                color=COLORS[at % len(COLORS)],
                linestyle=DASHES[at % len(DASHES)],
                linewidth=1.6,
                label=visible(label),
            )
        dress(axes, name, "density")
        _legend(axes, len(panels[name]))
    return figure


def _draw_line(axes: Axes, at: int, label: str, values: Sequence[float]) -> None:
    axes.plot(
        range(1, len(values) + 1),
        values,
        color=COLORS[at % len(COLORS)],
        linestyle=DASHES[at % len(DASHES)],
        marker=MARKERS[at % len(MARKERS)],
        markersize=4,
        linewidth=1.8,
        label=visible(label),
    )


def _name_layers(axes: Axes, layers: Sequence[str]) -> None:
    if len(layers) > MOST_NAMED_LAYERS:
        tick_at_integers(axes)
        return
    axes.set_xticks(range(1, len(layers) + 1), layers, rotation=30, ha="right", parse_math=False)


def _legend(axes: Axes, num_lines: int) -> None:
    if num_lines > 1:
        axes.legend(frameon=False, labelcolor=INK, fontsize=FONT_SIZE)

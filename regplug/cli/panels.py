"""The sections of `--help`: which option is in which, in the order in which they are shown."""

from __future__ import annotations

from collections.abc import Mapping

MAIN = "Options"
OUTPUT = "Output and plugins"

_PANELS: Mapping[str, tuple[str, ...]] = {
    "Study": (
        *("grid", "zip", "folds", "repeats", "group", "seeds", "best_of", "tune", "factorial", "metric", "minimize"),
        *("baseline", "all_pairs", "final_seeds", "data_seeds", "pair_seeds"),
    ),
    "Run": ("model", "dataset", "target", "reg", "epochs", "lr", "batch_size", "seed", "config", "set_"),
    "Network": ("activation", "init", "loss", "probe"),
    "Training": (
        *("optimizer", "momentum", "nesterov", "schedule", "warmup", "shuffle", "dtype", "device", "threads"),
        *("evaluate_every", "checkpoint_every"),
    ),
    "Data": ("data_seed", "fold", "train_rows", "label_noise", "test_noise"),
    "Tracking and export": (
        "experiment",
        "name",
        "keep_predictions",
        "system_metrics",
        "export",
        "format",
        "calibrate",
        "conformal",
        "out",
        "tracking_uri",
    ),
    OUTPUT: ("disable", "plugin", "json", "help"),
}
"""Section -> options by parameter name, the most common first. Options that are not listed are in `MAIN`."""

_PLACES = {name: (title, place) for title, names in _PANELS.items() for place, name in enumerate(names)}


def panel_of(name: str) -> str:
    """Returns the section of a run's or study's option."""
    return _PLACES.get(name, (MAIN, 0))[0]


def place_of(name: str) -> tuple[int, int]:
    """Returns what options are sorted by: their section, and their place in it."""
    titles = [MAIN, *_PANELS]
    title, place = _PLACES.get(name, (MAIN, 0))
    return titles.index(title), place

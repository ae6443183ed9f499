"""Writes a table with categories and gaps, and loads it."""

from __future__ import annotations

import numpy as np

from regplug.data import raw_from_table
from regplug.tables.options import TableOptions
from regplug.tables.reading import read_table

JOBS = ("cook", "nurse", "pilot")


def write(folder, rows=120, name="mine.csv"):
    """Columns: number with gaps, text with gaps, a rare category, number, class, quantity."""
    random = np.random.default_rng(0)
    lines = ["age,job,town,size,ill,cost"]
    for row in range(rows):
        age = "" if row % 9 == 4 else str(random.integers(20, 60))
        job = "NA" if row % 7 == 3 else JOBS[row % 3]
        size = f"{random.normal():.3f}"
        town = "Rare" if row % 40 == 0 else "Ulm" if row % 2 else "Bonn"
        lines.append(f"{age},{job},{town},{size},{'yes' if row % 3 else 'no'},{1000 + 50 * (row % 3) + row % 5}.5")
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def load(path, seed=0, **options):
    return raw_from_table(read_table(path), TableOptions(**options), seed=seed, name="mine")

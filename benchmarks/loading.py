"""Time and memory of loading a large csv file, against pandas.

    python benchmarks/loading.py
    python benchmarks/loading.py --columns 10 --texts 5
    python benchmarks/loading.py --rows 10000 --columns 2000

Prints seconds of pandas.read_csv and of loading the same file as a dataset, and the most memory that each added, as a
multiple of the table's size in float32. Each is measured in a process of its own. Of 1,000,000 x 30 numbers the limits
are twice pandas' time and 3 times the float32 size; of the other two, 4 times and 5 times.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_PANDAS = "import pandas\ndef load(path): return pandas.read_csv(path)"
_OURS = """from regplug.api import DataContext
import sklearn.model_selection, sklearn.preprocessing
from regplug_datasets import TableParams
from regplug_datasets.tables import table
def load(path): return table(TableParams(path=path, target="y"), DataContext())"""
_MEASURE = """
import resource, sys, time
def used(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before, began, cpu = used(), time.perf_counter(), time.process_time()
kept = load(sys.argv[1])
print(time.perf_counter() - began, time.process_time() - cpu, used() - before)
"""


def write(path: Path, rows: int, columns: int, texts: int = 0) -> None:
    """Writes columns of text with 20 values, random numbers with six digits, and a column of two classes."""
    random = np.random.default_rng(0)
    with path.open("w") as file:
        file.write(",".join([*(f"x{number}" for number in range(columns - 1)), "y"]) + "\n")
        for start in range(0, rows, 50_000):
            count = min(50_000, rows - start)
            values = random.normal(size=(count, columns - 1 - texts))
            words = [[f"word{number:02d}" for number in row] for row in random.integers(0, 20, (count, texts))]
            labels = np.where(values[:, 0] > 0, "yes", "no")
            for row, texts_of_row, label in zip(values, words, labels, strict=True):
                file.write(",".join([*texts_of_row, *(f"{value:.6f}" for value in row), label]) + "\n")


def measure(code: str, path: Path) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and the bytes that were added."""
    done = subprocess.run(
        [sys.executable, "-c", code + _MEASURE, str(path)], check=True, capture_output=True, text=True
    )
    seconds, cpu, added = map(float, done.stdout.split())
    return seconds, cpu, added


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--columns", type=int, default=30)
    parser.add_argument("--texts", type=int, default=0, help="number of columns of text among them")
    asked = parser.parse_args()
    size = asked.rows * asked.columns * 4
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.csv"
        write(path, asked.rows, asked.columns, asked.texts)
        for name, code in (("pandas", _PANDAS), ("regplug", _OURS)):
            seconds, cpu, added = measure(code, path)
            print(
                f"{name}: {seconds:.2f} s, {cpu:.2f} s of CPU, {added / size:.2f} times the table's float32 size",
                flush=True,
            )


if __name__ == "__main__":
    main()

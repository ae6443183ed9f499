"""Small idx files in the places of MNIST and Fashion-MNIST, for machines that have not the real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write_images(folder: Path) -> Path:
    """Writes images of noise with all ten labels; returns what `REGPLUG_DATA_DIR` is set to."""
    for name in ("MNIST", "FashionMNIST"):
        generator = np.random.default_rng(0)
        raw = folder / name / "raw"
        raw.mkdir(parents=True)
        for prefix, rows in (("train", 200), ("t10k", 50)):
            images = generator.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
            labels = (np.arange(rows) % 10).astype(np.uint8)
            for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
                head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
                (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + array.tobytes())
    return folder

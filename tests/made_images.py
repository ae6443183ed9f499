"""Small files in the form of published image data sets, and of a user's own, for machines that lack the real ones."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(folder: Path) -> Path:
    """Writes images of noise with all labels of each published data set; returns what `REGPLUG_DATA_DIR` is set to."""
    for name in ("MNIST", "FashionMNIST", "KMNIST"):
        _write_idx(folder / name / "raw")
    names = tuple("abcdefghij")
    write_cifar(folder / "cifar-10-batches-py", classes=names, rows=20)
    write_cifar(folder / "cifar-100-python", kind=100, classes=names, rows=100)
    return folder


def _write_idx(raw: Path) -> None:
    generator = np.random.default_rng(0)
    raw.mkdir(parents=True)
    for prefix, rows in (("train", 200), ("t10k", 50)):
        images = generator.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        labels = (np.arange(rows) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
            (raw / f"{prefix}-{kind}-ubyte").write_bytes(head + array.tobytes())


def write_cifar(folder: Path, kind: int = 10, classes: tuple[str, ...] = ("cat", "dog"), rows: int = 2) -> None:
    """Writes files of the published form, each with so many images."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = "labels" if kind == 10 else "fine_labels"
    files = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"] if kind == 10 else ["train", "test"]
    for number, name in enumerate(files):
        images = np.random.default_rng(number).integers(0, 256, (rows, 3072), np.uint8)
        content = {"data": images, labels: [row % len(classes) for row in range(rows)]}
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    meta = {"label_names" if kind == 10 else "fine_label_names": list(classes)}
    (folder / ("batches.meta" if kind == 10 else "meta")).write_bytes(pickle.dumps(meta))


def write_own_files(folder: Path) -> dict[str, dict[str, str]]:
    """Writes a table, an npz file and a folder of images; returns the parameters of the data sets that read them."""
    table = folder / "table.csv"
    table.write_text("a,b,y\n" + "\n".join(f"{0.1 * n},{(n * 7) % 11},{n % 3}" for n in range(60)))
    x = np.random.default_rng(0).standard_normal((60, 4)).astype("f")
    np.savez(folder / "rows.npz", x=x, y=np.arange(60) % 3)
    for number in range(60):
        place = folder / "images" / f"class{number % 3}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (6, 4), number).save(place)
    of_table = {"path": str(table), "target": "y"}
    return {
        "csv": of_table,
        "table": of_table,
        "npz": {"path": str(folder / "rows.npz")},
        "images": {"path": str(folder / "images")},
    }

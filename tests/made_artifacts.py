"""What a regularizer's parameter may need before it can be given: made once, by the word of its `Needed` marker."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path


@functools.cache
def bundle(has_images: bool) -> str:
    """The folder of a network that was trained and exported on the rows or the images of `catalogue.data`."""
    from catalogue import COMMON, MODELS, data
    from runs import Place, standing_in

    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with standing_in(folder):
        run = {**COMMON, "epochs": 1, "dtype": "float32", "model": MODELS["cnn" if has_images else "mlp"]}
        place = Place(folder)
        place.run(**run, dataset=data("classification", has_images), export=True, format=["onnx"], out="bundle")
    return str(folder / "bundle")


MAKERS = {"bundle": bundle}
"""Word of `Needed(artifact=...)` -> what makes it, for rows or images, and returns the value to give."""

"""The served model of a bundle with one input and one output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from regplug.bundles.formats import Array, Run
from regplug.bundles.inputs import InputForm
from regplug.bundles.passes import mean_and_spread
from regplug.bundles.predict import Prediction, predictions
from regplug.serving.bodies import Asked, has_images, read_files, read_json_body
from regplug.serving.model import ServedModel


@final
@dataclass(frozen=True, kw_only=True)
class SingleModel(ServedModel):
    """A model with one input and one output.

    Args:
        form: What an input looks like.
        run: Maps raw rows to probabilities or values.
    """

    form: InputForm
    run: Run

    def is_quick_to_read(self, body: bytes) -> bool:
        """Returns whether a small JSON body is read in the event loop; images in base64 take longer."""
        return self.form.layout != "image" or not has_images(body)

    def read_json(self, body: bytes) -> Asked:
        """Reads rows, arrays or images in base64."""
        return read_json_body(body, self.form)

    def read_files(self, files: Sequence[tuple[str, bytes]]) -> Asked:
        """Reads images."""
        return read_files(files, self.form)

    def compute(self, rows: Array) -> tuple[Array, Array]:
        """Returns outputs `(B, K)` and their spread over the passes, zeros without passes."""
        return mean_and_spread(self.run, rows, self.passes)

    def not_finite(self, outputs: Array) -> Array:
        """Returns whether an output of each row is not finite `(B,)`."""
        return np.asarray(~np.isfinite(outputs).all(axis=1))

    def answer(self, sources: Sequence[str], outputs: Array, spreads: Array, top: int) -> Iterator[Prediction]:
        """Returns the prediction of each row."""
        spread, places = spreads if self.passes else None, [(source, at) for at, source in enumerate(sources)]
        return predictions(places, outputs, spread, self.manifest, top)

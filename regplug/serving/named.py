"""The served model of a bundle with several inputs or outputs, or with symbolic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from regplug.bundles.formats import Array, NamedRun
from regplug.bundles.named.inputs import checked_inputs, form_words, json_arrays, read_named_image, takes_images
from regplug.bundles.named.predict import named_mean_and_spread
from regplug.bundles.named.signature import Signature
from regplug.bundles.predict import Prediction, named_prediction
from regplug.errors import BundleError, some_of
from regplug.serving.bodies import TOP, Asked, decoded_images, has_images, parsed_object, top_of
from regplug.serving.model import ServedModel

_KEYS = ("inputs", "rows")
_IMAGES = "images"
_HINT = 'Give {"inputs": {"NAME": [row, row]}} or {"rows": [{"NAME": value}]}.'


@dataclass(frozen=True)
class NamedRows:
    """Rows of all inputs by name `(B, ...)`, which are counted and cut together."""

    arrays: dict[str, Array]

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, rows: slice) -> NamedRows:
        return NamedRows({name: array[rows] for name, array in self.arrays.items()})


@final
@dataclass(frozen=True, kw_only=True)
class NamedModel(ServedModel):
    """A model with named inputs and outputs.

    Args:
        signature: Its inputs, outputs and axes.
        named_run: Maps arrays by name to outputs by name; with a task see `decided`.
    """

    signature: Signature
    named_run: NamedRun

    def is_quick_to_read(self, body: bytes) -> bool:
        """Returns whether a small JSON body is read in the event loop; images in base64 take longer."""
        return not takes_images(self.signature) or not has_images(body)

    def compute(self, rows: NamedRows) -> tuple[Array, Array]:
        """Returns the outputs of each row by name `(B,)`, and likewise their spread over the passes."""
        outputs, spreads = named_mean_and_spread(self.named_run, rows.arrays, self.passes)
        return _by_row(outputs, len(rows)), _by_row(spreads, len(rows))

    def not_finite(self, outputs: Array) -> Array:
        """Returns whether an output of each row is not finite `(B,)`."""
        return np.array([not all(np.isfinite(one).all() for one in row.values()) for row in outputs], bool)

    def answer(self, sources: Sequence[str], outputs: Array, spreads: Array, top: int) -> list[Prediction]:
        """Returns the prediction of each row."""
        return [
            named_prediction(source, at, outputs[at], self.manifest, top, spreads[at] if self.passes else None)
            for at, source in enumerate(sources)
        ]

    def read_json(self, body: bytes) -> Asked:
        """Reads a JSON body: arrays by name, rows of values by name, or images in base64 if they are the only input.

        Raises:
            MalformedError: It is not JSON.
            BundleError: It does not fit the bundle.
        """
        document = parsed_object(body, _HINT)
        keys = (*_KEYS, *([_IMAGES] if takes_images(self.signature) else []))
        given, unknown = [key for key in keys if key in document], sorted({*document} - {*keys, "top"})
        if unknown or len(given) != 1:
            told = f"unknown keys: {some_of(unknown)}" if unknown else f"{' and '.join(given) or 'no inputs'}"
            raise BundleError(f"The body has {told}; exactly one of {', '.join(keys)} is needed.", hint=_HINT)
        (key,) = given
        if not isinstance(document[key], dict if key == "inputs" else list):
            raise BundleError(f"{key} is not {'an object' if key == 'inputs' else 'a list'}.", hint=_HINT)
        top = top_of(document.get("top", TOP))
        if key == _IMAGES:
            return self._of_base64(document[key], top)
        arrays, notes = checked_inputs(key, json_arrays(key, document[key]), self.signature)
        rows: Any = NamedRows(arrays)
        if not len(rows):
            raise BundleError(f"{key} is empty.", hint="Give at least one row.")
        return Asked(rows=rows, sources=[""] * len(rows), notes=notes, top=top)

    def _of_base64(self, texts: Sequence[Any], top: int) -> Asked:
        if not texts:
            raise BundleError("images is empty.", hint="Give at least one image.")
        return self._of_images(decoded_images(texts), sources=[""] * len(texts), top=top)

    def read_files(self, files: Sequence[tuple[str, bytes]]) -> Asked:
        """Reads images, if the only input is an image.

        Raises:
            BundleError: It is not, or a file does not fit.
        """
        if not takes_images(self.signature):
            example = ", ".join(f'"{part.name}": [row, row]' for part in self.signature.inputs)
            raise BundleError(
                f"Files were sent, but this bundle takes {form_words(self.signature)}: an image file is a row only if "
                "an image is the only input.",
                hint=f'Send JSON: {{"inputs": {{{example}}}}}.',
            )
        if not files:
            raise BundleError("The form has no file.", hint="Send images as files: curl -F image=@1.png URL.")
        return self._of_images(files, sources=[name for name, _ in files])

    def _of_images(self, files: Sequence[tuple[str, bytes]], sources: Sequence[str], top: int = TOP) -> Asked:
        """Reads images of one size."""
        name = self.signature.inputs[0].name
        read = [read_named_image(Path(file or "image"), self.signature, content) for file, content in files]
        images = [arrays[name] for arrays, _ in read]
        other = next((at for at, image in enumerate(images) if image.shape != images[0].shape), None)
        if other is not None:
            first, second = (f"{files[at][0]} has {images[at].shape[3]} x {images[at].shape[2]}" for at in (0, other))
            raise BundleError(
                f"The images differ in size: {first}, {second} (width x height).",
                hint="Send images of one size in one request.",
            )
        notes = list(dict.fromkeys(note for _, told in read for note in told))
        return Asked(rows=NamedRows({name: np.concatenate(images)}), sources=sources, notes=notes, top=top)


def _by_row(outputs: Mapping[str, Array], count: int) -> Array:
    rows = np.empty(count, object)
    for at in range(count):
        rows[at] = {name: output[at] for name, output in outputs.items()}
    return rows

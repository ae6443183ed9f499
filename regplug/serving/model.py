"""What the application asks of a served model."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.bundles.formats import Array
from regplug.bundles.predict import Prediction, whole_answer
from regplug.serving.bodies import Asked


@dataclass(frozen=True, kw_only=True)
class ServedModel(abc.ABC):
    """An opened bundle.

    Args:
        manifest: Its manifest.
        digest: The SHA-256 of its `SHA256SUMS`.
        passes: Number of random passes over which a stochastic bundle averages; 0 for any other.
        is_batched: Whether rows of several requests may share a batch.
    """

    manifest: dict[str, Any]
    digest: str
    passes: int
    is_batched: bool

    @abc.abstractmethod
    def is_quick_to_read(self, body: bytes) -> bool:
        """Returns whether a small JSON body is read in the event loop."""

    @abc.abstractmethod
    def read_json(self, body: bytes) -> Asked:
        """Reads a JSON body.

        Raises:
            MalformedError: It is not JSON.
            BundleError: It does not fit the bundle.
        """

    @abc.abstractmethod
    def read_files(self, files: Sequence[tuple[str, bytes]]) -> Asked:
        """Reads files, each with its name.

        Raises:
            BundleError: They do not fit the bundle.
        """

    @abc.abstractmethod
    def compute(self, rows: Any) -> tuple[Array, Array]:
        """Returns outputs `(B, ...)` of what a body holds, and their spread over the passes, zeros without passes."""

    @abc.abstractmethod
    def not_finite(self, outputs: Array) -> Array:
        """Returns whether an output of each row is not finite `(B,)`."""

    @abc.abstractmethod
    def answer(self, sources: Sequence[str], outputs: Array, spreads: Array, top: int) -> Iterable[Prediction]:
        """Returns the prediction of each row."""

    def document(self, asked: Asked, outputs: Array, spreads: Array) -> dict[str, Any]:
        """Returns the document of `regplug predict --json`; `source` only where a row has one.

        Args:
            asked: The request.
            outputs: What `compute` returns for its rows.
            spreads: Their spread over the passes.
        """
        rows = self.answer(asked.sources, outputs, spreads, asked.top)
        document = whole_answer(rows, self.manifest, asked.notes, self.passes).as_json()
        for prediction in document["predictions"]:
            if not prediction["source"]:
                del prediction["source"]
        return document

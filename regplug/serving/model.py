"""What the application asks of a served model."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from regplug.bundles.formats import Array
from regplug.bundles.predict import Prediction
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
    def answer(self, sources: Sequence[str], outputs: Array, spreads: Array, top: int) -> list[dict[str, Any]]:
        """Returns the prediction of each row as JSON; `source` only where a row has one."""


def without_source(made: Iterable[Prediction]) -> list[dict[str, Any]]:
    """Returns predictions as JSON; `source` only where a row has one."""
    answers = [one.as_json() for one in made]
    for answer in answers:
        if not answer["source"]:
            del answer["source"]
    return answers

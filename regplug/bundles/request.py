"""The request for a bundle, and the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from regplug.api import Task
from regplug.bundles.calibration.request import Calibration
from regplug.bundles.formats import Array, Format
from regplug.bundles.isolate import Ending
from regplug.bundles.layout import RESERVED
from regplug.bundles.refusals import refuse_module
from regplug.bundles.report import Report
from regplug.errors import RequestError

Layout = Literal["image", "row", "array"]

_KINDS = "buif"


def layout_of(samples: Array) -> Layout:
    """Returns the layout of raw inputs `(N, ...)`."""
    layouts: dict[int, Layout] = {2: "row", 4: "image"}
    return layouts.get(samples.ndim, "array")


@dataclass(frozen=True, kw_only=True)
class BundleRequest:
    """A trained network and the specification of its files.

    Args:
        module: The trained network: maps normalised float input `(B, ...)` to logits `(B, C)` or values `(B, K)`. It is
            copied, never changed; its training flags and device do not matter.
        preprocess: Maps raw input `(B, ...)` to normalised float input; becomes part of the graph.
        samples: Real raw inputs `(N, ...)` with the dtype that they have in deployment; 64 rows are used.
        layout: `image` for N,C,H,W; `row` for N,F; `array` for any other shape, such as the N,T,F of sequences.
        task: The task.
        formats: Name, file name and object of each format.
        input_name: Name of the graph's input.
        value_range: Smallest and largest raw value, or `None`.
        test: Raw test inputs `(T, ...)` and targets, on which the files themselves are evaluated.
        probabilities: Whether the graph ends in a softmax, or for labels in a sigmoid.
        stochastic: Whether dropout stays live in inference (MC dropout).
        live: With `stochastic`: the same network with dropout modules, if `module` no longer has them.
        calibration: How the answers are calibrated, with the validation rows; `None` for not at all.
        rebuild: Returns a new, untrained network; used to check that the state contains everything that was learned.
        manifest: Additional fields for `manifest.json`: resolved configuration, run id, plugins; `column_names` for
            rows.
    """

    module: nn.Module
    preprocess: nn.Module
    samples: Array
    layout: Layout
    task: Task
    formats: Sequence[tuple[str, str, Format]]
    input_name: str = "input"
    value_range: tuple[float, float] | None = None
    test: tuple[Array, Array] | None = None
    probabilities: bool = False
    stochastic: bool = False
    live: nn.Module | None = None
    calibration: Calibration | None = None
    rebuild: Callable[[], nn.Module] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output_name(self) -> str:
        """`logits`, `probabilities` or `values`."""
        if self.task.kind == "regression":
            return "values"
        return "probabilities" if self.probabilities else "logits"

    @property
    def ending(self) -> Ending:
        """What the graph does with the network's output."""
        return ending_of(self.task, is_ended=self.probabilities)

    def validate(self) -> None:
        """Checks the request.

        Raises:
            RequestError: Samples, layout, test data or formats are inconsistent.
        """
        for part in (self.module, self.preprocess):
            refuse_module(part)
        self._validate_samples()
        self._validate_formats()
        if self.probabilities:
            require_probabilities(self.task)
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise RequestError(
                f"The range {self.value_range} is empty.", hint="Give the smallest and the largest value."
            )
        if self.test is not None:
            self._validate_rows("Test", *self.test)
        if self.calibration is not None:
            self._validate_calibration(self.calibration)

    def _validate_calibration(self, calibration: Calibration) -> None:
        calibration.validate(self.task, stochastic=self.stochastic)
        self._validate_rows("Validation", *(calibration.rows or ()))
        require_added_output(calibration, self.formats)

    def _validate_rows(self, which: str, inputs: Array, targets: Array) -> None:
        fits = inputs.shape[1:] == self.samples.shape[1:] and len(inputs)
        if not fits or not targets_fit(targets, len(inputs), self.task):
            raise RequestError(
                f"{which} inputs {inputs.shape} with targets {np.shape(targets)} do not fit samples "
                f"{self.samples.shape}.",
                hint=f"Give raw {which.lower()} inputs with the shape of the samples, and one target for each.",
            )
        require_known_targets(which, targets, self.task)

    def _validate_samples(self) -> None:
        ranks: dict[Layout, bool] = {
            "image": self.samples.ndim == 4,
            "row": self.samples.ndim == 2,
            "array": self.samples.ndim >= 2,
        }
        if not ranks[self.layout] or not self.samples.size:
            raise RequestError(
                f"Samples of shape {self.samples.shape} do not fit layout {self.layout!r}.",
                hint="An image batch is (N, C, H, W), a batch of rows (N, F), any other (N, ...), not empty.",
            )
        if self.samples.dtype.kind not in _KINDS:
            raise RequestError(f"Samples have dtype {self.samples.dtype}.", hint="Give numbers: uint8 or float32.")
        if self.samples.dtype.kind == "f" and not np.isfinite(self.samples).all():
            raise RequestError("The samples contain NaN or infinity.", hint="Give real, finite inputs.")

    def _validate_formats(self) -> None:
        files = [filename for _, filename, _ in self.formats]
        names = [name for name, _, _ in self.formats]
        if not files:
            raise RequestError("No export format was requested.", hint="Request onnx, torchscript, or both.")
        for words, what in ((files, "file"), (names, "format")):
            twice = sorted({word for word in words if words.count(word) > 1})
            if twice:
                raise RequestError(f"The same {what} was requested twice: {', '.join(twice)}.", hint="Request it once.")
        if self.stochastic:
            require_noise(self.formats)
        bad = sorted(set(RESERVED) & set(files)) + [name for name in files if Path(name).name != name]
        if bad:
            raise RequestError(f"A format cannot write {bad[0]!r}.", hint="Give a plain, unreserved file name.")


def ending_of(task: Task | None, *, is_ended: bool) -> Ending:
    """Returns what a graph does with the network's output: nothing, a softmax, or for labels a sigmoid."""
    if task is None or not is_ended:
        return ""
    return "sigmoid" if task.is_multilabel else "softmax"


def require_probabilities(task: Task) -> None:
    """Checks that a task has probabilities.

    Raises:
        RequestError: It is a regression.
    """
    if task.kind == "regression":
        raise RequestError("Probabilities were requested, but the task is a regression.", hint="Leave them out.")


def require_added_output(calibration: Calibration, formats: Sequence[tuple[str, str, Format]]) -> None:
    """Checks that every format supports the output that a calibration adds.

    Raises:
        RequestError: One does not.
    """
    silent = [name for name, _, form in formats if not form.holds_added_outputs]
    if calibration.kind == "conformal" and silent:
        raise RequestError(
            f"The format {', '.join(silent)} does not support the added output of a conformal calibration.",
            hint="Leave the format out, or the calibration.",
        )


def require_noise(formats: Sequence[tuple[str, str, Format]]) -> None:
    """Checks that every format supports live dropout.

    Raises:
        RequestError: One does not.
    """
    silent = [name for name, _, form in formats if not form.holds_noise]
    if silent:
        raise RequestError(
            f"The format {', '.join(silent)} does not support live dropout: its checks need each mask, and outputs "
            "that equal torch's up to rounding for the same masks.",
            hint="Use onnx, torchscript or pt2 with live dropout; other formats in an export without stochastic.",
        )


def targets_fit(targets: Array, rows: int, task: Task) -> bool:
    """Returns whether targets have the shape of a task's: `(N,)` classes, `(N, K)` labels or values."""
    wanted: list[tuple[int, ...]] = [] if task.is_classification else [(rows, task.num_outputs)]
    if task.is_classification or task.num_outputs == 1:
        wanted.append((rows,))
    return np.shape(targets) in wanted


def require_known_targets(which: str, targets: Array, task: Task) -> None:
    """Checks the values of targets.

    Args:
        which: `Test` or `Validation`, for the message.
        targets: Targets of the right shape.
        task: The task.

    Raises:
        RequestError: One is no class of the task, no label, or not finite.
    """
    width = task.num_outputs
    if task.is_classification and not np.isin(targets, np.arange(width)).all():
        raise RequestError(
            f"A {which.lower()} target is not a class: there are {width}, 0 to {width - 1}.",
            hint="Give each row's class as a number, in the order of the class names.",
        )
    if not np.isfinite(targets).all():
        raise RequestError(
            f"A {which.lower()} target is NaN or infinite.", hint="Leave out the rows without a known target."
        )
    if task.is_multilabel and not np.isin(targets, (0, 1)).all():
        raise RequestError(
            f"A {which.lower()} target is not 0 or 1.",
            hint="Give 0 or 1 for each label, in the order of the names.",
        )


def licensed(request: BundleRequest, license_id: str) -> BundleRequest:
    """Returns the request with a licence in the manifest, if there is one."""
    return replace(request, manifest={**request.manifest, "license": license_id}) if license_id else request


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A verified bundle.

    Args:
        path: The folder.
        files: The names of all files in it, sorted.
        verification: The checks.
        digest: The SHA-256 of `SHA256SUMS`.
        seconds: Wall-clock time of each stage of the export.
    """

    path: Path
    files: tuple[str, ...]
    verification: Report
    digest: str
    seconds: Mapping[str, float] = field(default_factory=dict)

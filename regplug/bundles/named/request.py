"""The request for a bundle with several inputs or outputs, or symbolic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from regplug.api import Task
from regplug.bundles.calibration.request import Calibration
from regplug.bundles.formats import Array, Format
from regplug.bundles.isolate import Ending
from regplug.bundles.named.axes import NAME, Declared
from regplug.bundles.named.calling import Calling
from regplug.bundles.named.rows import TargetRows
from regplug.bundles.named.signature import InputPart
from regplug.bundles.request import ending_of, require_added_output, require_noise, require_probabilities
from regplug.errors import RequestError

_MOST_WHOLE = 2**53
"""Whole numbers up to here are exact in float64."""


@dataclass(frozen=True, kw_only=True)
class NamedRequest:
    """A trained network with several inputs or outputs, and the specification of its files.

    Args:
        module: The trained network; copied, never changed.
        preprocess: Maps each raw input to an input of the network, in order; becomes part of the graph.
        calling: How the network is called, and what its outputs are.
        samples: Real raw rows `(N, ...)` of each input.
        inputs: The inputs.
        declared: The symbolic axes.
        formats: Name, file name and object of each format.
        task: What the first output holds: logits of classes or labels, or values; `None` for anything else.
        probabilities: Whether the first output ends in a softmax, or for labels in a sigmoid.
        test: Test rows, on which the files themselves are evaluated.
        validation: The rows of the calibration.
        calibration: How the first output is calibrated; `None` for not at all.
        stochastic: Whether dropout stays live in inference (MC dropout).
        manifest: Additional fields for `manifest.json`.
    """

    module: nn.Module
    preprocess: Sequence[nn.Module]
    calling: Calling
    samples: Mapping[str, Array]
    inputs: tuple[InputPart, ...]
    declared: Declared
    formats: Sequence[tuple[str, str, Format]]
    task: Task | None = None
    probabilities: bool = False
    test: TargetRows | None = None
    validation: TargetRows | None = None
    calibration: Calibration | None = None
    stochastic: bool = False
    manifest: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ending(self) -> Ending:
        """What the graph does with the first output."""
        return ending_of(self.task, is_ended=self.probabilities)

    def validate(self) -> None:
        """Checks the request.

        Raises:
            RequestError: Names, samples or formats are inconsistent.
        """
        self._validate_names()
        for part in self.inputs:
            _validate_values(part, self.samples[part.name])
        if self.task is not None:
            self._validate_task(self.task)
        if self.stochastic:
            require_noise(self.formats)
        unable = [name for name, _, form in self.formats if not form.holds_names]
        if unable:
            others = [name for name, _, _ in self.formats if name not in unable]
            raise RequestError(
                f"The format {', '.join(unable)} does not support several inputs or outputs, or symbolic axes.",
                hint=f"Use onnx, torchscript or pt2{f': formats={others}' if others else ''}.",
            )

    def _validate_task(self, task: Task) -> None:
        if self.probabilities:
            require_probabilities(task)
        for which, rows in {"Test": self.test, "Validation": self.validation}.items():
            if rows is not None:
                rows.require_fitting(which, task)
        if self.calibration is not None:
            self.calibration.validate(task, stochastic=self.stochastic)
            require_added_output(self.calibration, self.formats)

    def _validate_names(self) -> None:
        names = [*(part.name for part in self.inputs), *(name for name, _ in self.calling.outputs)]
        if self.task is not None and self.calibration is not None and self.calibration.kind == "conformal":
            names.append(self.calibration.output_of(self.task)["name"])
        odd = [name for name in names if not isinstance(name, str) or not NAME.fullmatch(name)]
        if odd:
            raise RequestError(
                f"{odd[0]!r} cannot name an input or an output.",
                hint="Use letters, digits and underscores, starting with a letter.",
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise RequestError(
                f"The name {twice[0]!r} is used twice.",
                hint="All inputs and outputs of a file need different names; outputs of a tuple are named by outputs=.",
            )
        taken = sorted(set(names) & set(self.declared.axes))
        if taken:
            raise RequestError(
                f"The name {taken[0]!r} is that of an axis, and of an input or output.", hint="Rename the axis."
            )


def _validate_values(part: InputPart, array: Array) -> None:
    if not array.size:
        raise RequestError(f"The example of {part.name!r} is empty: {array.shape}.", hint="Give a few real rows.")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestError(f"The example of {part.name!r} has NaN or infinity.", hint="Give real, complete rows.")
    if array.dtype.kind in "ui" and (np.abs(array.astype(np.float64)) > _MOST_WHOLE).any():
        raise RequestError(
            f"The example of {part.name!r} has whole numbers above 2**53.", hint="Give smaller numbers, or floats."
        )
    if part.range is not None and not part.range[0] < part.range[1]:
        raise RequestError(f"The range {part.range} of {part.name!r} is empty.", hint="Give (least, greatest).")

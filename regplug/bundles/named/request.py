"""The request for a bundle with several inputs or outputs, or symbolic axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

from regplug.bundles.formats import Array, Format
from regplug.bundles.named.axes import NAME, Declared
from regplug.bundles.named.calling import Calling
from regplug.bundles.named.signature import InputPart
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
        class_names: Names of the classes whose logits are the first output; empty if it has none.
        manifest: Additional fields for `manifest.json`.
    """

    module: nn.Module
    preprocess: Sequence[nn.Module]
    calling: Calling
    samples: Mapping[str, Array]
    inputs: tuple[InputPart, ...]
    declared: Declared
    formats: Sequence[tuple[str, str, Format]]
    class_names: tuple[str, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)

    def validate(self) -> None:
        """Checks the request.

        Raises:
            RequestError: Names, samples or formats are inconsistent.
        """
        self._validate_names()
        for part in self.inputs:
            _validate_values(part, self.samples[part.name])
        unable = [name for name, _, form in self.formats if not form.holds_names]
        if unable:
            others = [name for name, _, _ in self.formats if name not in unable]
            raise RequestError(
                f"The format {', '.join(unable)} does not support several inputs or outputs, or symbolic axes.",
                hint=f"Use onnx, torchscript or pt2{f': formats={others}' if others else ''}.",
            )

    def _validate_names(self) -> None:
        names = [*(part.name for part in self.inputs), *(name for name, _ in self.calling.outputs)]
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

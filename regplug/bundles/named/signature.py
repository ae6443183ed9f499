"""Names, types and axes of a bundle's inputs and outputs, and the packing of a row's arrays. numpy only.

Shape letters: B rows, F numbers of all inputs of a row, K numbers of an output of a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from regplug.bundles.formats import Array, NamedRun, Run, RunAll

BATCH = "batch"
Sizes: TypeAlias = Mapping[str, int]
"""Name of a symbolic axis -> its size; without the batch."""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A symbolic axis.

    Args:
        name: Its name; inputs that share it have the same size.
        least: Smallest size.
        most: Largest size; `None` for no limit.
        checked: Sizes at which the files were checked, first that of the example; the n-th sizes of all axes were
            checked together.
    """

    name: str
    least: int
    most: int | None
    checked: tuple[int, ...] = ()

    def allows(self, size: int) -> bool:
        """Returns whether a size is within the range."""
        return self.least <= size and (self.most is None or size <= self.most)

    @property
    def words(self) -> str:
        """The range in words."""
        return f"{self.least} or more" if self.most is None else f"{self.least} to {self.most}"


@dataclass(frozen=True, kw_only=True)
class InputPart:
    """An input.

    Args:
        name: Its name.
        layout: `image`, `row` or `array`.
        dtype: dtype of the raw values.
        shape: Sizes or names of its axes, without the batch.
        range: Smallest and largest raw value, or `None`.
    """

    name: str
    layout: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]
    range: tuple[float, float] | None = None

    def sized(self, sizes: Sizes) -> tuple[int, ...]:
        """Returns its shape without the batch at given sizes."""
        return tuple(sizes[axis] if isinstance(axis, str) else axis for axis in self.shape)

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype} ({', '.join((BATCH, *map(str, self.shape)))})"


@dataclass(frozen=True, kw_only=True)
class OutputPart:
    """An output.

    Args:
        name: Its name.
        shape: Sizes, names or formulas of its axes, without the batch.
        checked: Its shape without the batch at each of the checked sizes.
    """

    name: str
    shape: tuple[int | str, ...]
    checked: tuple[tuple[int, ...], ...]

    def width(self, at: int) -> int:
        """Returns how many numbers a row has at the checked sizes with this index."""
        return int(np.prod(self.checked[at], dtype=np.int64))


@dataclass(frozen=True, kw_only=True)
class Signature:
    """All inputs, outputs and symbolic axes of a bundle, in order."""

    inputs: tuple[InputPart, ...]
    outputs: tuple[OutputPart, ...]
    axes: tuple[Axis, ...]

    @classmethod
    def from_manifest(cls, manifest: Mapping[str, Any]) -> Signature:
        """Reads it from a manifest."""
        axes = manifest["axes"].items()
        return cls(
            inputs=tuple(_input_of(part) for part in manifest["inputs"]),
            outputs=tuple(
                OutputPart(
                    name=part["name"], shape=tuple(part["shape"][1:]), checked=tuple(map(tuple, part["checked"]))
                )
                for part in manifest["outputs"]
            ),
            axes=tuple(
                Axis(name=name, least=part["least"], most=part["most"], checked=tuple(part["checked"]))
                for name, part in axes
            ),
        )

    @property
    def settings(self) -> list[dict[str, int]]:
        """The sizes of all axes that are checked together, first those of the example."""
        return settings_of(self.axes)

    def outputs_of(self, packed_BF: Array, run: NamedRun, sizes: Sizes) -> dict[str, Array]:
        """Runs a file on packed rows."""
        return run(unpack(packed_BF, self.inputs, sizes))


def settings_of(axes: Sequence[Axis]) -> list[dict[str, int]]:
    """Returns the sizes of all axes that are checked together; one empty setting without axes."""
    return [{axis.name: axis.checked[at] for axis in axes} for at in range(len(axes[0].checked))] if axes else [{}]


def label_of(sizes: Sizes) -> str:
    """Returns the name of sizes in checks and samples: `height=7,width=9`."""
    return ",".join(f"{name}={size}" for name, size in sizes.items())


def pack(arrays: Mapping[str, Array], inputs: Sequence[InputPart]) -> Array:
    """Returns all numbers of each row, one input after another, as float64 `(B, F)`."""
    return np.hstack([arrays[part.name].reshape(len(arrays[part.name]), -1).astype(np.float64) for part in inputs])


def unpack(packed_BF: Array, inputs: Sequence[InputPart], sizes: Sizes) -> dict[str, Array]:
    """Returns what `pack` packed."""
    arrays, start = {}, 0
    for part in inputs:
        shape = part.sized(sizes)
        stop = start + int(np.prod(shape, dtype=np.int64))
        arrays[part.name] = packed_BF[:, start:stop].astype(part.dtype).reshape(len(packed_BF), *shape)
        start = stop
    return arrays


def flat(output: Array) -> Array:
    """Returns an output `(B, ...)` as `(B, K)`."""
    return output.reshape(len(output), -1)


def packed_run(run: NamedRun, signature: Signature, sizes: Sizes, output: str) -> Run:
    """Returns a function from packed rows `(B, F)` to one output `(B, K)`."""
    return lambda packed_BF: flat(signature.outputs_of(packed_BF, run, sizes)[output])


def packed_outputs(run: NamedRun, signature: Signature, sizes: Sizes, names: Sequence[str]) -> RunAll:
    """Returns a function from packed rows `(B, F)` to several outputs `(B, ...)`."""

    def answer(packed_BF: Array) -> list[Array]:
        found = signature.outputs_of(packed_BF, run, sizes)
        return [found[name] for name in names]

    return answer


def sizes_in(arrays: Mapping[str, Array], inputs: Sequence[InputPart]) -> dict[str, int]:
    """Returns the sizes of the symbolic axes of rows `(B, ...)`."""
    return {
        axis: size
        for part in inputs
        for axis, size in zip(part.shape, arrays[part.name].shape[1:], strict=True)
        if isinstance(axis, str)
    }


def resized(array: Array, part: InputPart, sizes: Sizes) -> Array:
    """Cuts rows `(B, ...)` to other sizes of their symbolic axes; where they are too short, they are repeated."""
    for at, axis in enumerate(part.shape, start=1):
        if isinstance(axis, str) and array.shape[at] != sizes[axis]:
            array = np.take(array, np.arange(sizes[axis]) % array.shape[at], axis=at)
    return array


def sized_inputs(arrays: Mapping[str, Array], inputs: Sequence[InputPart], sizes: Sizes) -> dict[str, Array]:
    """Returns the arrays of all inputs at other sizes."""
    return {part.name: np.ascontiguousarray(resized(arrays[part.name], part, sizes)) for part in inputs}


def _input_of(part: Mapping[str, Any]) -> InputPart:
    return InputPart(
        name=part["name"],
        layout=part["layout"],
        dtype=np.dtype(part["dtype"]),
        shape=tuple(part["shape"][1:]),
        range=None if part["range"] is None else (part["range"][0], part["range"][1]),
    )

"""Which axes of the inputs are symbolic, and at which sizes the files are checked. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from regplug.bundles.named.signature import BATCH, Axis
from regplug.errors import RequestError

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")
_HOW = "Give dynamic={'input': {1: 'length'}} or {1: ('length', 2, 512)}: the axis, its name, least and greatest size."
_GROWTH = 4
_MOST = 2**31 - 1


@dataclass(frozen=True, kw_only=True)
class Declared:
    """Symbolic axes as declared.

    Args:
        places: Input -> axis, counted with the batch -> name.
        axes: The axes by name; `checked` is empty.
        sizes: The size of each in the example.
        bare: Names of those without a declared range.
    """

    places: Mapping[str, Mapping[int, str]]
    axes: Mapping[str, Axis]
    sizes: Mapping[str, int]
    bare: frozenset[str]


def declared_axes(dynamic: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Declared:
    """Reads the declaration of symbolic axes.

    Args:
        dynamic: Input -> axis, counted with the batch -> its name, or a tuple of name, least and greatest size.
        shapes: Shape of each input's example `(N, ...)`.

    Raises:
        RequestError: It names an unknown input or axis, contradicts itself or the example.
    """
    places: dict[str, dict[int, str]] = {}
    axes: dict[str, Axis] = {}
    sizes: dict[str, int] = {}
    for name, marked in dynamic.items():
        if name not in shapes or not isinstance(marked, Mapping):
            raise RequestError(f"dynamic: {name!r} is not an input; there are {', '.join(shapes)}.", hint=_HOW)
        for at, value in marked.items():
            axis = _axis(name, at, value)
            size = _size(name, at, shapes[name])
            axes[axis.name] = _merged(axes.get(axis.name), axis)
            if sizes.setdefault(axis.name, size) != size:
                raise RequestError(
                    f"The axis {axis.name!r} has sizes {sizes[axis.name]} and {size} in the example.",
                    hint="Inputs that share the name of an axis have one size; give other axes other names.",
                )
            places.setdefault(name, {})[at] = axis.name
    for axis in axes.values():
        _require_allowed(axis, sizes[axis.name])
    bare = frozenset(name for name, axis in axes.items() if axis.least == 1 and axis.most is None)
    return Declared(places=places, axes=axes, sizes=sizes, bare=bare)


def _axis(name: str, at: Any, value: Any) -> Axis:
    told = (value,) if isinstance(value, str) else value
    is_range = isinstance(told, tuple | list) and len(told) == 3 and all(type(end) is int for end in told[1:])
    if not (isinstance(told, tuple | list) and told and isinstance(told[0], str) and (len(told) == 1 or is_range)):
        raise RequestError(f"dynamic: axis {at!r} of {name!r} is {value!r}.", hint=_HOW)
    if not NAME.fullmatch(told[0]) or told[0] == BATCH:
        raise RequestError(
            f"dynamic: {told[0]!r} cannot name an axis.",
            hint="Use letters, digits and underscores, but not 'batch', which is the first axis of every input.",
        )
    least, most = (told[1], told[2]) if is_range else (1, None)
    if least < 1 or (most is not None and not least < most <= _MOST):
        raise RequestError(
            f"dynamic: the range {least} to {most} of {told[0]!r} is empty.",
            hint="Give a least size of at least 1, and a greater one.",
        )
    return Axis(name=told[0], least=least, most=most)


def _size(name: str, at: Any, shape: tuple[int, ...]) -> int:
    if type(at) is not int or not 1 <= at < len(shape):
        told = "is the batch, whose size is always free" if at == 0 else f"is not one of 1 to {len(shape) - 1}"
        raise RequestError(f"dynamic: axis {at!r} of {name!r} {told}; its example has shape {shape}.", hint=_HOW)
    return shape[at]


def _merged(known: Axis | None, axis: Axis) -> Axis:
    if known is None or known == axis or (axis.least == 1 and axis.most is None):
        return known or axis
    if known.least == 1 and known.most is None:
        return axis
    raise RequestError(
        f"The axis {axis.name!r} has two ranges: {known.words}, and {axis.words}.", hint="Declare its range once."
    )


def _require_allowed(axis: Axis, size: int) -> None:
    if not axis.allows(size):
        raise RequestError(
            f"The example has {size} along the axis {axis.name!r}, whose range is {axis.words}.",
            hint="Give an example within the range, or declare a wider one.",
        )


def with_checked(axes: Sequence[Axis], sizes: Mapping[str, int]) -> tuple[Axis, ...]:
    """Returns the axes with the sizes at which files are checked.

    These are the sizes of the example, the least ones, large ones, and mixed ones in which no two axes agree. The
    large one is the greatest size, but at most four times that of the example; without a greatest one it is twice that
    of the example and 3 more.
    """
    columns = []
    for at, axis in enumerate(axes):
        size = sizes[axis.name]
        large = max(size, min(axis.most, _GROWTH * size)) if axis.most else 2 * size + 3
        beside = size + 1 if axis.allows(size + 1) else size - 1
        mixed = (beside, large) if at % 2 == 0 else (large, axis.least)
        columns.append((size, axis.least, large, *mixed))
    rows = list(dict.fromkeys(zip(*columns, strict=True)))
    return tuple(replace(axis, checked=tuple(row[at] for row in rows)) for at, axis in enumerate(axes))


def capture_sizes(axes: Mapping[str, Axis], sizes: Mapping[str, int]) -> dict[str, int]:
    """Returns sizes for the capture: those of the example, except 1, which torch.export treats as a constant."""
    return {name: size if size > 1 else min(5, axes[name].most or 5) for name, size in sizes.items()}

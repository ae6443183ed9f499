"""Cases of several inputs: those of each input, put together row by row. numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from regplug.bundles.cases import EXTREME_ROWS, LARGE, LARGE_FACTOR, NORMAL, REAL, VARIED, case_rows, make_cases
from regplug.bundles.formats import Array
from regplug.bundles.named.signature import InputPart, Sizes, sized_inputs
from regplug.bundles.sample_checks import is_close

Arrays = Mapping[str, Array]


def named_cases(samples: Arrays, inputs: Sequence[InputPart]) -> dict[str, dict[str, Array]]:
    """Returns the inputs of every case at the sizes of the samples.

    An input whose type has no such case keeps its real rows in it.

    Args:
        samples: Real raw rows `(N, ...)` by input.
        inputs: The inputs.

    Returns:
        Arrays by input by case, `real` first.
    """
    own = [make_cases(samples[part.name], part.range) for part in inputs]
    # Inputs of one shape and range would be drawn from the same numbers.
    for shift, cases in enumerate(own):
        cases[VARIED] = np.roll(cases[VARIED], shift, axis=0)
    return {
        case: {part.name: cases.get(case, cases[REAL][:EXTREME_ROWS]) for part, cases in zip(inputs, own, strict=True)}
        for case in named_case_rows(inputs)
    }


def named_case_rows(inputs: Sequence[InputPart]) -> dict[str, int]:
    """Returns all cases of the inputs with the number of rows of each."""
    found: dict[str, int] = {}
    for part in inputs:
        found |= case_rows(part.dtype)
    return found


def sized_rows(real: Arrays, inputs: Sequence[InputPart], sizes: Sizes) -> dict[str, Array]:
    """Returns a few real rows at other sizes."""
    return sized_inputs({part.name: real[part.name][:EXTREME_ROWS] for part in inputs}, inputs, sizes)


def wrong_cases(found: Mapping[str, Arrays], inputs: Sequence[InputPart]) -> list[str]:
    """Returns the cases that do not follow from the real rows and the ranges, as `CASE of INPUT`."""
    wanted = named_cases(found[REAL], inputs)
    for part in inputs:
        if NORMAL in case_rows(part.dtype):
            # These numbers are equal on all machines only up to rounding.
            wanted[LARGE][part.name] = found[NORMAL][part.name] * part.dtype.type(LARGE_FACTOR)
    return [
        f"{case} of {name}"
        for case, arrays in wanted.items()
        for name in arrays
        if not is_close(found[case][name], arrays[name])
    ]

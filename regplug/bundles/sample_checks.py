"""Checks the consistency of a bundle's samples without any model. numpy only."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from regplug.bundles.bounds import Perturbed, largest, least_tolerance, most_given_tolerance, most_tolerance
from regplug.bundles.cases import LARGE, LARGE_FACTOR, NONFINITE, NORMAL, REAL, Reference, make_cases
from regplug.bundles.formats import Array
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.stochastic.record import Draws

_ROUNDING = 1e-5
"""Allowed difference of an input that was computed on another machine, as a share of the largest number."""

_SUM_ERROR = 1e-3
"""Allowed difference of the sum of probabilities from 1."""


def inputs_follow(known: Sequence[Reference], manifest: Mapping[str, Any]) -> Check:
    """Checks that the inputs of every case can be derived from the real rows and the declared range."""
    found = {reference.case: reference.inputs for reference in known}
    if found[REAL].dtype.kind == "f" and not np.isfinite(found[REAL]).all():
        return holds("samples.inputs", False, "the real rows contain NaN or infinity")
    declared = manifest["input"]["range"]
    wanted = make_cases(found[REAL], None if declared is None else tuple(declared))
    if NORMAL in wanted:
        # These numbers are equal on all machines only up to this tolerance.
        wanted[LARGE] = found[NORMAL] * found[NORMAL].dtype.type(LARGE_FACTOR)
    wrong = [case for case in wanted if not is_close(found[case], wanted[case])]
    detail = f"cases with wrong inputs: {', '.join(wrong) or 'none'}"
    return at_most("samples.inputs", len(wrong), 0, detail)


def is_close(found: Array, wanted: Array) -> bool:
    """Returns whether inputs are equal up to what differs between machines."""
    if wanted.dtype.kind != "f":
        return np.array_equal(found, wanted)
    share = max(_ROUNDING, 4 * float(np.finfo(wanted.dtype).eps))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.allclose(found, wanted, rtol=share, atol=share * largest(wanted), equal_nan=True)


def outputs_fit(known: Sequence[Reference], draws: Draws | None, kind: str) -> Check:
    """Checks that outputs on real rows are finite, ignore NaN in other rows, and sum to 1 if they are probabilities.

    Args:
        known: The cases, `real` first.
        draws: The outputs with live dropout.
        kind: What the output holds: `logits`, `probabilities`, `values` or an empty text.
    """
    by_case = {reference.case: reference for reference in known}
    real = by_case[REAL]
    if not np.isfinite(real.outputs).all():
        return holds("samples.outputs", False, "the outputs on real rows contain NaN or infinity")
    if draws is not None and not (np.isfinite(draws.given.outputs).all() and np.isfinite(draws.passes).all()):
        return holds("samples.outputs", False, "the outputs with live dropout contain NaN or infinity")
    if kind == "probabilities" and not _are_shares(real.outputs):
        return holds("samples.outputs", False, "the outputs are named probabilities, but do not sum to 1")
    again = by_case.get(NONFINITE)
    if again is not None and not _answers_again(again, real):
        return holds(
            "samples.outputs", False, "real rows have other outputs in a batch with NaN and infinity than alone"
        )
    return holds("samples.outputs", True, f"{len(known)} cases, finite outputs on the real rows")


def _are_shares(outputs: Array) -> bool:
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=_SUM_ERROR))


def _answers_again(again: Reference, real: Reference) -> bool:
    gap = np.abs(again.outputs[2:].astype(np.float64) - real.outputs[2 : len(again.outputs)])
    return bool((gap <= again.tolerance + real.tolerance).all())


def impossible_tolerances(known: Sequence[Reference], draws: Draws | None) -> list[Check]:
    """Returns a failed check if a tolerance is not a number, or smaller than the formula allows for its outputs."""
    given = [] if draws is None else [("given", draws.given)]
    named = [*((reference.case, reference) for reference in known), *given]
    odd = [name for name, reference in named if not _is_possible(reference)]
    return [holds("samples.tolerances", False, f"impossible tolerances: {', '.join(odd)}")] if odd else []


def tolerances_bounded(
    known: Sequence[Reference], draws: Draws | None, opened: Callable[[], Sequence[Perturbed]]
) -> Check:
    """Checks that no tolerance is larger than the formula allows.

    Args:
        known: The cases, `real` first.
        draws: The outputs with live dropout.
        opened: See `most_tolerance`.
    """
    references = {reference.case: reference for reference in known}
    files = functools.cache(opened)
    scale = largest(known[0].outputs)
    shares = {
        case: _share(reference.tolerance, most_tolerance(reference, max(scale, largest(reference.outputs)), files))
        for case, reference in references.items()
    }
    if draws is not None:
        shares["given"] = _share(draws.given.tolerance, most_given_tolerance(draws.given, known[0]))
    worst = max(shares, key=shares.__getitem__)
    return at_most(
        "samples.tolerances", shares[worst], 1.0, f"largest tolerance relative to its maximum, for {worst!r}"
    )


def _is_possible(reference: Reference) -> bool:
    return math.isfinite(reference.tolerance) and reference.tolerance >= least_tolerance(reference.outputs)


def _share(tolerance: float, most: float) -> float:
    return 0.0 if tolerance <= 0 else tolerance / most if most else math.inf

"""Checks of a bundle's samples without any model: what follows from other numbers must follow. numpy only."""

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
"""Share of the largest number by which an input may be off that was computed on another machine."""

_SUM_ERROR = 1e-3
"""By how much probabilities may miss a sum of 1."""


def inputs_follow(known: Sequence[Reference], manifest: Mapping[str, Any]) -> Check:
    """The inputs of every case are those that the real rows and the declared range give."""
    found = {reference.case: reference.inputs for reference in known}
    if found[REAL].dtype.kind == "f" and not np.isfinite(found[REAL]).all():
        return holds("samples.inputs", False, "the real rows hold NaN or infinity")
    declared = manifest["input"]["range"]
    wanted = make_cases(found[REAL], None if declared is None else tuple(declared))
    if NORMAL in wanted:
        # Only so far are these numbers the same on every machine.
        wanted[LARGE] = found[NORMAL] * found[NORMAL].dtype.type(LARGE_FACTOR)
    wrong = [case for case in wanted if not _is_close(found[case], wanted[case])]
    detail = f"cases that are not what they should be: {', '.join(wrong) or 'none'}"
    return at_most("samples.inputs", len(wrong), 0, detail)


def _is_close(found: Array, wanted: Array) -> bool:
    if wanted.dtype.kind != "f":
        return np.array_equal(found, wanted)
    share = max(_ROUNDING, 4 * float(np.finfo(wanted.dtype).eps))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.allclose(found, wanted, rtol=share, atol=share * largest(wanted), equal_nan=True)


def outputs_fit(known: Sequence[Reference], draws: Draws | None, manifest: Mapping[str, Any]) -> Check:
    """The answers on real rows are numbers, the same beside NaN and infinity, and probabilities where so named."""
    by_case = {reference.case: reference for reference in known}
    real = by_case[REAL]
    if not np.isfinite(real.outputs).all():
        return holds("samples.outputs", False, "the answers on real rows hold NaN or infinity")
    if draws is not None and not (np.isfinite(draws.given.outputs).all() and np.isfinite(draws.passes).all()):
        return holds("samples.outputs", False, "the answers with live dropout hold NaN or infinity")
    if manifest["output"]["name"] == "probabilities" and not _are_shares(real.outputs):
        return holds("samples.outputs", False, "the answers are named probabilities, and do not sum to 1")
    again = by_case.get(NONFINITE)
    if again is not None and not _answers_again(again, real):
        return holds("samples.outputs", False, "the real rows beside NaN and infinity have other answers than alone")
    return holds("samples.outputs", True, f"{len(known)} cases, the real rows with numbers")


def _are_shares(outputs: Array) -> bool:
    return bool((outputs >= 0).all() and np.allclose(outputs.sum(1), 1, atol=_SUM_ERROR))


def _answers_again(again: Reference, real: Reference) -> bool:
    gap = np.abs(again.outputs[2:].astype(np.float64) - real.outputs[2 : len(again.outputs)])
    return bool((gap <= again.tolerance + real.tolerance).all())


def impossible_tolerances(known: Sequence[Reference], draws: Draws | None) -> list[Check]:
    """A failed check where a tolerance is no number, or below what the formula gives for its answers."""
    given = [] if draws is None else [("given", draws.given)]
    named = [*((reference.case, reference) for reference in known), *given]
    odd = [name for name, reference in named if not _is_possible(reference)]
    return [holds("samples.tolerances", False, f"no tolerances of their answers: {', '.join(odd)}")] if odd else []


def tolerances_bounded(
    known: Sequence[Reference], draws: Draws | None, opened: Callable[[], Sequence[Perturbed]]
) -> Check:
    """No tolerance is larger than the formula can give.

    Args:
        known: The cases, `real` first.
        draws: The answers with live dropout.
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
    return at_most("samples.tolerances", shares[worst], 1.0, f"largest tolerance as a share of the most, of {worst!r}")


def _is_possible(reference: Reference) -> bool:
    return math.isfinite(reference.tolerance) and reference.tolerance >= least_tolerance(reference.outputs)


def _share(tolerance: float, most: float) -> float:
    return 0.0 if tolerance <= 0 else tolerance / most if most else math.inf

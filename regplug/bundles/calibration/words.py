"""Describes a calibration in a sentence. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def calibration_words(part: Mapping[str, Any]) -> str:
    """Returns what a calibration is and what it measured on the test rows.

    Args:
        part: `calibration` of the manifest.
    """
    fitted = f"fitted on {part['rows']:,} validation rows"
    tests = part.get("test") or ()
    if part["kind"] == "temperature":
        words = f"the logits are divided by the temperature {part['temperature']:.4g}, {fitted}"
        return f"{words}{_scaled(tests[0]) if tests else ''}"
    name, coverage = part["output"]["name"], 100 * part["coverage"]
    words = f"`{name}` shall contain the target of {coverage:g} % of the rows, {fitted}"
    return words + "".join(map(_covered, tests))


def _scaled(test: Mapping[str, Any]) -> str:
    nll, ece = ((test[f"{name}_before"], test[f"{name}_after"]) for name in ("nll", "ece"))
    return (
        f"; on {test['rows']:,} test rows it changes the NLL from {nll[0]:.4g} to {nll[1]:.4g} and the ECE from "
        f"{ece[0]:.4g} to {ece[1]:.4g}"
    )


def _covered(test: Mapping[str, Any]) -> str:
    share, low, high = (100 * test[key] for key in ("coverage", "low", "high"))
    return (
        f"; on {test['rows']:,} test rows {share:.1f} % ({low:.1f} to {high:.1f} %), with a mean size of "
        f"{test['mean_size']:.4g}"
    )

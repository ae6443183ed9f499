"""Warns about a finished run that is no better than a constant prediction."""

from __future__ import annotations

from regplug.data import Prepared
from regplug.measuring.final_metrics import Final
from regplug.measuring.guessing import has_fitted
from regplug.runs.assembly import Assembly

GUESS_TAG = "regplug.no_better_than_guessing"
"""Tag of a run that is no better than a fixed answer, with both figures."""

WARNINGS_TAG = "regplug.warnings"


def doubt_of(final: Final, made: Assembly, data: Prepared, rate: float) -> str:
    """Returns a warning with what to try; empty where the run is better than a fixed answer.

    Args:
        final: The final metrics of the run.
        made: What it trained; of a stack, the first run's.
        data: Its data.
        rate: Its learning rate.
    """
    if final.guess is None:
        return ""
    settings = made.loss_tensors()
    fitted = has_fitted(
        final.metrics["train/loss"],
        lambda outputs, targets: made.program.loss.mean(outputs, targets, settings),
        data.train.y,
        data.task,
    )
    return f"{final.guess.sentence} {final.guess.advice(rate, has_fitted=fitted)}"


def guess_tag(final: Final) -> str:
    """Returns the tag's text; empty for a run that does more than guess."""
    return "" if final.guess is None or final.guess.is_hidden else final.guess.figures

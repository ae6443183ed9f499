"""Reports the events of a study to its observers."""

from __future__ import annotations

from collections.abc import Sequence

from regplug.errors import MOST_NAMES
from regplug.studies.design.soundness import guessing_warning
from regplug.studies.measuring import PointResult
from regplug.studies.results import StudyEnded, StudyObserver, StudyResult


def tell_stage(observers: Sequence[StudyObserver], name: str) -> None:
    """Reports that a stage starts."""
    for observer in observers:
        observer.stage(name)


def tell_warning(observers: Sequence[StudyObserver], message: str, kept: list[str] | None = None) -> None:
    """Reports a warning, and appends it to `kept`."""
    if kept is not None:
        kept.append(message)
    for observer in observers:
        observer.warned(message)


def interruption_of(result: StudyResult) -> str:
    """Returns what an interrupted study has not trained, and how it is continued."""
    total = len(result.results) + len(result.untrained)
    missing = [point.key for point in result.untrained]
    more = f" and {len(missing) - MOST_NAMES} more" if len(missing) > MOST_NAMES else ""
    left = (
        f"{len(missing)} of {total} runs are not trained: {'; '.join(missing[:MOST_NAMES])}{more}."
        if missing
        else "All runs are trained, but the best setting is not trained again."
    )
    return f"Interrupted: {left} `regplug runs resume {result.study_id[:8]}` continues the study."


def tell_end(observers: Sequence[StudyObserver], ended: StudyEnded) -> None:
    """Reports how the study ended."""
    for observer in observers:
        observer.study_ended(ended)


def tell_guessing(observers: Sequence[StudyObserver], results: Sequence[PointResult]) -> list[str]:
    """Reports and returns a warning about settings that are no better than guessing; none if there are none."""
    by_setting: dict[str, list[PointResult]] = {}
    for each in results:
        if each.is_finished:
            by_setting.setdefault(each.point.setting.label, []).append(each)
    counts = [(label, sum(bool(each.guess) for each in runs), len(runs)) for label, runs in by_setting.items()]
    told = guessing_warning(
        [count for count in counts if count[1]],
        [each.doubt for each in results if each.guess and each.doubt],
    )
    if told:
        tell_warning(observers, told)
    return [told] if told else []

"""Several runs of one setting with the same seed: whether to average over them, or which one counts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from regplug.errors import RequestError
from regplug.statistics import PairKey
from regplug.studies.comparison.differing_params import component_names
from regplug.tracking import RunInfo

Place = tuple[str, PairKey]
"""The label of a run's setting, and its seed, data seed and fold."""


def crossed_parameters(runs: Sequence[RunInfo], places: Mapping[str, Place]) -> tuple[str, ...]:
    """Returns the parameters over which settings can be averaged: every setting and seed has each combination of them.

    Args:
        runs: The runs.
        places: Run id -> its place.
    """
    by_place = _by_place(runs, places)
    names = tuple(dict.fromkeys(name for equal in by_place.values() for name in _differing(equal)))
    combinations = {
        frozenset(tuple(run.params.get(name, "none") for name in names) for run in equal) for equal in by_place.values()
    }
    return names if len(combinations) == 1 else ()


def without_repeats(runs: Sequence[RunInfo], places: Mapping[str, Place]) -> tuple[list[RunInfo], list[str]]:
    """Returns one run of each place, the newest finished one, and notes on those left out.

    Args:
        runs: The runs, the newest first.
        places: Run id -> its place.

    Raises:
        RequestError: Runs of one setting and seed differ in another parameter.
    """
    kept = []
    for (label, _), equal in _by_place(runs, places).items():
        differing = _differing(equal)
        if differing:
            raise RequestError(
                f"Runs of the setting {label!r} with the same seed differ in {', '.join(differing)}.",
                hint=f"Make these parameters part of the setting: --by {','.join(['reg', *differing])}. "
                "An average over them needs every combination in each setting and seed.",
            )
        kept.append(next((run for run in equal if run.status == "FINISHED"), equal[0]))
    left_out = len(runs) - len(kept)
    return kept, [f"{left_out} runs were left out: newer ones have the same setting and seed."] if left_out else []


def _by_place(runs: Sequence[RunInfo], places: Mapping[str, Place]) -> dict[Place, list[RunInfo]]:
    found: dict[Place, list[RunInfo]] = defaultdict(list)
    for run in runs:
        found[places[run.run_id]].append(run)
    return found


def _differing(runs: Sequence[RunInfo]) -> list[str]:
    names = dict.fromkeys(name for run in runs for name in run.params if name != "setting")
    return [name for name in names if len({_own_value(name, run) for run in runs}) > 1]


def _own_value(name: str, run: RunInfo) -> str | None:
    """Returns a parameter; `None` for one of a regularizer that the run lacks, even if its off value is logged."""
    kind, _, rest = name.partition(".")
    return None if kind == "reg" and rest.partition(".")[0] not in component_names("reg", run) else run.params.get(name)

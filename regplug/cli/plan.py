"""`regplug plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from regplug.cli.config_options import read_config, takes_config
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, new_app
from regplug.cli.output import emit, say, say_facts, say_table, warn
from regplug.cli.study_options import (
    AllPairs,
    Baseline,
    BestOf,
    DataSeeds,
    Factorial,
    FinalSeeds,
    Folds,
    Grid,
    Group,
    Metric,
    Minimize,
    PairSeeds,
    Repeats,
    Seeds,
    StudyFile,
    Tune,
    Zip,
    read_study,
)

if TYPE_CHECKING:
    from regplug.runs.planning import Plan

app = new_app()

_MOST_SETTINGS = 3


@app.command(cls=Command)
@takes_config
def plan(
    study: StudyFile = None,
    grid: Grid = None,
    zip: Zip = None,  # noqa: A002  # the flag's name
    seeds: Seeds = None,
    data_seeds: DataSeeds = None,
    pair_seeds: PairSeeds = None,
    folds: Folds = None,
    repeats: Repeats = None,
    group: Group = None,
    metric: Metric = None,
    best_of: BestOf = None,
    tune: Tune = None,
    factorial: Factorial = None,
    minimize: Minimize = None,
    baseline: Baseline = None,
    all_pairs: AllPairs = None,
    final_seeds: FinalSeeds = None,
    **given: Any,
) -> None:
    """Print what run, sweep or cv would do with the same flags, in which order and why; write nothing."""
    own = {
        "grid": grid,
        "zip": zip,
        "seeds": seeds,
        "data_seeds": data_seeds,
        "pair_seeds": pair_seeds,
        "folds": folds,
        "repeats": repeats,
        "group": group,
        "metric": metric,
        "best_of": best_of,
        "tune": tune,
        "factorial": factorial,
        "minimize": minimize,
        "baseline": baseline,
        "all_pairs": all_pairs,
        "final_seeds": final_seeds,
    }
    is_study = study is not None or any(value is not None for value in own.values())
    made, facts = _of_study(study, own, given) if is_study else (_of_run(given), ())
    if given["json"]:
        emit(made.document())
    else:
        _tell(made, facts)


def _of_run(given: dict[str, Any]) -> Plan:
    from regplug.runs.request import check_request

    config, registry = read_config(given), registry_of(given)
    request = check_request(config, registry, writes=False)
    from regplug.runs.planning import make_plan

    return make_plan(request)


def _of_study(file: str | None, own: dict[str, Any], given: dict[str, Any]) -> tuple[Plan, tuple[str, ...]]:
    """Returns the plan of the first run, with the groups of all runs."""
    import dataclasses

    from regplug.studies.design.request import check_study

    asked, registry = read_study("any", given, file, own), registry_of(given)
    points = check_study(asked, registry)
    from regplug.runs.planning import make_plan
    from regplug.runs.request import check_request
    from regplug.studies.engine import Study

    kind = "cv" if asked.folds else "sweep"
    study = Study(asked, kind=kind, registry=registry, points=points)
    first = make_plan(check_request(study.points[0].config, registry, writes=False))
    stacked, duration = study.planned()
    settings = list(dict.fromkeys(point.setting.label for point in study.points))
    chosen = f"the best by {study.metric}" if study.metric else "no validation rows, so nothing is chosen"
    facts = (
        f"study: {kind} of {len(settings)} settings, {len(study.points)} runs; {chosen}",
        f"duration: {duration}",
        *study.notes,
        f"the plan below is that of its first run: {study.points[0].key}",
    )
    warnings = tuple(dict.fromkeys((*first.warnings, *study.warnings)))
    return dataclasses.replace(first, stacked=stacked, duration=duration.document(), warnings=warnings), facts


def _tell(made: Plan, facts: tuple[str, ...]) -> None:
    warn(made.warnings)
    say_facts(*facts, *made.facts)
    if made.order:
        rows = [(step.phase, step.name, step.why) for step in made.order]
        say("")
        say_table(("phase", "regularizer", "why here"), rows, folds="why here")
    else:
        say("regularizers: none")
    for group in made.stacked:
        say_facts("", f"{group['runs']} run{'' if group['runs'] == 1 else 's'}{_how(group)}: {group['why']}")


def _how(group: dict[str, Any]) -> str:
    """Describes stack sizes and settings of a study's group."""
    if "sizes" not in group:
        return ""
    sizes, settings = group["sizes"], group["settings"]
    together = "one by one" if max(sizes) == 1 else f"in {len(sizes)} stack{'s' * (len(sizes) > 1)} of {max(sizes)}"
    more = f" and {len(settings) - _MOST_SETTINGS} more" if len(settings) > _MOST_SETTINGS else ""
    return f" {together} ({'; '.join(settings[:_MOST_SETTINGS])}{more})"

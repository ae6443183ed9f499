"""Runs a study from the command line and prints its results."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from regplug.cli.analysis_text import tell_analysis
from regplug.cli.failures import telling_what_was_reached
from regplug.cli.installed import registry_of
from regplug.cli.live_study import LiveStudy
from regplug.cli.output import note, say
from regplug.cli.running import show_result
from regplug.cli.summary import describe_checks, format_figure, lines_of
from regplug.registry.uncollected import uncollected
from regplug.runs.background_process import second_process
from regplug.studies.design.request import check_study
from regplug.tracking.secrets import masked

if TYPE_CHECKING:
    from regplug.runs.background_process import Executor
    from regplug.studies.design.config import StudyConfig
    from regplug.studies.results import StudyResult

_MOST_FAILED = 5
_GET_READY = "regplug.reports.judging:get_ready"


def carry_out(kind: str, config: StudyConfig, given: Mapping[str, Any], tracking_uri: str | None) -> None:
    """Runs a study, shows its progress and prints its results.

    Args:
        kind: `sweep` or `cv`.
        config: The study.
        given: The command's flags.
        tracking_uri: As for `regplug run`.

    Raises:
        typer.Exit: As for `execute`.
    """
    registry, refits = registry_of(given), config.delivers(kind)
    points = check_study(config, registry, refits=refits, tracking_uri=tracking_uri)

    def run(live: LiveStudy, computing: Executor) -> StudyResult:
        with uncollected():
            from regplug.studies.engine import Study

        study = Study(config, kind=kind, registry=registry, points=points)
        return study.run([live], tracking_uri, refit=refits, computing=computing, is_soft=True)

    execute(run, as_json=given["json"], tracking_uri=tracking_uri)


def execute(run: Callable[[LiveStudy, Executor], StudyResult], *, as_json: bool, tracking_uri: str | None) -> None:
    """Executes or resumes a study, shows its progress and prints its results.

    Args:
        run: Takes an observer and what computes the statistics, and returns the result.
        as_json: Whether `--json` was given.
        tracking_uri: The store that was asked for, for the commands of the next steps.

    Raises:
        typer.Exit: 1 if a run failed; 130 if the study was interrupted.
    """

    def tell(result: StudyResult) -> None:
        _tell(result, tracking_uri)

    with (
        telling_what_was_reached(tell, as_json=as_json),
        second_process(_GET_READY) as computing,
        LiveStudy(is_quiet=as_json) as live,
    ):
        live.stage("reading data and checking every setting")
        result = run(live, computing)
    show_result(result, tell, as_json=as_json)
    if result.failed:
        raise typer.Exit(1)


def _tell(result: StudyResult, tracking_uri: str | None) -> None:
    started, conclusion = result.started, result.conclusion
    if conclusion.analysis is not None:
        tell_analysis(conclusion.analysis)
    say("", *lines_of(_rows(result, tracking_uri)))
    for each in result.failed[:_MOST_FAILED]:
        note(f"FAILED  {each.point.key}: {each.error}")
    if len(result.failed) > _MOST_FAILED:
        note(f"and {len(result.failed) - _MOST_FAILED} more")
    if result.failed:
        note(f"error: {len(result.failed)} of {len(result.results)} runs failed.")
    if started.finished:
        note(f"{len(started.finished)} runs were finished by an earlier attempt and not repeated.")


def _rows(result: StudyResult, tracking_uri: str | None) -> list[tuple[str, str]]:
    from regplug.studies.design.following import factorial_of_best
    from regplug.studies.reporting import command_of_study

    started = result.started
    tail = f" --tracking-uri {shlex.quote(masked(tracking_uri))}" if tracking_uri else ""
    together = "; ".join(f"{each['runs']} in stacks of {_sizes(each['sizes'])}" for each in started.stacked)
    is_whole = result.status != "KILLED"
    rows = [("best" if is_whole else "best so far", _best(result)), *((("note", text)) for text in started.notes)]
    rows += list(_final_rows(result))
    rows += [
        ("trained", f"{len(result.results)} runs in {result.seconds:.1f} s: {together}"),
        ("tracked", f"{started.experiment}, study {started.study_id[:8]} ({started.name}), in {started.tracking_uri}"),
    ]
    rows += [("MLflow", started.runs_url)] if started.runs_url else []
    if not is_whole:
        rows.append(("next", f"regplug runs resume {started.study_id[:8]}{tail}"))
    elif all(each.run_id for each in result.results):
        rows += [("next", f"regplug compare {started.study_id[:8]}{tail}"), ("", f"regplug ui{tail}")]
    following = factorial_of_best(result) if is_whole else None
    if following is not None:
        rows.append(("do the two best add up?", f"{command_of_study(following, 'sweep')}{tail}"))
    return rows


def _best(result: StudyResult) -> str:
    """Returns the best setting and why it is the best."""
    metric = result.started.metric
    if result.conclusion.analysis is None:
        return "none: no run finished"
    if result.best is None:
        return "none: without validation rows no setting is chosen"
    return f"{result.best} (by {metric})" if metric else f"{result.best} (the only setting)"


def _final_rows(result: StudyResult) -> Iterator[tuple[str, str]]:
    """Yields what was trained again and exported."""
    winner, seeds = result.winner, len(result.finals)
    if winner is None:
        return
    metric = f"test/{result.conclusion.metric.partition('/')[2]}"
    values = [final.metrics[metric] for final in result.finals if metric in final.metrics]
    chosen = f", the best of {seeds} seeds by {result.started.metric}" if seeds > 1 else ""
    yield "trained again", f"{winner.run_name}, run {winner.run_id[:8]}{chosen}"
    if values:
        spread = f", of all seeds {format_figure(min(values))} to {format_figure(max(values))}" if seeds > 1 else ""
        yield "", f"{metric} {format_figure(values[0])}{spread}"
    if winner.bundle_path is not None and winner.verification is not None:
        yield "bundle", str(winner.bundle_path)
        yield "checks", describe_checks(winner.verification)


def _sizes(sizes: list[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"

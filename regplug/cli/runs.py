"""`regplug runs`: lists, shows and resumes tracked runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli import studying
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, TrackingUri, new_app
from regplug.cli.output import emit, say, say_table
from regplug.cli.running import carry_out
from regplug.cli.summary import format_figure, lines_of, metric_rows
from regplug.config.commands import command_of
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.cli.live_study import LiveStudy
    from regplug.config import RunConfig
    from regplug.studies.background_process import Executor
    from regplug.studies.results import StudyResult
    from regplug.tracking import RunInfo

app = new_app()

_UNTOLD_TAGS = ("mlflow.log-model.history", "regplug.heartbeat", "regplug.process")


@app.callback()
def runs() -> None:
    """List, show and resume tracked runs."""


@app.command("list", cls=Command)
def list_runs(
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="List only the runs of this experiment.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Maximum number of runs to list.", min=1)] = 20,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """List runs, the newest first."""
    from regplug.tracking import open_store, resolve_location

    location = resolve_location(tracking_uri)
    found = [] if location.is_missing else open_store(tracking_uri).runs(experiment=experiment, limit=limit)
    if json:
        emit({"tracking_uri": location.shown, "runs": [_document(run) for run in found]})
    elif not found:
        say(f"No run is tracked in {location.shown}.", "Start with: regplug run --reg dropout --model mlp")
    else:
        columns = ("id", "run", "experiment", "status", ">test acc.", ">test loss", "started")
        say_table(columns, [_row(run) for run in found], folds="run")


@app.command("show", cls=Command)
def show_run(
    run: Annotated[str, typer.Argument(help="The run's id, the beginning of its id, or its name.")],
    config: Annotated[
        bool, typer.Option("--config", help="Print only its configuration, as a file for `regplug run --config`.")
    ] = False,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Show a run's parameters, metrics, tags and files, and the command that repeats it."""
    from regplug.studies.design.child_configs import tracked_config
    from regplug.tracking import open_store

    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(run)
    files, found = store.artifact_names(info.run_id), tracked_config(store, info)
    if json:
        told = {"config": found and found.to_dict(), "command": command_of(found) if found else None}
        emit({**_document(info), "params": info.params, "tags": info.tags, "artifacts": files, **told})
    elif not config:
        _tell(info, files, found)
    elif found is not None:
        say(found.to_toml().rstrip())
    else:
        raise RequestError(
            f"Run {info.name} ({info.run_id[:8]}) has no configuration.",
            hint="Runs of `regplug run` and of studies have one.",
        )


@app.command("resume", cls=Command)
def resume_run(
    run: Annotated[str, typer.Argument(help="The id of the run or study, the beginning of its id, or its name.")],
    plugin: Plugin = None,
    disable: Disable = None,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Continue an interrupted run or study from its last checkpoint.

    It ends with the weights that it has without an interruption. The finished runs of a study are kept.
    """
    from regplug.tracking import open_store
    from regplug.tracking.kinds import STUDY_TAG

    registry = registry_of({"plugin": plugin, "disable": disable})
    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(run)
    if STUDY_TAG not in info.tags:

        def execute(observers: Any) -> Any:
            from regplug.runs.resuming import resume

            return resume(info.run_id, registry, observers=observers, tracking_uri=tracking_uri, is_soft=True)

        carry_out(execute, as_json=json, tracking_uri=tracking_uri)
        return

    def execute_study(live: LiveStudy, computing: Executor) -> StudyResult:
        from regplug.studies.resuming import resume_study

        return resume_study(
            store,
            info,
            registry,
            observers=[live],
            tracking_uri=tracking_uri,
            computing=computing,
            is_soft=True,
        )

    studying.execute(execute_study, as_json=json, tracking_uri=tracking_uri)


def status_of(run: RunInfo) -> str:
    """Returns a run's status, marked as stale if its process is gone."""
    return "RUNNING (stale)" if run.is_stale else run.status


def _row(run: RunInfo) -> tuple[str, ...]:
    figures = (
        format_figure(run.metrics[name]) if name in run.metrics else "" for name in ("test/accuracy", "test/loss")
    )
    started = f"{run.started.astimezone():%m-%d %H:%M}"
    return (run.run_id[:8], run.name, run.experiment, status_of(run), *figures, started)


def _document(run: RunInfo) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "name": run.name,
        "experiment": run.experiment,
        "status": run.status,
        "is_stale": run.is_stale,
        "started": run.started.isoformat(),
        "ended": run.ended.isoformat() if run.ended else None,
        "metrics": dict(run.metrics),
        "artifact_uri": run.artifact_uri,
    }


def _tell(run: RunInfo, files: list[str], config: RunConfig | None) -> None:
    took = f", {(run.ended - run.started).total_seconds():.1f} s" if run.ended else ""
    head = [
        ("run", f"{run.name} ({run.run_id})"),
        ("experiment", run.experiment),
        ("status", status_of(run)),
        ("started", f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}{took}"),
        *metric_rows(run.metrics),
        ("files", run.artifact_uri),
    ]
    repeat = [("repeat", command_of(config))] if config is not None else []
    say(*lines_of([*head, *(("", name) for name in files), *repeat]))
    _section("parameters", run.params)
    _section("metrics", {name: format_figure(value) for name, value in run.metrics.items()})
    _section("tags", {name: value for name, value in run.tags.items() if _is_told(name)})


def _is_told(tag: str) -> bool:
    return tag not in _UNTOLD_TAGS and (not tag.startswith("mlflow.") or tag == "mlflow.parentRunId")


def _section(title: str, values: Mapping[str, str]) -> None:
    if values:
        say("", title, *(f"  {line}" for line in lines_of(sorted(values.items()))))

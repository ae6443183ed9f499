"""`regplug runs`: lists, shows, resumes and deletes tracked runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli import studying
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, TrackingUri, new_app
from regplug.cli.output import emit, say
from regplug.cli.running import carry_out
from regplug.cli.runs_removing import clean, delete_runs
from regplug.cli.summary import format_figure, lines_of, metric_rows
from regplug.cli.syncing import sync_runs
from regplug.config.commands import command_of
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.cli.live_study import LiveStudy
    from regplug.config import RunConfig
    from regplug.runs.background_process import Executor
    from regplug.studies.results import StudyResult
    from regplug.tracking import RunInfo, Store

app = new_app()

_UNTOLD_TAGS = ("mlflow.log-model.history", "regplug.heartbeat", "regplug.process")


@app.callback()
def runs() -> None:
    """List, show, resume, delete and clean up tracked runs."""


@app.command("list", cls=Command)
def list_runs(
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="List only the runs of this experiment.")
    ] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            "--status",
            metavar="<status>",
            help="List only these: running, finished, failed, killed, stale (RUNNING without a process), or "
            "interrupted (can be resumed); repeats.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model", help="List only runs of this model.", show_default=False)] = "",
    dataset: Annotated[str, typer.Option("--dataset", help="List only runs on this dataset.", show_default=False)] = "",
    reg: Annotated[str, typer.Option("--reg", help="List only runs with this regularizer.", show_default=False)] = "",
    since: Annotated[
        str,
        typer.Option("--since", help="List only runs since then: 30m, 2h, 3d, 1w, or a date.", show_default=False),
    ] = "",
    where: Annotated[
        str,
        typer.Option(
            "--filter",
            help='A filter in MLflow\'s language, such as "metrics.`test/accuracy` > 0.9".',
            show_default=False,
        ),
    ] = "",
    study: Annotated[str, typer.Option("--study", help="List the runs of this study.", show_default=False)] = "",
    studies: Annotated[bool, typer.Option("--studies", help="List only studies.")] = False,
    no_children: Annotated[bool, typer.Option("--no-children", help="Leave out the runs of studies.")] = False,
    columns: Annotated[
        str,
        typer.Option(
            "--columns",
            metavar="<names>",
            help="Columns, separated by commas: id, run, experiment, status, kind, started, ended, seconds, and "
            "names of metrics, parameters and tags.",
            show_default=False,
        ),
    ] = "",
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="<column>",
            help="Sort by a column, in descending order with - in front of it: --sort=-test/accuracy.  "
            "[default: the newest first]",
            show_default=False,
        ),
    ] = "",
    limit: Annotated[int, typer.Option("--limit", help="Maximum number of runs to list.", min=1)] = 20,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """List runs and studies, the newest first. Interrupted ones that can be resumed are marked.

    Example: regplug runs list --status interrupted --since 2d
    """
    from regplug.cli.runs_list import Wanted, list_selected

    list_selected(
        Wanted(
            statuses=tuple(status or ()),
            model=model,
            dataset=dataset,
            reg=reg,
            since=since,
            where=where,
            study=study,
            kind="study" if studies else "whole" if no_children else "",
            sort=sort,
        ),
        experiment=experiment,
        columns=columns,
        limit=limit,
        tracking_uri=tracking_uri,
        as_json=json,
    )


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
    from regplug.cli.runs_list import document_of
    from regplug.tracking import open_store

    store = open_store(tracking_uri, is_read=True)
    info = store.find_run(run)
    # These import torch, which an unknown run need not wait for.
    from regplug.runs.interrupted import is_resumable
    from regplug.studies.design.child_configs import tracked_config

    files, found = store.artifact_names(info.run_id), tracked_config(store, info)
    if json:
        told = {"config": found and found.to_dict(), "command": command_of(found) if found else None}
        document = document_of(info, is_resumable=is_resumable(store, info))
        emit({**document, "params": info.params, "tags": info.tags, "artifacts": files, **told})
    elif not config:
        _tell(info, files, found, _progress_of(store, info))
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

        def execute(**means: Any) -> Any:
            from regplug.runs.resuming import resume

            return resume(info.run_id, registry, tracking_uri=tracking_uri, is_soft=True, **means)

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


def _progress_of(store: Store, run: RunInfo) -> list[tuple[str, str]]:
    """Returns the study of a run, the runs of a study by status, and how an interrupted one is resumed."""
    from regplug.runs.interrupted import counts_of_children, is_resumable, last_checkpoint
    from regplug.tracking.kinds import STUDY_TAG, study_of

    rows: list[tuple[str, str]] = []
    study = study_of(run)
    if study is not None:
        rows.append(("study", study))
    if STUDY_TAG in run.tags:
        counts = counts_of_children(store, run)
        rows.append(("runs", ", ".join(f"{number} {status}" for status, number in counts.items()) or "none"))
    if is_resumable(store, run):
        saved = last_checkpoint(store, run)
        since = f"from the checkpoint of {saved.astimezone():%Y-%m-%d %H:%M:%S}" if saved else "no checkpoint"
        rows.append(("resume", f"regplug runs resume {run.run_id[:8]} ({since})"))
    return rows


def _tell(run: RunInfo, files: list[str], config: RunConfig | None, progress: list[tuple[str, str]]) -> None:
    from regplug.cli.runs_list import status_of

    took = f", {(run.ended - run.started).total_seconds():.1f} s" if run.ended else ""
    head = [
        ("run", f"{run.name} ({run.run_id})"),
        ("experiment", run.experiment),
        ("status", status_of(run)),
        ("started", f"{run.started.astimezone():%Y-%m-%d %H:%M:%S}{took}"),
        *progress,
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


app.command("delete", cls=Command)(delete_runs)
app.command("clean", cls=Command)(clean)
app.command("sync", cls=Command)(sync_runs)

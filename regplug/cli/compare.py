"""`regplug compare`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from regplug.cli.options import Command, Json, TrackingUri, new_app
from regplug.cli.output import emit, say
from regplug.cli.study_options import AllPairs, Minimize

app = new_app()


@app.command(cls=Command)
def compare(
    names: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT|STUDY...", help="Experiments by name; studies by id or name.")
    ],
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            metavar="<params>",
            help="Parameters that define the settings, separated by commas: reg, lr, model.hidden. reg means the "
            "regularizers and those of their parameters that vary.  [default: all that differ]",
            show_default=False,
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Metric to compare.  [default: test/accuracy or test/loss]", show_default=False),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline",
            metavar="<setting>",
            help="Setting with which the others are compared.  [default: the study's reference, else the setting "
            "without regularizers]",
            show_default=False,
        ),
    ] = None,
    all_pairs: AllPairs = None,
    minimize: Minimize = None,
    out: Annotated[
        str | None,
        typer.Option(
            "--out", metavar="<file>", help="File for the report.  [default: report-NAME.html]", show_default=False
        ),
    ] = None,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Rank the settings of studies or experiments, with intervals and paired tests, and write an HTML report.

    Runs on different data or splits, and runs with different losses, are not ranked together: each group has its own
    table.
    """
    from regplug.tracking.location import resolve_location

    resolve_location(tracking_uri).require_there()
    from regplug.cli.analysis_text import tell_analysis
    from regplug.studies.comparing import compare_tracked, report_name

    fields = [part.strip() for part in (by or "").split(",") if part.strip()]
    found = compare_tracked(
        names,
        by=fields,
        metric=metric or "",
        baseline=baseline,
        all_pairs=bool(all_pairs),
        minimize=minimize,
        tracking_uri=tracking_uri,
    )
    path = Path(out or report_name(names))
    found.write(path)
    if json:
        emit({**found.document(), "report": str(path)})
        return
    if len(found.parts) > 1:
        say(found.verdict)
    for part in found.parts:
        if len(found.parts) > 1:
            say("", typer.style(part.name, bold=True), "")
        tell_analysis(part.analysis, is_whole=True)
        say(*part.notes)
    say(*([""] if len(found.parts) > 1 else []), *found.notes)
    from regplug.tracking.secrets import masked

    tail = f" --tracking-uri {shlex.quote(masked(tracking_uri))}" if tracking_uri else ""
    say("", f"report   {path}")
    if found.compare_url:
        say(f"MLflow   {found.compare_url}", f"         served by: regplug ui{tail}")

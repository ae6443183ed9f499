"""`regplug compare`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from regplug.cli.options import Command, Json, TrackingUri, new_app
from regplug.cli.output import bold, emit, say
from regplug.cli.study_options import AllPairs, Minimize
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.studies.comparison.compared import Compared

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
            "--out",
            metavar="<file>",
            help="File for the report, or for the table of --to.  [default: report-NAME.html; stdout for a table]",
            show_default=False,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="<kind>",
            help="Write the table of settings instead of the report: csv, latex, markdown or json.",
        ),
    ] = None,
    figures: Annotated[
        str | None, typer.Option("--figures", metavar="<folder>", help="Folder for the figures of the report.")
    ] = None,
    figure_format: Annotated[
        str,
        typer.Option("--figure-format", metavar="<kinds>", help="Formats of the figures, separated by commas."),
    ] = "svg,pdf,png",
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Rank the settings of studies or experiments, with intervals and paired tests, and write an HTML report.

    Runs on different data or splits, and runs with different losses, are not ranked together: each group has its own
    table.
    """
    formats = _parts(figure_format)
    _check_outputs(to, formats, is_json=json)
    from regplug.tracking.location import resolve_location

    resolve_location(tracking_uri).require_there()
    from regplug.cli.analysis_text import tell_analysis
    from regplug.studies.comparison.comparing import compare_tracked, report_name

    found = compare_tracked(
        names,
        by=_parts(by or ""),
        metric=metric or "",
        baseline=baseline,
        all_pairs=bool(all_pairs),
        minimize=minimize,
        tracking_uri=tracking_uri,
    )
    drawn = found.save_figures(figures, formats) if figures else []
    if to is not None:
        _tell_table(found, to, out)
        return
    path = Path(out or report_name(names))
    found.write(path)
    if json:
        emit({**found.document(), "report": str(path), "figures": list(map(str, drawn))})
        return
    if len(found.parts) > 1:
        say(found.verdict)
    for part in found.parts:
        if len(found.parts) > 1:
            say("", bold(part.name), "")
        tell_analysis(part.analysis, is_whole=True)
        say(*part.notes)
    say(*([""] if len(found.parts) > 1 else []), *found.notes)
    from regplug.tracking.secrets import masked

    tail = f" --tracking-uri {shlex.quote(masked(tracking_uri))}" if tracking_uri else ""
    say("", f"report   {path}")
    say(*([f"figures  {len(drawn)} files in {figures}"] if figures else []))
    if found.compare_url:
        say(f"MLflow   {found.compare_url}", f"         served by: regplug ui{tail}")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _check_outputs(to: str | None, formats: list[str], *, is_json: bool) -> None:
    """Refuses before the comparison what could not be written after it."""
    from regplug.reports.outputs import check_formats, check_kind

    check_formats(formats)
    if to is not None:
        check_kind(to)
        if is_json:
            raise RequestError("--json and --to both write to stdout.", hint="Leave out one; --to json is the table.")


def _tell_table(found: Compared, kind: str, out: str | None) -> None:
    text = found.table(kind)
    if out is None:
        typer.echo(text, nl=False)
        return
    try:
        Path(out).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"The table {out} cannot be written: {error}", hint="Choose another --out.") from error
    say(f"table    {out}")

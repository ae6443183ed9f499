"""`regplug lab`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, TrackingUri, new_app
from regplug.cli.output import emit, note, say, say_table
from regplug.errors import RegplugError, RequestError

if TYPE_CHECKING:
    from regplug.api import Study
    from regplug.lab import LabResult
    from regplug.registry import Registry

app = new_app()

Out = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="<folder>",
        help="Folder for reports and figures, one folder for each study.  [default: lab beside the store]",
        show_default=False,
    ),
]


@app.callback()
def lab() -> None:
    """List and run the textbook's experiments."""


@app.command("list", cls=Command)
def list_studies(disable: Disable = None, plugin: Plugin = None, json: Json = False) -> None:
    """List the studies: the question of each, and its seconds in full and in quick mode."""
    from regplug.registry.studies import installed_studies

    registry = registry_of({"disable": disable, "plugin": plugin})
    found = installed_studies(registry)
    if json:
        emit({"studies": [{"name": name, **_described(one.component)} for name, one in found.items()]})
        return
    studies = {name: cast("Study", one.component) for name, one in found.items()}
    rows = [(name, one.question, *(f"{seconds:g}" for seconds in one.seconds)) for name, one in studies.items()]
    say_table(("study", "question", ">full s", ">quick s"), rows, folds="question")


def _described(study: Any) -> dict[str, Any]:
    return {
        "summary": study.summary,
        "question": study.question,
        "section": study.section,
        "source": study.source,
        "seconds": {"full": study.seconds[0], "quick": study.seconds[1]},
        "rows": list(study.rows),
    }


@app.command("run", cls=Command)
def run(
    name: Annotated[str | None, typer.Argument(help="Name of a study.", show_default=False)] = None,
    every: Annotated[bool, typer.Option("--all", help="Run every study, one after another.")] = False,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="<int>", help="Seeds.  [default: usually 10; quick: 3]", show_default=False),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer seeds and shorter training; decides less.")] = False,
    out: Out = None,
    tracking_uri: TrackingUri = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Run a study: figures, values, and a verdict on each claim.

    A claim HOLDS, DOES NOT HOLD or is UNDECIDED, because there are too few seeds or epochs to tell. The exit code is 1
    if a claim does not hold or a study failed.

    Example: regplug lab run weight-decay --quick
    """
    if (name is None) == (not every):
        raise RequestError(
            "Give the name of a study, or --all." if not every else "A name and --all exclude each other.",
            hint="`regplug lab list` lists the studies.",
        )
    registry = registry_of({"disable": disable, "plugin": plugin})
    from regplug.registry.studies import find_study, installed_studies

    names = list(installed_studies(registry)) if name is None else [name]
    for each in names:
        find_study(each, registry)
    if out is not None:
        from regplug.lab.writing import require_writable

        require_writable(out)
    documents, worst = [], 0
    for each in names:
        document, code = _one(each, registry, is_only=not every, quick=quick, seeds=seeds, out=out, uri=tracking_uri,
                              json=json)  # fmt: skip
        documents.append(document)
        worst = max(worst, code)
    if json:
        emit(documents[0] if name is not None else {"studies": documents})
    elif name is None:
        _tell_all(documents)
    if worst:
        raise typer.Exit(1)


def _one(
    name: str, registry: Registry, *, is_only: bool, quick: bool, seeds: int | None, out: Path | None, uri: str | None,
    json: bool,
) -> tuple[dict[str, Any], int]:  # fmt: skip
    """Runs a study and prints its result; returns its document and exit code."""
    from regplug.cli.live_lab import LiveLab
    from regplug.lab import run as run_study

    try:
        with LiveLab(is_quiet=json) as live:
            result = run_study(
                name, quick=quick, seeds=seeds, out=out, tracking_uri=uri, registry=registry, observers=[live]
            )
    except RegplugError as error:
        if is_only:
            raise
        note(f"{name}: FAILED  {error.message} {error.hint}".rstrip())
        told = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
        return {"study": name, "verdict": "FAILED", "error": told}, 1
    if not json:
        _tell(result)
    return result.document(), int(result.verdict == "DOES NOT HOLD")


def _tell(result: LabResult) -> None:
    say(f"{result.name}: {result.study.question}")
    for claim in result.findings.claims:
        say(f"  {claim.verdict:13}  {claim.text} [{claim.source}]", f"{'':17}{claim.why}")
    mode = "quick, " if result.quick else ""
    seeds = f"{result.seeds} seed{'s' * (result.seeds > 1)}"
    say(
        f"{result.verdict}: {result.name} ({mode}{seeds}, {result.seconds:.0f} s)",
        f"report {result.folder / 'report.md'}; run {result.study_id[:8]} in {result.tracking_uri}",
        "",
    )


def _tell_all(documents: list[dict[str, Any]]) -> None:
    rows = [(each["study"], each["verdict"], f"{each.get('seconds', 0):.0f}") for each in documents]
    say_table(("study", "verdict", ">seconds"), rows)


@app.command("page", cls=Command)
def page(
    folder: Annotated[Path, typer.Argument(help="Folder with the results of studies.")] = Path("mlruns/lab"),
    out: Annotated[Path, typer.Option("--out", metavar="<file>", help="Markdown file to write.")] = Path("lab.md"),
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Write a page that tells the chapter through the results of its studies, with their figures."""
    from regplug.lab.page import write_chapter
    from regplug.registry.studies import installed_studies

    order = list(installed_studies(registry_of({"disable": disable, "plugin": plugin})))
    count = write_chapter(folder, order, out)
    if json:
        emit({"path": str(out), "studies": count})
    else:
        say(f"{out}: {count} studies")

"""`regplug runs delete` and `regplug runs clean`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.options import Json, TrackingUri
from regplug.cli.output import emit, say
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.runs.cleaning import Leftovers
    from regplug.runs.removing import Removal

_MOST_NAMED = 10


def delete_runs(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Ids, beginnings of ids, or names.")],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Delete runs with their bundles and checkpoints, and studies with their runs.

    In MLflow, a deleted run can be restored until `mlflow gc` removes it for good. Bundles and checkpoints cannot.
    """
    from regplug.runs.removing import removal_of, remove
    from regplug.tracking import open_store

    store = open_store(tracking_uri, is_read=True)
    removal = removal_of(store, runs)
    if not json:
        say("Deletes:", *_lines(removal))
    if not yes:
        _confirm(as_json=json)
    remove(store, removal)
    if json:
        emit(_document(removal))
    else:
        say(f"Deleted {len(removal.runs)} {'run' if len(removal.runs) == 1 else 'runs'}.")


def clean(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and do nothing.")] = False,
    bundles: Annotated[
        str, typer.Option("--bundles", metavar="<folder>", help="The folder of bundles.", show_default=False)
    ] = "bundles",
    tracking_uri: TrackingUri = None,
    json: Json = False,
) -> None:
    """Remove what killed processes left: parts of bundles and orphaned checkpoints; mark dead runs as KILLED.

    Runs that a process is still writing are not touched, and neither are those of other machines.
    """
    from regplug.runs.cleaning import clean_up, find_leftovers
    from regplug.tracking import open_store

    store, folder = open_store(tracking_uri, is_read=True, marks_dead=False), Path(bundles)
    found = find_leftovers(store, folder)
    if not dry_run:
        clean_up(store, found, folder)
    if json:
        emit({**_leftovers_document(found), "dry_run": dry_run})
    else:
        say(*(_told(found, is_done=not dry_run) or ["Nothing to clean up."]))


def _confirm(*, as_json: bool) -> None:
    if as_json:
        raise RequestError("Nothing was deleted: --json asks no question.", hint="Add --yes.")
    try:
        typer.confirm("Delete them?", abort=True)
    except typer.Abort:
        raise RequestError("Nothing was deleted.", hint="Add --yes to delete without a question.") from None


def _lines(removal: Removal) -> list[str]:
    shown = [f"  {run.run_id[:8]}  {run.status}  {run.name}" for run in removal.runs[:_MOST_NAMED]]
    more = len(removal.runs) - len(shown)
    files = [f"  {path}" for path in (*removal.bundles, *removal.checkpoints)]
    return [*shown, *([f"  and {more} more runs"] if more else []), *files]


def _document(removal: Removal) -> dict[str, Any]:
    return {
        "deleted": [{"run_id": run.run_id, "name": run.name} for run in removal.runs],
        "bundles": list(map(str, removal.bundles)),
        "checkpoints": list(map(str, removal.checkpoints)),
    }


def _leftovers_document(found: Leftovers) -> dict[str, Any]:
    return {
        "killed": [run.run_id for run in found.dead],
        "elsewhere": [run.run_id for run in found.elsewhere],
        "checkpoints": list(map(str, found.checkpoints)),
        "unknown_checkpoints": list(map(str, found.unknown)),
        "bundle_parts": list(map(str, found.parts)),
    }


def _told(found: Leftovers, *, is_done: bool) -> list[str]:
    marked, removed = ("Marked as KILLED", "Removed") if is_done else ("Would mark as KILLED", "Would remove")
    left = "Left, because another machine may be writing it"
    return [
        *(f"{marked}: {run.run_id[:8]} {run.name}" for run in found.dead),
        *_each(removed, (*found.checkpoints, *found.parts)),
        *(f"{left}: {run.run_id[:8]} {run.name}" for run in found.elsewhere),
        *_each("Left, because another store in this folder may need it", found.unknown),
    ]


def _each(what: str, paths: Sequence[Path]) -> list[str]:
    return [f"{what}: {path}" for path in paths]

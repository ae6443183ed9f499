"""`regplug runs sync`: delivers what a lost tracking store has not received."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from regplug.cli.options import Json, TrackingUri
from regplug.cli.output import emit, note, say

if TYPE_CHECKING:
    from regplug.tracking import Copied, Synced


Source = Annotated[
    str | None,
    typer.Option("--from", help="Also copy the runs of this store, such as sqlite:///mlruns/mlflow.db.", metavar="URI"),
]


def sync_runs(source: Source = None, tracking_uri: TrackingUri = None, json: Json = False) -> None:
    """Deliver what is kept in this folder because the tracking store was lost while runs were written.

    With --from, copy the runs of another store as well.
    """
    from regplug.tracking import has_undelivered, open_store, resolve_location

    location = resolve_location(tracking_uri)
    is_waiting = has_undelivered(location.folder)
    store = open_store(tracking_uri) if is_waiting or source else None
    found = list(store.sync()) if store is not None and is_waiting else []
    copied = list(store.copy_from(open_store(source, is_read=True))) if store is not None and source else []
    if json:
        runs = [each.document() for each in found]
        copies = [dataclasses.asdict(each) for each in copied]
        left = sum(bool(each.why) for each in found)
        emit({"tracking_uri": location.shown, "runs": runs, "left": left, "copied": copies})
    else:
        for each in found:
            _tell(each)
        if source:
            _tell_copied(copied)
        elif not found:
            say(f"Everything is delivered: nothing is kept in {location.folder / 'undelivered'}.")
    if any(each.why and not each.is_busy for each in found):
        raise typer.Exit(1)


def _tell_copied(copied: Sequence[Copied]) -> None:
    new = [each for each in copied if each.is_new]
    for each in new:
        say(f"copied     {each.name} ({each.run_id[:8]}) as {each.new_id[:8]} into {each.experiment}")
    say(f"{len(new)} runs were copied; {len(copied) - len(new)} were there already.")


def _tell(synced: Synced) -> None:
    run = f"{synced.name} ({synced.run_id[:8]})"
    delivered = ", ".join(f"{count} {what}" for what, count in synced.delivered.items())
    if not synced.why:
        say(f"delivered  {run}: {delivered or 'its end'}; it is {synced.status}")
        return
    if delivered:
        say(f"delivered  {run}: {delivered}")
    note(f"left       {run}: {synced.why}", f"           kept in {synced.path}, for {synced.store}")

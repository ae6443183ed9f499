"""`regplug runs sync`: delivers what a lost tracking store has not received."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from regplug.cli.options import Json, TrackingUri
from regplug.cli.output import emit, note, say

if TYPE_CHECKING:
    from regplug.tracking import Synced


def sync_runs(tracking_uri: TrackingUri = None, json: Json = False) -> None:
    """Deliver what is kept in this folder because the tracking store was lost while runs were written."""
    from regplug.tracking import has_undelivered, open_store, resolve_location

    location = resolve_location(tracking_uri)
    found = list(open_store(tracking_uri).sync()) if has_undelivered(location.folder) else []
    left = [each for each in found if each.why and not each.is_busy]
    if json:
        runs = [each.document() for each in found]
        emit({"tracking_uri": location.shown, "runs": runs, "left": sum(bool(each.why) for each in found)})
    elif not found:
        say(f"Everything is delivered: nothing is kept in {location.folder / 'undelivered'}.")
    else:
        for each in found:
            _tell(each)
    if left:
        raise typer.Exit(1)


def _tell(synced: Synced) -> None:
    run = f"{synced.name} ({synced.run_id[:8]})"
    delivered = ", ".join(f"{count} {what}" for what, count in synced.delivered.items())
    if not synced.why:
        say(f"delivered  {run}: {delivered or 'its end'}; it is {synced.status}")
        return
    if delivered:
        say(f"delivered  {run}: {delivered}")
    note(f"left       {run}: {synced.why}", f"           kept in {synced.path}, for {synced.store}")

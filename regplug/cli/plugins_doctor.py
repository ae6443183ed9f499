"""Status and import time of each plugin, as a table and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from regplug.cli.output import say, say_table

if TYPE_CHECKING:
    from regplug.registry import PluginRecord


def plugin_document(record: PluginRecord) -> dict[str, Any]:
    """Returns a plugin as JSON."""
    return {
        "entry": record.entry,
        "distribution": record.distribution,
        "version": record.version,
        "module": record.module,
        "location": record.origin.location,
        "editable": record.origin.editable,
        "status": record.status,
        "import_ms": round(record.import_ms, 1),
        "heavy_imports": list(record.heavy_imports),
        "heavy_ms": {name: round(value, 1) for name, value in record.heavy_ms.items()},
    }


def tell_plugins(records: Sequence[PluginRecord]) -> None:
    """Prints the table; times are in milliseconds."""
    rows = [
        (
            one.entry,
            f"{one.distribution} {one.version}".strip(),
            one.status,
            f"{one.import_ms:.0f}",
            ", ".join(_heavy(one, name) for name in one.heavy_imports),
        )
        for one in records
    ]
    say_table(("plugin", "distribution", "status", ">ms", "heavy imports"), rows)
    if any(set(one.heavy_imports) - set(one.paid) for one in records):
        say("", "A time in brackets is counted for the first plugin that imports the library.")
    say("")


def _heavy(record: PluginRecord, name: str) -> str:
    if name not in record.heavy_ms:
        return name
    time = f"{record.heavy_ms[name]:.0f} ms"
    return f"{name} {time}" if name in record.paid else f"{name} ({time})"

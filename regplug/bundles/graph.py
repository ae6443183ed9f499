"""Step 6: checks the manifest and the graph of a saved file without running it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from regplug.bundles.causes import cause
from regplug.bundles.formats import Format
from regplug.bundles.layout import canonical_json
from regplug.bundles.report import Check, holds


def check_graph(form: Format, path: Path, manifest: Mapping[str, Any]) -> list[Check]:
    """Compares the manifest inside a file with the bundle's, and checks the graph.

    Args:
        form: Reads the file; any exception is a failed check.
        path: The file.
        manifest: The bundle's manifest.
    """
    try:
        same = canonical_json(form.manifest(path)) == canonical_json(manifest)
        detail = "the manifest inside the file is manifest.json" if same else "the file belongs to another bundle"
        return [holds("manifest", same, detail), *form.inspect(path, manifest)]
    except Exception as error:
        return [holds("graph", False, f"the file cannot be read: {cause(error)}")]

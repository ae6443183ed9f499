"""`regplug inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, say

app = new_app()


@app.command(cls=Command)
def inspect(bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")], json: Json = False) -> None:
    """Print a bundle's task, input, output, files and preprocessing; verifies nothing."""
    path = Path(bundle)
    require_bundle(path)
    from regplug.bundles.describe import inspect_bundle

    lines = inspect_bundle(path)
    if json:
        from regplug.bundles.layout import read_manifest

        emit({"path": bundle, "manifest": read_manifest(path), "lines": lines})
    else:
        say(*lines)

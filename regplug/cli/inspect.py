"""`regplug inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.options import Command, Json, new_app
from regplug.cli.output import emit, say
from regplug.errors import RequestError

app = new_app()


@app.command(cls=Command)
def inspect(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    html: Annotated[
        str | None,
        typer.Option(
            "--html", metavar="<file>", help="Also write a page with all of it to this file.", show_default=False
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Print a bundle's task, input, output, files and preprocessing; verifies nothing."""
    path = Path(bundle)
    require_bundle(path)
    from regplug.bundles.describe import inspect_bundle

    lines = inspect_bundle(path)
    if html is not None:
        _write(path, Path(html))
    if json:
        from regplug.bundles.layout import bundle_digest, read_manifest

        page = {"html": html} if html else {}
        emit({"path": bundle, "digest": bundle_digest(path), "manifest": read_manifest(path), "lines": lines, **page})
    else:
        say(*lines, *([f"page      {html}"] if html else []))


def _write(bundle: Path, page: Path) -> None:
    from regplug.bundles.page import bundle_page

    if page.absolute().parent == bundle.absolute():
        raise RequestError(
            f"{page} would be a file of the bundle.", hint="Choose another folder: a bundle is complete."
        )
    content = bundle_page(bundle)
    try:
        page.write_text(content, encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{page} cannot be written: {error.strerror}.", hint="Choose another file with --html."
        ) from None

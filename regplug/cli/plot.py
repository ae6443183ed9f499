"""`regplug plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, new_app
from regplug.cli.output import emit, say
from regplug.errors import RequestError

if TYPE_CHECKING:
    from regplug.registry import Registry

app = new_app()


@app.callback()
def plot() -> None:
    """Draw components."""


@app.command("activations", cls=Command)
def activations(
    names: Annotated[list[str], typer.Argument(help="Such as relu or leaky_relu:negative_slope=0.2; one or more.")],
    out: Annotated[Path, typer.Option("--out", metavar="<file>", help="PNG file to write.")] = Path("activations.png"),
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Draw activations and their derivatives over [-5, 5] as a PNG."""
    if out.suffix.lower() != ".png":
        raise RequestError(f"--out {out}: the figure is a PNG.", hint=f"Write --out {out.with_suffix('.png').name}.")
    modules = _built(registry_of({"disable": disable, "plugin": plugin}), names)
    from regplug.reports.activations import activations_png

    picture = activations_png(modules)
    try:
        out.write_bytes(picture)
    except OSError as error:
        raise RequestError(f"{out} cannot be written: {error}", hint="Give a file in a folder that exists.") from error
    if json:
        emit({"path": str(out), "activations": list(modules)})
    else:
        say(f"{out}: {', '.join(modules)}")


def _built(registry: Registry, names: list[str]) -> dict[str, Any]:
    """The activations by the text that names them, each once."""
    from regplug.config.spec import ComponentSpec
    from regplug.registry import build

    specs = [ComponentSpec.parse(name) for name in names]
    return {str(spec): build(registry.find("activation", spec), spec.values) for spec in specs}

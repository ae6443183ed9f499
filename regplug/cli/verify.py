"""`regplug verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, TrackingUri, new_app
from regplug.cli.output import emit, note, say
from regplug.errors import RequestError, VerificationError

if TYPE_CHECKING:
    from regplug.bundles.origin import Origin

app = new_app()


@app.command(cls=Command)
def verify(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    run: Annotated[
        str,
        typer.Option(
            "--run",
            metavar="<run>",
            help="Compare with the digest that this run logged: its id, the beginning of its id, or its name.",
            show_default=False,
        ),
    ] = "",
    digest: Annotated[
        str,
        typer.Option(
            "--digest", metavar="<sha256>", help="Compare with this SHA-256 of SHA256SUMS.", show_default=False
        ),
    ] = "",
    key: Annotated[
        str,
        typer.Option(
            "--key",
            metavar="<key>",
            help="Check the signature with this public key of minisign, or with the key in this file.",
            show_default=False,
        ),
    ] = "",
    tracking_uri: TrackingUri = None,
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Verify a bundle from its files alone: checksums, manifests, graphs and outputs.

    Files alone show that a bundle is consistent; --run, --digest or --key also show where it comes from.
    """
    path = Path(bundle)
    require_bundle(path)
    origin = _origin(run, digest, key, tracking_uri)
    from regplug.bundles.origin import ONLY_CONSISTENT
    from regplug.bundles.verifying import verify_bundle
    from regplug.cli.summary import describe_checks

    report = verify_bundle(path, _formats(disable, plugin), origin)
    if json:
        proves = "origin" if origin is not None else "consistency"
        emit({"path": bundle, **report.as_json(), "proves": proves, **_error(bundle, report)})
    elif report.passed:
        say(f"{bundle}: {describe_checks(report)}")
        say(*(f"{check.name}: {check.detail}" for check in report.checks if check.name.startswith("origin.")))
        if origin is None:
            note(ONLY_CONSISTENT)
    else:
        say(*(line for check in report.failures for line in failed_check(check)))
        note(f"error: {bundle}: {len(report.failures)} of {len(report.checks)} checks failed.")
    if not report.passed:
        raise typer.Exit(VerificationError.exit_code)


def _origin(run: str, digest: str, key: str, tracking_uri: str | None) -> Origin | None:
    if tracking_uri and not run:
        raise RequestError("--tracking-uri has no effect without --run.", hint="Add --run RUN, or leave it out.")
    if not (run or digest or key):
        return None
    # The run's store needs mlflow; a bundle is otherwise verified without it.
    from regplug.exporting.anchoring import find_origin

    return find_origin(run=run, digest=digest, key=key, tracking_uri=tracking_uri)


def failed_check(check: Any) -> list[str]:
    """Returns a failed check as lines: its name, figure and limit, and the reason."""
    measured = "" if check.figure is None else f"  {check.figure:.4g}"
    limit = "" if check.limit is None else f"  (limit {check.limit:.4g})"
    return [f"FAILED  {check.name}{measured}{limit}", *([f"        {check.detail}"] if check.detail else [])]


def _error(bundle: str, report: Any) -> dict[str, Any]:
    if report.passed:
        return {}
    names = ", ".join(check.name for check in report.failures)
    message = f"{bundle}: {len(report.failures)} of {len(report.checks)} checks failed: {names}."
    return {
        "error": {
            "type": "VerificationError",
            "message": message,
            "hint": "Do not use this bundle; export the run again.",
        }
    }


def _formats(disable: list[str] | None, plugin: list[str] | None) -> dict[str, Any] | None:
    """Returns the formats of the plugins named by the switches; `None` means the installed formats."""
    if not disable and not plugin:
        return None
    from regplug.registry import build

    registry = registry_of({"disable": disable, "plugin": plugin})
    return {registry.spelling(one): build(one, {}) for one in registry.components("format")}

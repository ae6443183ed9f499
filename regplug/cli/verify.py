"""`regplug verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from regplug.bundles.layout import require_bundle
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, Disable, Json, Plugin, new_app
from regplug.cli.output import emit, note, say
from regplug.errors import VerificationError

app = new_app()


@app.command(cls=Command)
def verify(
    bundle: Annotated[str, typer.Argument(help="Folder of the bundle.")],
    disable: Disable = None,
    plugin: Plugin = None,
    json: Json = False,
) -> None:
    """Verify a bundle from its files alone: checksums, manifests, graphs and outputs."""
    path = Path(bundle)
    require_bundle(path)
    from regplug.bundles.verifying import verify_bundle
    from regplug.cli.summary import describe_checks

    report = verify_bundle(path, _formats(disable, plugin))
    if json:
        emit({"path": bundle, **report.as_json(), **_error(bundle, report)})
    elif report.passed:
        say(f"{bundle}: {describe_checks(report)}")
    else:
        say(*(line for check in report.failures for line in failed_check(check)))
        note(f"error: {bundle}: {len(report.failures)} of {len(report.checks)} checks failed.")
    if not report.passed:
        raise typer.Exit(VerificationError.exit_code)


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

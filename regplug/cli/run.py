"""`regplug run`."""

from __future__ import annotations

from typing import Any

import typer

from regplug.cli.config_options import read_config, takes_config
from regplug.cli.failures import telling_what_was_reached
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, new_app
from regplug.cli.output import emit, say

app = new_app()


@app.command(cls=Command)
@takes_config
def run(**given: Any) -> None:
    """Train, track, export and verify one model.

    Write components as name or name:param=value,param=value, and your own code as ./net.py:Net. Options that are not
    given come from --config, then from the defaults below.
    """
    from regplug.cli.progress import Progress
    from regplug.runs.request import check_request

    config, registry, tracking_uri = read_config(given), registry_of(given), given["tracking_uri"]

    def tell(result: Any) -> None:
        _tell(result, tracking_uri)

    request = check_request(config, registry, tracking_uri=tracking_uri)
    with telling_what_was_reached(tell, as_json=given["json"]), Progress(is_quiet=given["json"]) as progress:
        from regplug.runs.runner import execute

        result = execute(request, observers=[progress], tracking_uri=tracking_uri)
    if given["json"]:
        emit(result.document())
    else:
        tell(result)
    if result.status != "FINISHED" or (result.verification is not None and not result.verification.passed):
        raise typer.Exit(1)


def _tell(result: Any, tracking_uri: str | None) -> None:
    import shlex

    from regplug.cli.summary import lines_of, summarize
    from regplug.tracking.secrets import masked

    options = f"--tracking-uri {shlex.quote(masked(tracking_uri))}" if tracking_uri else ""
    say(*lines_of(summarize(result, options)))

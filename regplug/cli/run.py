"""`regplug run`."""

from __future__ import annotations

from typing import Any

from regplug.cli.config_options import read_config, takes_config
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, new_app
from regplug.cli.running import carry_out
from regplug.registry.uncollected import uncollected

app = new_app()


@app.command(cls=Command)
@takes_config
def run(**given: Any) -> None:
    """Train, track, export and verify one model.

    Write components as name or name:param=value,param=value, and your own code as ./net.py:Net. Options that are not
    given come from --config, then from the defaults below.
    """
    from regplug.runs.request import check_request

    config, registry, tracking_uri = read_config(given), registry_of(given), given["tracking_uri"]
    request = check_request(config, registry, tracking_uri=tracking_uri)

    def execute(**means: Any) -> Any:
        with uncollected():
            from regplug.runs.runner import execute

        return execute(request, tracking_uri=tracking_uri, is_soft=True, **means)

    carry_out(execute, as_json=given["json"], tracking_uri=tracking_uri)

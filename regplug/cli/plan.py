"""`regplug plan`."""

from __future__ import annotations

from typing import Any

from regplug.cli.config_options import read_config, takes_config
from regplug.cli.installed import registry_of
from regplug.cli.options import Command, new_app
from regplug.cli.output import emit, say, say_table, warn

app = new_app()


@app.command(cls=Command)
@takes_config
def plan(**given: Any) -> None:
    """Print what `regplug run` would do with the same flags, in which order and why; nothing is written."""
    from regplug.planning import make_plan

    config, registry = read_config(given), registry_of(given)
    made = make_plan(config, registry)
    if given["json"]:
        emit(made.document())
        return
    warn(made.warnings)
    say(*made.facts)
    if made.order:
        rows = [(step.phase, step.name, step.why) for step in made.order]
        say("")
        say_table(("phase", "regularizer", "why here"), rows, folds="why here")
    else:
        say("regularizers: none")
    for group in made.stacked:
        say("", f"{group['runs']} run{'' if group['runs'] == 1 else 's'}: {group['why']}")

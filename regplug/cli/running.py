"""Executes or resumes one run for a command, and prints its result."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import typer

from regplug.cli.failures import INTERRUPTED, telling_what_was_reached
from regplug.cli.output import emit, say
from regplug.runs.background_process import second_process

_GET_READY = "regplug.reports.plots:get_ready"


def carry_out(execute: Callable[..., Any], *, as_json: bool, tracking_uri: str | None) -> None:
    """Executes a run with a progress line, and prints its result.

    Args:
        execute: Takes the observers and the executor that draws the figures, and returns the result.
        as_json: Whether `--json` was given.
        tracking_uri: The store that was asked for, for the commands of the next steps.

    Raises:
        typer.Exit: 1 if the run did not finish or its files differ from the model; 130 if it was interrupted.
    """
    from regplug.cli.progress import Progress

    def tell(result: Any) -> None:
        _tell(result, tracking_uri)

    with (
        telling_what_was_reached(tell, as_json=as_json),
        second_process(_GET_READY) as computing,
        Progress(is_quiet=as_json) as progress,
    ):
        result = execute(observers=[progress], computing=computing)
    show_result(result, tell, as_json=as_json)
    if result.status != "FINISHED" or (result.verification is not None and not result.verification.passed):
        raise typer.Exit(1)


def show_result(result: Any, tell: Callable[[Any], None], *, as_json: bool) -> None:
    """Prints the result of a run or a study.

    Args:
        result: The result.
        tell: Prints it as text.
        as_json: Whether it is printed as a JSON document instead.

    Raises:
        typer.Exit: 130 if it was interrupted.
    """
    if as_json:
        emit(result.document())
    else:
        tell(result)
    if result.status == "KILLED":
        raise typer.Exit(INTERRUPTED)


def _tell(result: Any, tracking_uri: str | None) -> None:
    from regplug.cli.summary import lines_of, summarize
    from regplug.tracking.secrets import masked

    options = f"--tracking-uri {shlex.quote(masked(tracking_uri))}" if tracking_uri else ""
    say(*lines_of(summarize(result, options)))

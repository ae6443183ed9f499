"""The command `regplug`. Each subcommand is imported when it is called, and never for `--help`."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import signal
import sys
import warnings
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_command

from regplug.cli.completing import complete, is_completing
from regplug.cli.failures import FOLDER_GONE, FOLDER_HINT, Failure, exit_code_of, is_folder_gone, is_own_exit
from regplug.cli.options import AsGiven
from regplug.cli.output import stdout_for_document
from regplug.cli.plugin_commands import command_of, offered_lines
from regplug.cli.streams import guard_streams
from regplug.errors import RequestError

COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("regplug.cli.run", "Train, track, export and verify one model."),
    "plan": ("regplug.cli.plan", "Print what run would do, in which order and why, without doing it."),
    "sweep": ("regplug.cli.sweep", "Train a grid of settings with several seeds and test the differences."),
    "cv": ("regplug.cli.cv", "Cross-validate settings, then train and export the best one."),
    "lab": ("regplug.cli.lab", "List and run the textbook's experiments: list, run NAME."),
    "compare": ("regplug.cli.compare", "Rank tracked runs, with intervals and paired tests; write a report."),
    "plugins": (
        "regplug.cli.plugins",
        "List, show, diagnose, create and check plugins: list, show NAME, doctor, new, check.",
    ),
    "data": ("regplug.cli.data", "Show the columns of a table: show FILE."),
    "runs": (
        "regplug.cli.runs",
        "List, show, resume and delete tracked runs: list, show, resume, delete, clean.",
    ),
    "plot": ("regplug.cli.plot", "Draw components: activations and their derivatives."),
    "ui": ("regplug.cli.ui", "Start the MLflow UI on the tracking store."),
    "export": ("regplug.cli.exporting", "Export a tracked run again as a verified bundle."),
    "verify": ("regplug.cli.verify", "Verify a bundle from its files alone."),
    "predict": ("regplug.cli.predict", "Predict with a bundle; needs only onnxruntime and numpy."),
    "serve": ("regplug.cli.serve", "Serve a verified bundle over HTTP; the server runs onnxruntime, not torch."),
    "inspect": ("regplug.cli.inspect", "Print what a bundle contains."),
}
"""Command -> module with its `app`, and its line for `--help`. A new command needs one line here and one module."""

_OBJECTS_BETWEEN_COLLECTIONS = 50_000


class LazyCommands(MutableMapping[str, Any]):
    """Commands by name; a command's module is imported when it is looked up."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            known = name in COMMANDS
            command = get_command(importlib.import_module(COMMANDS[name][0]).app) if known else command_of(name)
            if command is None:
                raise KeyError(name)
            command.name = name
            self._made[name] = command
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        del self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)


class LazyGroup(AsGiven, TyperGroup):
    """A group that lists its commands without importing them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "commands": LazyCommands()})

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names in the order of the table."""
        return list(COMMANDS)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Writes the table's lines into `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
        if offered := offered_lines(COMMANDS):
            with formatter.section("Commands of plugins"):
                formatter.write_dl(offered)


app = typer.Typer(name="regplug", cls=LazyGroup, rich_markup_mode=None)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        from regplug import __version__

        typer.echo(f"regplug {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; also works after the command.")
    ] = False,
) -> None:
    """Compare regularization methods, track and analyse the runs, and export verified models."""


def invoke(args: Sequence[str]) -> int:
    """Runs one command and returns its exit code: 0 done, 1 failed, 2 wrong request, 130 interrupted.

    Errors are printed only here: on stderr, or with `--json` as the document on stdout.
    """
    args, is_debugged = _without_debug(args)
    as_json = "--json" in args and "--help" not in args
    with stdout_for_document(as_json), warnings.catch_warnings():
        if not sys.warnoptions:
            # Warnings of libraries do not concern users; regplug's own warnings are printed by other means.
            warnings.simplefilter("ignore")
        try:
            return _dispatch(args)
        except (Exception, KeyboardInterrupt, SystemExit) as error:
            if isinstance(error, SystemExit) and is_own_exit(error):
                return exit_code_of(error)
            return Failure.of(error).tell(as_json=as_json, is_debugged=is_debugged)


def _without_debug(args: Sequence[str]) -> tuple[list[str], bool]:
    """Removes `--debug`, which may come before or after the command, and returns whether it was there."""
    end = args.index("--") if "--" in args else len(args)
    kept = [arg for arg in args[:end] if arg != "--debug"]
    return [*kept, *args[end:]], len(kept) < end


def _dispatch(args: Sequence[str]) -> int:
    """Finds the command and calls it.

    typer's own `main` would treat any broken connection as a closed stdout, and any end of a file as Ctrl-C.
    """
    command = get_command(app)
    is_question = not args or not {"--help", "--version"}.isdisjoint(args)
    if not is_question:
        _require_folder()
    try:
        with command.make_context("regplug", list(args) or ["--help"]) as ctx:
            answer = command.invoke(ctx)
    except typer.Exit as ended:
        return ended.exit_code
    return answer if isinstance(answer, int) else 0


def _require_folder() -> None:
    """Checks that the current folder exists; if it was deleted, no path can be resolved.

    Raises:
        RequestError: It was deleted.
    """
    if is_folder_gone():
        raise RequestError(FOLDER_GONE, hint=FOLDER_HINT)


def main() -> NoReturn:
    """Runs the console script.

    SIGTERM, which schedulers and `timeout` send, acts like Ctrl-C. So does SIGHUP, which a terminal sends when it is
    closed, unless it is ignored, as under `nohup`.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    # With the default settings, the imports alone trigger hundreds of useless garbage collections: half a second or
    # more. What is there at a freeze is never searched again; see `uncollected`.
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    gc.freeze()
    stdout = guard_streams()
    code = complete(app) if is_completing() else invoke(sys.argv[1:])
    sys.stdout.flush()
    if stdout.complaint:
        sys.stderr.write(f"error: {stdout.complaint}\n")
        code = code or 1
    sys.stderr.flush()
    # All output is written. A regular exit would spend two seconds on tearing down torch, mlflow and onnxruntime.
    atexit._run_exitfuncs()
    os._exit(code)

"""`--help` of every command: sections, an example that is a command, and words that are never broken."""

from __future__ import annotations

import itertools
import re

import pytest
import typer
from typer.main import get_command

from regplug.cli.app import COMMANDS, app
from regplug.cli.config_options import read_config
from regplug.cli.examples import EXAMPLES
from regplug.cli.panels import MAIN, panel_of
from regplug.config import RunConfig
from regplug.config.params import describe_params

ROOT = get_command(app)


def each_command(command, path=()):
    """Yields the path of every command, groups first."""
    yield path
    for name in COMMANDS if command is ROOT else getattr(command, "commands", ()):
        yield from each_command(command.commands[name], (*path, name))


PATHS = [" ".join(path) for path in each_command(ROOT)]


def help_of(path, width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    command, ctx = ROOT, typer.Context(ROOT, info_name="regplug")
    for name in path.split():
        command = command.commands[name]
        ctx = typer.Context(command, info_name=name, parent=ctx)
    return command.get_help(ctx)


@pytest.mark.parametrize("path", PATHS)
def test_a_help_breaks_no_word_and_keeps_to_the_width(path, monkeypatch):
    texts = {width: help_of(path, width, monkeypatch) for width in (60, 80, 100)}
    assert len({frozenset(text.split()) for text in texts.values()}) == 1
    for width, text in texts.items():
        for line in text.partition("\nExample:")[0].splitlines():
            assert len(line) <= width or len(line.split()) == 1 or re.match(r" +--\S+ / --\S+$", line), line


@pytest.mark.parametrize("path", PATHS)
def test_a_help_ends_with_an_example_that_the_command_accepts(path, monkeypatch):
    assert help_of(path, 80, monkeypatch).endswith(f"Example:\n  {EXAMPLES[path]}")
    words = EXAMPLES[path].split()
    assert words[0] == "regplug"
    assert " ".join(words[1:]).startswith(path)
    command, args = ROOT, words[1:]
    while getattr(command, "commands", None):
        command, args = command.commands[args[0]], args[1:]
    given = command.make_context("example", args).params
    if "model" in given and "config" in given:
        read_config(given)


def test_there_is_no_example_of_a_command_that_does_not_exist():
    assert set(EXAMPLES) == set(PATHS)


def test_every_field_of_a_run_is_in_a_section_and_the_common_ones_are_first(monkeypatch):
    assert [info.name for info in describe_params(RunConfig) if panel_of(info.name) == MAIN] == []
    text = help_of("run", 80, monkeypatch)
    sections = re.findall(r"^(\S.*):$", text, re.MULTILINE)
    assert sections == ["Run", "Network", "Training", "Data", "Tracking and export", "Output and plugins", "Example"]
    places = [
        text.index(f"  {flag}") for flag in ("--model", "--dataset", "--reg", "--epochs", "--activation", "--json")
    ]
    assert all(first < second for first, second in itertools.pairwise(places))


@pytest.mark.parametrize("path", PATHS)
def test_bounds_are_told_in_words(path, monkeypatch):
    assert not re.search(r"x[<>]|[<>]=", help_of(path, 80, monkeypatch))

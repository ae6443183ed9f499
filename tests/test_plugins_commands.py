"""Commands that plugins add: found when they are wanted, imported when they are called."""

from __future__ import annotations

import sys

import pytest
from fake_plugins import HEADER

pytest_plugins = ["installed_plugins"]

GREET = '''
import sys
from regplug.errors import DataError

def greet(name: str, loudly: bool = False):
    """Greet somebody."""
    if name == "nobody":
        raise DataError("There is nobody.", hint="Greet somebody.")
    print(f"Hello {name}" + ("!" if loudly else "."))
'''
TYPER = '''
import typer

app = typer.Typer()

@app.command()
def one():
    """The first."""
    print("one")

@app.command()
def two():
    """The second."""
    print("two")

nothing = 3
'''


def offer(site, distribution, *commands, modules=()):
    """Installs a distribution that offers commands, `name=target`."""
    module = distribution.replace("-", "_")
    lines = "\n".join(
        f"    yield Command(name={name!r}, target={target!r}, summary='Says {name}.')"
        for name, target in (command.split("=") for command in commands)
    )
    source = f"{HEADER}@hookimpl\ndef regplug_commands():\n{lines}\n"
    site.install(distribution, {module: source, **dict(modules)}, entries={module: module})


def test_a_function_is_a_command_with_its_arguments(installed, terminal):
    offer(installed, "fake-greet", "greet=fake_greeting:greet", modules={"fake_greeting": GREET})
    assert terminal("greet", "you", "--loudly").out == "Hello you!\n"
    assert "Greet somebody." in terminal("greet", "--help").out
    wrong = terminal("greet", "you", "--softly")
    assert wrong.code == 2
    assert "regplug greet --help" in wrong.err


def test_its_own_errors_are_told_as_everybodys(installed, terminal):
    offer(installed, "fake-greet", "greet=fake_greeting:greet", modules={"fake_greeting": GREET})
    said = terminal("greet", "nobody")
    assert (said.code, said.err) == (2, "error: There is nobody.\nGreet somebody.\n")


def test_a_typer_application_is_a_group_of_commands(installed, terminal):
    offer(installed, "fake-group", "numbers=fake_numbers:app", modules={"fake_numbers": TYPER})
    assert terminal("numbers", "two").out == "two\n"


def test_help_lists_the_commands_of_plugins_and_imports_none(installed, terminal):
    offer(installed, "fake-greet", "greet=fake_greeting:greet", modules={"fake_greeting": GREET})
    said = terminal("--help").out
    assert "Commands of plugins:" in said
    assert "Says greet." in said
    assert "fake_greeting" not in sys.modules


def test_without_third_parties_help_has_no_such_section(installed, terminal):
    assert "Commands of plugins" not in terminal("--help").out


def test_commands_are_listed_with_the_components(installed, terminal):
    offer(installed, "fake-greet", "greet=fake_greeting:greet")
    listed = terminal("plugins", "list", "--kind", "command", "--json").document["components"]
    assert [(one["name"], one["distribution"]) for one in listed] == [("greet", "fake-greet")]


def test_a_name_of_the_host_stays_the_hosts_and_is_a_problem(installed, terminal):
    offer(installed, "fake-taker", "inspect=fake_greeting:greet", modules={"fake_greeting": GREET})
    assert "Print a bundle's task" in terminal("inspect", "--help").out
    assert terminal("fake-taker/inspect", "you").out == "Hello you.\n"
    assert "fake-taker/inspect" in terminal("--help").out
    (problem,) = terminal("plugins", "doctor", "--json").document["problems"]
    assert problem["what"] == "shadowed"
    assert "regplug fake-taker/inspect" in problem["hint"]


def test_two_plugins_with_one_command_are_an_error_on_use(installed, terminal):
    for name in ("fake-a", "fake-b"):
        offer(installed, name, "greet=fake_greeting:greet", modules={"fake_greeting": GREET})
    said = terminal("greet", "you")
    assert said.code == 2
    assert "fake-a/greet or fake-b/greet" in said.err
    assert terminal("fake-b/greet", "you").out == "Hello you.\n"


@pytest.mark.parametrize("target", ["fake_missing:greet", "fake_numbers:nothing"])
def test_a_command_that_cannot_be_called_names_its_plugin(installed, terminal, target):
    offer(installed, "fake-bad", f"bad={target}", modules={"fake_numbers": TYPER})
    said = terminal("bad")
    assert said.code == 2
    assert "fake-bad" in said.err


@pytest.mark.parametrize("name", ["nothing", "no such", "./net.py:Net", "greet:x=1"])
def test_what_nobody_offers_is_no_command(installed, terminal, name):
    offer(installed, "fake-greet", "greet=fake_greeting:greet", modules={"fake_greeting": GREET})
    said = terminal(name)
    assert said.code == 2
    assert "No such command" in said.err


def test_a_hosts_own_command_loads_no_plugin(installed, terminal):
    offer(installed, "fake-greet", "greet=fake_greeting:greet")
    assert terminal("verify", "--help").code == 0
    assert "fake_greet" not in sys.modules


def test_a_broken_plugin_that_was_named_by_its_path_is_told(terminal, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("raise RuntimeError('no server')")
    said = terminal("plan", "--plugin", str(file))
    assert said.code == 0
    assert "warning: plugin 'mine'" in said.err
    assert "RuntimeError: no server" in said.err


@pytest.mark.parametrize(
    ("ends", "code", "words"), [("3", 3, ""), ("None", 0, ""), ("'no, thank you'", 1, "no, thank you")]
)
def test_a_command_of_a_plugin_may_end_with_its_own_exit_code(installed, terminal, ends, code, words):
    source = f"import sys\n\ndef leave():\n    sys.exit({ends})\n"
    offer(installed, "fake-leave", "leave=fake_leaving:leave", modules={"fake_leaving": source})
    said = terminal("leave")
    assert (said.code, said.err.strip()) == (code, words)


def test_a_command_that_breaks_is_named_with_the_line(installed, terminal):
    source = "def leave():\n    return 1 / 0\n"
    offer(installed, "fake-leave", "leave=fake_leaving:leave", modules={"fake_leaving": source})
    said = terminal("leave")
    assert said.code == 1
    assert (
        "The command leave (plugin 'fake_leave' of distribution fake-leave 1.0) raised ZeroDivisionError in" in said.err
    )
    assert "fake_leaving.py, line 2: division by zero" in said.err

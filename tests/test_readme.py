"""The commands and the plugin of README and of the tour are what the code does."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from cli_calls import Terminal
from fake_plugins import Site
from made_docs import DOCS, PAGES, README, ROOT, blocks, components_page, defaults_table, put

import regplug
from regplug.registry import default_registry, load_registry

TEXT = README.read_text(encoding="utf-8")
TOUR_TEXT = (DOCS / "tour.md").read_text(encoding="utf-8")
FILES = {
    block.splitlines()[0].removeprefix("# "): block
    for page in (TEXT, TOUR_TEXT)
    for language in ("toml", "python")
    for block in blocks(page, language)
}
MOST_LINES = 250
PACKAGE = "regplug_confidence"
AGAIN = "run `python tests/made_docs.py`"


def commands() -> list[tuple[str, list[str]]]:
    """Each command of the tour with the lines that it printed."""
    found: list[tuple[str, list[str]]] = []
    for line in "".join(blocks(TOUR_TEXT, "console")).splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


TOUR = commands()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A scratch folder with README's files, and a store of its own."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def test_readme_is_short():
    assert len(TEXT.splitlines()) <= MOST_LINES


def test_readme_shows_what_the_tour_shows():
    """The tour runs in a test, README's outputs are its own."""
    shown = [line for line in "".join(blocks(TEXT, "console")).splitlines() if line != "..."]
    assert shown
    assert set(shown) <= set(TOUR_TEXT.splitlines())


@pytest.mark.parametrize("page", [README, DOCS / "configuration.md"], ids=lambda page: page.name)
def test_the_table_of_defaults_is_the_code_s(page):
    text = page.read_text(encoding="utf-8")
    assert text == put(text, "defaults", defaults_table()), AGAIN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_reference_of_components_is_the_registry_s(page):
    assert page.read_text(encoding="utf-8") == components_page(default_registry(), PAGES[page]), AGAIN


@pytest.mark.parametrize("page", [README, *sorted(DOCS.glob("*.md"))], ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).is_file(), target


def test_the_picture_is_small():
    pictures = sorted((DOCS / "images").glob("*.png"))
    assert pictures
    assert all(picture.stat().st_size < 300_000 for picture in pictures)


def test_the_two_commands_stand_there_word_for_word():
    first = (
        "    python3 -m venv .venv && .venv/bin/pip install -e . && .venv/bin/regplug run --reg dropout --model mlp\n"
    )
    second = '    python3 -m venv .venv && .venv/bin/pip install -e ".[test]" && .venv/bin/pytest\n'
    assert TEXT.index(first) < TEXT.index(second)


def test_the_tour_has_at_least_ten_commands():
    assert len({tuple(_name(command)) for command, _ in TOUR if command.startswith("regplug ")}) >= 10


@pytest.mark.parametrize("command", [command for command, _ in TOUR if command.startswith("regplug ")])
def test_every_option_of_the_tour_exists(command, terminal):
    known = terminal(*_name(command), "--help")
    assert known.code == 0
    assert not {word for word in command.split() if word.startswith("--")} - set(re.findall(r"--[a-z-]+", known.out))


def _name(command: str) -> list[str]:
    words = shlex.split(command)[1:]
    return words[:2] if words[0] in ("plugins", "runs") else words[:1]


@pytest.mark.parametrize("command", [c for c, _ in TOUR if c.startswith(("regplug plugins", "regplug plan"))])
def test_what_a_command_printed_is_what_it_prints(command, terminal, folder, monkeypatch):
    monkeypatch.setenv("COLUMNS", "132" if "list" in command else "100")
    said = terminal(*shlex.split(command)[1:])
    assert said.code == 0
    real = _words(said.err + said.out)
    for line in dict(TOUR)[command]:
        if line.strip() not in ("", "..."):
            assert _words(line) in real, line


def _words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.slow
def test_the_tour_runs_from_the_first_command_to_the_last(folder, terminal):
    """Every command ends well and says the same words; ids, numbers and lines left out may differ."""
    ids: dict[str, str] = {}
    for command, printed in TOUR:
        for old, new in ids.items():
            command = command.replace(old, new)
        said = _run(command, terminal, folder)
        heads = [line.split("  ")[0] for line in printed if re.match(r"[a-z ]+  ", line)]
        assert all(head in said for head in heads), command
        ids |= dict(zip(_ids("\n".join(printed)), _ids(said), strict=False))


def _ids(said: str) -> list[str]:
    """Bundles and studies that a command made."""
    return re.findall(r"bundles/\w{8}$|(?<=study )\w{8}", said, re.M)


def _run(command: str, terminal: Terminal, folder: Path) -> str:
    words = shlex.split(command)
    if words[0] == "regplug":
        said = terminal(*words[1:])
        assert said.code == 0, said.err
        return said.err + said.out
    command = command.replace("python ", f"{shlex.quote(sys.executable)} ", 1)
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True)  # noqa: S602  # README's own
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def package(folder, monkeypatch):
    """README's plugin, as pip would leave it: on the search path with its metadata."""
    site = Site(folder, monkeypatch)
    entry = re.search(r"(\w+) = \"(\w+)\"", FILES["pyproject.toml"].partition("entry-points")[2])
    site.install("regplug-confidence", {}, entries={entry[1]: entry[2]})
    # What lies in the current folder is not loaded unless it is named.
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_the_plugin_is_about_twenty_lines():
    code = [FILES[f"{PACKAGE}/{name}.py"] for name in ("__init__", "impl")]
    assert sum(1 for text in code for line in text.splitlines() if line.strip() and line[0] != "#") <= 25


def test_the_plugin_is_found_trained_and_tracked(package):
    registry = load_registry()
    found = registry.find("regularizer", "confidence")
    assert (found.distribution, found.version) == ("regplug-confidence", "1.0")
    assert not [one for one in registry.problems if one.distribution == "regplug-confidence"]
    result = regplug.run(reg=["confidence:strength=0.5", "l2"], epochs=2, export=False, registry=registry)
    plain = regplug.run(reg=["l2"], epochs=2, export=False, registry=registry)
    assert result.state_sha256 != plain.state_sha256
    assert result.metrics["train/objective"] < result.metrics["train/running_loss"]


def test_the_plugin_is_tried_before_it_is_installed(folder, terminal):
    (line,) = (line.strip() for line in TEXT.splitlines() if line.startswith("    regplug run --plugin"))
    said = terminal(*shlex.split(line)[1:], "--no-export")
    assert said.code == 0, said.err
    assert "confidence:strength=0.2" in said.out


def test_the_description_of_the_package_is_a_project(folder):
    import tomllib

    project = tomllib.loads(FILES["pyproject.toml"])
    ours = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["build-system"] == ours["build-system"]
    assert list(project["project"]["entry-points"]) == ["regplug"]

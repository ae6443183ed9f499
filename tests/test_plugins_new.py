"""`regplug plugins new`: a package that works, and what is refused."""

from __future__ import annotations

import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from plugin_environments import ROOT, Environment

from regplug.cli.plugins_new import EXAMPLES, component_name
from regplug.registry import Switches, load_registry

pytest_plugins = ["installed_plugins"]

FILES = {".github/workflows/test.yml", ".gitignore", "README.md", "pyproject.toml", "tests/test_conformance.py"}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def plural(kind):
    return "studies" if kind == "study" else f"{kind}{'es' if kind.endswith('s') else 's'}"


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_package_of_every_kind_is_whole_and_its_component_is_found(here, terminal, kind):
    document = terminal("plugins", "new", f"my-{plural(kind)}", "--kind", kind, "--json").document
    module, folder = f"my_{plural(kind)}", here / f"my-{plural(kind)}"
    assert {*document["files"]} == FILES | {f"src/{module}/__init__.py", f"src/{module}/impl.py"}
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {*document["files"]}
    assert not any("$" in path.read_text() for path in folder.rglob("*.py"))
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["regplug"] == {module: module}
    registry = load_registry(Switches(plugins=(str(folder / "src" / module),)))
    assert not [one for one in registry.problems if one.distribution == module]
    found = registry.find(kind, f"my_{kind}")
    assert (found.distribution, document["component"]) == (module, f"my_{kind}")


def test_components_of_all_templates_run_together(here, terminal):
    for kind in EXAMPLES:
        terminal("plugins", "new", f"my-{plural(kind)}", "--kind", kind)
    named = [word for kind in EXAMPLES for word in ("--plugin", f"my-{plural(kind)}/src/my_{plural(kind)}")]
    flags = ["--reg", "my_regularizer", "--activation", "my_activation", "--init", "my_initializer"]
    flags += ["--model", "my_model", "--dataset", "my_dataset", "--probe", "my_probe"]
    flags += ["--loss", "my_loss", "--optimizer", "my_optimizer", "--lr", "0.01", "--schedule", "my_schedule"]
    said = terminal("run", *named, *flags, "--epochs", "2", "--no-export", "--json")
    assert said.code == 0, said.err
    assert said.document["metrics"]["my_probe/share"] >= 0


def test_what_comes_next_is_told(here, terminal):
    said = terminal("plugins", "new", "my-regs").out
    assert "regplug run --reg my_reg --epochs 1" in said
    assert "regplug plugins check my-regs" in said


@pytest.mark.parametrize(
    ("distribution", "name"),
    [
        ("my-regs", "my_reg"),
        ("regplug-dropblock", "dropblock"),
        ("loss", "loss"),
        ("my-losses", "my_loss"),
        ("regplug_s", "s"),
    ],
)
def test_a_component_is_named_after_its_distribution(distribution, name):
    assert component_name(distribution) == name


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["My-Regs"], "cannot name a plugin package"),
        (["my--regs"], "cannot name a plugin package"),
        (["../evil"], "cannot name a plugin package"),
        (["1st"], "cannot name a plugin package"),
        (["json"], "of Python itself"),
        (["torch"], "installed already"),
        (["regplug"], "installed already"),
        (["my-regs", "--kind", "format"], "no template for the kind 'format'"),
        (["my-regs", "--kind", "regularisers"], "Did you mean regularizer"),
        (["my-regs", "--name", "My"], "cannot name a component"),
        (["my-regs", "--name", "lambda"], "cannot name a component"),
        (["regplug-dropout"], "There is a regularizer dropout already, of regplug"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused_and_nothing_is_written(here, terminal, words, told):
    said = terminal("plugins", "new", *words)
    assert said.code == 2
    assert told in said.err
    assert list(here.iterdir()) == []


def test_a_folder_that_exists_is_left_alone(here, terminal):
    (here / "my-regs").mkdir()
    said = terminal("plugins", "new", "my-regs")
    assert (said.code, "exists already" in said.err) == (2, True)
    assert list((here / "my-regs").iterdir()) == []
    assert terminal("plugins", "new", "my-regs", "--out", here / "other", "--name", "mine").code == 0
    assert 'name="mine"' in (here / "other" / "src" / "my_regs" / "__init__.py").read_text()


@pytest.mark.parametrize("folder", ["file/inside", "x" * 300])
def test_a_folder_that_cannot_be_written_is_refused(here, terminal, folder):
    (here / "file").write_text("")
    said = terminal("plugins", "new", "my-regs", "--out", folder)
    assert said.code == 2
    assert "cannot be written" in said.err


def test_the_templates_are_in_the_wheel():
    from hatchling.builders.wheel import WheelBuilder

    shipped = {file.relative_path for file in WheelBuilder(str(ROOT)).recurse_included_files()}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "regplug" / "templates").rglob("*.txt")}
    assert len(templates) == 5 + 2 * len(EXAMPLES)
    assert templates <= shipped


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[Environment]:
    with Environment(tmp_path / "environment") as made:
        yield made


@pytest.mark.slow
def test_a_new_package_is_built_installed_tested_checked_and_used(environment: Environment, tmp_path: Path):
    environment("regplug plugins new my-regs --kind regularizer", tmp_path)
    folder = tmp_path / "my-regs"
    from build import ProjectBuilder

    wheel = ProjectBuilder(folder).build("wheel", tmp_path / "dist")
    environment(f"pip install {wheel}", tmp_path)
    assert " passed" in environment("pytest", folder)
    assert "0 failed" in environment("regplug plugins check my-regs", tmp_path)
    environment("regplug run --reg my_reg --epochs 1", tmp_path)
    listed = json.loads(environment("regplug plugins list --kind regularizer --json", tmp_path))
    (mine,) = (one for one in listed["components"] if one["distribution"] == "my-regs")
    assert (mine["name"], mine["editable"]) == ("my_reg", False)
    assert Path(mine["location"]).is_relative_to(environment.home)
    assert listed["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_new_package_of_each_kind_passes_the_kit(installed, here, terminal, kind):
    terminal("plugins", "new", f"my-{kind}s", "--kind", kind)
    package = here / f"my-{kind}s" / "src" / f"my_{kind}s"
    sources = {file.stem: file.read_text() for file in package.iterdir()}
    (installed.folder / f"my_{kind}s").mkdir()
    for name, text in sources.items():
        (installed.folder / f"my_{kind}s" / f"{name}.py").write_text(text)
    installed.install(f"my-{kind}s", {}, entries={f"my_{kind}s": f"my_{kind}s"})
    from regplug.registry import default_registry

    default_registry.cache_clear()
    said = terminal("plugins", "check", f"my-{kind}s")
    assert said.code == 0, said.out

"""What is loaded: `--disable`, `--plugin`, no autoload, and what lies in the current folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import OFFERS, Site

from regplug.registry import Registry, Switches, load_registry


@pytest.fixture
def planted(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder in which somebody left a distribution, on the search path as `python -m` puts it there."""
    folder = tmp_path / "cwd"
    (folder / "evil.egg-info").mkdir(parents=True)
    (folder / "evil.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 6\n")
    (folder / "evil.egg-info" / "entry_points.txt").write_text("[regplug]\nevil = evil\n")
    site.write({"evil": OFFERS.format(name="evil", module="evil")}, folder=folder)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    return folder


def loaded(registry: Registry) -> set[str]:
    return {record.distribution for record in registry.plugins if record.status == "loaded"}


@pytest.mark.parametrize("name", ["fake-good", "Fake.Good", "fake_good"])
def test_a_disabled_plugin_is_not_imported(site, name):
    site.offer("fake-good", "swell")
    registry = load_registry(Switches(disable=(name,)))
    assert "fake-good" not in loaded(registry)
    assert "fake_good" not in sys.modules
    assert not [one for one in registry.problems if one.what == "unknown_switch"]


def test_a_first_party_entry_can_be_disabled():
    registry = load_registry(Switches(disable=("activations",)))
    assert not registry.components("activation")
    assert registry.components("model")


def test_a_disabled_name_that_nobody_has_is_told():
    (problem,) = (one for one in load_registry(Switches(disable=("modles",))).problems if one.what == "unknown_switch")
    assert "--disable modles" in problem.message
    assert problem.hint == "Did you mean models?"


def test_without_autoload_only_what_is_named_joins_the_first_party(site, monkeypatch):
    site.offer("fake-good", "swell")
    site.offer("fake-other", "other")
    monkeypatch.setenv("REGPLUG_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert loaded(load_registry()) == {"regplug"}
    assert loaded(load_registry(Switches(plugins=("fake-good",)))) == {"regplug", "fake-good"}
    monkeypatch.delenv("REGPLUG_DISABLE_PLUGIN_AUTOLOAD")
    assert loaded(load_registry(Switches(autoload=False))) == {"regplug"}
    assert {"fake-good", "fake-other"} <= loaded(load_registry())


def test_a_file_is_a_plugin_when_it_is_named(site, tmp_path):
    site.write({"fake_file": OFFERS.format(name="swell", module="fake_file")}, folder=tmp_path)
    registry = load_registry(Switches(plugins=(str(tmp_path / "fake_file.py"),)))
    found = registry.find("activation", "fake_file/swell")
    assert found.location == str(tmp_path)


def test_a_package_folder_is_a_plugin_when_it_is_named(tmp_path, monkeypatch):
    package = tmp_path / "fake_package"
    package.mkdir()
    (package / "__init__.py").write_text(OFFERS.format(name="swell", module="fake_package"))
    monkeypatch.delitem(sys.modules, "fake_package", raising=False)
    registry = load_registry(Switches(plugins=(str(package),)))
    assert registry.find("activation", "swell").entry == "fake_package"
    monkeypatch.delitem(sys.modules, "fake_package")


def test_a_module_is_a_plugin_when_it_is_named(site):
    site.write({"fake_module": OFFERS.format(name="swell", module="fake_module")})
    assert load_registry(Switches(plugins=("fake_module",))).find("activation", "swell")


def test_naming_the_module_of_an_installed_plugin_changes_nothing(site):
    site.install(
        "fake-good", {"fake_module": OFFERS.format(name="swell", module="fake_module")}, entries={"x": "fake_module"}
    )
    registry = load_registry(Switches(plugins=("fake_module",)))
    assert registry.find("activation", "swell").distribution == "fake-good"
    assert not [one for one in registry.problems if one.distribution == "fake-good"]


def test_a_named_module_that_does_not_exist_is_a_problem():
    registry = load_registry(Switches(plugins=("no_such_module",)))
    assert [one.what for one in registry.problems if one.distribution == "no_such_module"] == ["broken"]


def test_a_distribution_in_the_current_folder_does_not_run(planted):
    registry = load_registry()
    assert "evil" not in sys.modules
    assert "evil" not in loaded(registry)
    (problem,) = (one for one in registry.problems if one.distribution == "evil")
    assert problem.what == "foreign_folder"
    assert "--plugin evil" in problem.hint


@pytest.mark.parametrize("name", ["evil", ".", "./evil.py"])
def test_a_distribution_in_the_current_folder_runs_when_it_is_named(planted, name):
    registry = load_registry(Switches(plugins=(name,)))
    assert registry.find("activation", "evil").location == str(planted)


def test_what_is_installed_counts_although_its_source_is_the_current_folder(planted, site):
    site.install("evil", {}, entries={"evil": "evil"}, version="7", editable_from=planted)
    registry = load_registry()
    found = registry.find("activation", "evil")
    assert (found.version, found.editable) == ("7", True)
    assert not [one for one in registry.problems if one.distribution == "evil"]


def test_a_planted_host_does_not_replace_the_host(planted):
    (planted / "evil.egg-info" / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: regplug\nVersion: 6\n")
    registry = load_registry()
    assert registry.components("model")
    assert "evil" not in sys.modules


def test_the_interpreter_started_in_a_planted_folder_runs_nothing_of_it(planted):
    (planted / "evil.py").write_text("open('ran', 'w').close()")
    code = "from regplug.registry import default_registry; print(len(default_registry().components('model')) > 0)"
    done = subprocess.run([sys.executable, "-c", code], cwd=planted, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
    assert not (planted / "ran").exists()

"""`regplug.toml`: allow-lists, disabled names and pins, all before a plugin is imported."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from fake_plugins import OFFERS

from regplug.config import RunConfig
from regplug.errors import AmbiguousComponentError, RequestError
from regplug.registry import Registry, configured_switches, load_registry
from regplug.registry.components import resolve_config


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder, user = tmp_path / "here", tmp_path / "config"
    folder.mkdir()
    (user / "regplug").mkdir(parents=True)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user))
    return folder


def write(folder: Path, text: str) -> None:
    (folder / "regplug.toml").write_text(text)


def users(here: Path) -> Path:
    return here.parent / "config" / "regplug"


def loaded(registry: Registry) -> set[str]:
    return {record.distribution for record in registry.plugins if record.status == "loaded"}


def told(registry: Registry) -> list[str]:
    return [one.message for one in registry.problems if one.what == "unknown_switch"]


@pytest.mark.parametrize("name", ["fake-good", "Fake_Good", "fake-good/fake_good"])
def test_what_an_allow_list_does_not_have_is_not_imported(site, here, name):
    site.offer("fake-good", "swell")
    site.offer("fake-other", "other")
    write(here, f"[plugins]\nallow = [{name!r}]")
    registry = load_registry()
    assert loaded(registry) == {"regplug", "fake-good"}
    assert "fake_other" not in sys.modules
    assert told(registry) == []


def test_an_allow_list_goes_by_distribution_because_anybody_may_take_an_entrys_name(site, here):
    site.install("fake-evil", {"evil": OFFERS.format(name="swell", module="evil")}, entries={"good": "evil"})
    write(here, "[plugins]\nallow = ['good']")
    registry = load_registry()
    assert loaded(registry) == {"regplug"}
    assert "plugins.allow good" in told(registry)[0]


def test_of_a_distribution_with_two_entries_one_can_be_allowed(site, here):
    modules = {name: OFFERS.format(name=name, module=name) for name in ("fake_one", "fake_two")}
    site.install("fake-both", modules)
    write(here, "[plugins]\nallow = ['fake-both/fake_two']")
    registry = load_registry()
    assert [one.name for one in registry.components("activation") if one.distribution == "fake-both"] == ["fake_two"]
    assert "fake_one" not in sys.modules


def test_an_empty_allow_list_allows_the_host_alone(site, here):
    site.offer("fake-good", "swell")
    write(here, "[plugins]\nallow = []")
    assert loaded(load_registry()) == {"regplug"}


def test_with_two_allow_lists_a_plugin_must_stand_in_both(site, here):
    for name in ("fake-a", "fake-b", "fake-c"):
        site.offer(name, name.replace("-", "_"))
    write(here, "[plugins]\nallow = ['fake-a', 'fake-b']")
    write(users(here), "[plugins]\nallow = ['fake-b', 'fake-c']")
    assert loaded(load_registry()) == {"regplug", "fake-b"}


def test_what_is_named_on_the_command_line_is_loaded_past_an_allow_list(site, here):
    site.offer("fake-good", "swell")
    write(here, "[plugins]\nallow = []")
    assert loaded(load_registry(configured_switches(plugins=("fake-good",)))) == {"regplug", "fake-good"}


def test_names_can_be_disabled_in_a_file_and_by_flag_together(site, here):
    for name in ("fake-a", "fake-b", "fake-c"):
        site.offer(name, name.replace("-", "_"))
    write(users(here), "[plugins]\ndisable = ['fake-a']")
    assert loaded(load_registry(configured_switches(disable=("fake-b/fake_b",)))) == {"regplug", "fake-c"}


def test_a_pin_decides_between_two_third_parties(site, here):
    site.offer("fake-a", "swell")
    site.offer("fake-b", "swell")
    write(here, "[plugins.pins.activation]\nswell = 'Fake_B'")
    registry = load_registry()
    assert registry.find("activation", "swell").distribution == "fake-b"
    assert not [one for one in registry.problems if one.what == "ambiguous"]
    assert told(registry) == []


def test_a_pinned_name_is_kept_with_its_distribution(site, here):
    site.offer("fake-a", "swell")
    site.offer("fake-b", "swell")
    write(here, "[plugins.pins.activation]\nswell = 'fake-b'")
    registry = load_registry()
    resolved = resolve_config(RunConfig(activation="swell"), registry)
    assert resolved.activation == "fake-b/swell"
    assert registry.spelling(registry.find("activation", "swell")) == "fake-b/swell"


def test_the_nearer_pin_counts(site, here):
    site.offer("fake-a", "swell")
    site.offer("fake-b", "swell")
    write(here, "[plugins.pins.activation]\nswell = 'fake-a'")
    write(users(here), "[plugins.pins.activation]\nswell = 'fake-b'")
    assert load_registry().find("activation", "swell").distribution == "fake-a"


def test_a_pin_on_nobody_is_told_and_decides_nothing(site, here):
    site.offer("fake-a", "swell")
    site.offer("fake-b", "swell")
    write(here, "[plugins.pins.activation]\nswell = 'fake-x'")
    registry = load_registry()
    assert "fake-x" in told(registry)[0]
    with pytest.raises(AmbiguousComponentError):
        registry.find("activation", "swell")


def test_a_name_of_the_host_cannot_be_pinned_away(site, here):
    site.offer("fake-a", "relu")
    write(here, "[plugins.pins.activation]\nrelu = 'fake-a'")
    assert load_registry().find("activation", "relu").distribution == "regplug"


def test_a_file_can_load_nothing(site, here):
    site.write({"planted": "open('ran', 'w').close()"}, folder=here)
    write(here, "[plugins]\nplugins = ['./planted.py']")
    with pytest.raises(RequestError, match="plugins is unknown"):
        load_registry()
    assert not (here / "ran").exists()


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[plugin]", "plugin is unknown"),
        ("[plugins]\nallowed = []", "allowed is unknown"),
        ("[plugins]\nallow = 'fake-a'", "plugins.allow is 'fake-a'"),
        ("[plugins]\ndisable = [1]", "plugins.disable is"),
        ("[plugins.pins]\nactivations = {}", "activations is unknown"),
        ("[plugins.pins]\nactivation = 'fake-a'", "plugins.pins.activation is 'fake-a'"),
        ("[plugins.pins.activation]\nswell = 1", "plugins.pins.activation.swell is 1"),
        ("plugins = 1", "plugins is 1"),
        ("[plugins", "cannot be read"),
    ],
)
def test_a_file_that_is_wrong_is_refused_before_anything_is_loaded(site, here, text, wrong):
    write(here, text)
    with pytest.raises(RequestError) as caught:
        load_registry()
    assert wrong in caught.value.message
    assert str(here / "regplug.toml") in caught.value.message

"""Scan, load, collect: a broken plugin is a problem and never the end."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fake_plugins import HEADER, OFFERS

from regplug.errors import PluginError, RequestError
from regplug.registry import Problem, Registry, Switches, default_registry, load_registry


def names(registry: Registry, distribution: str) -> list[str]:
    return [one.name for one in registry.components() if one.distribution == distribution]


def only_problem(registry: Registry, distribution: str) -> Problem:
    (problem,) = (one for one in registry.problems if one.distribution == distribution)
    return problem


def status(registry: Registry, distribution: str) -> str:
    (record,) = (one for one in registry.plugins if one.distribution == distribution)
    return record.status


def test_a_good_plugin_is_found_with_its_provenance(site):
    site.offer("fake-good", "swell")
    registry = load_registry()
    found = registry.find("activation", "swell")
    assert (found.distribution, found.version, found.entry, found.editable) == ("fake-good", "1.0", "fake_good", False)
    assert found.location == str(site.folder)
    assert found.provenance == "fake-good:swell@1.0"
    assert not [one for one in registry.problems if one.distribution == "fake-good"]


def test_the_first_party_plugins_take_the_same_road():
    registry = default_registry()
    records = [record for record in registry.plugins if record.origin.is_first_party]
    assert {record.entry for record in records} >= {"activations", "models", "regularizers"}
    assert {record.status for record in records} == {"loaded"}
    assert all(not record.heavy_imports for record in records)


def test_an_editable_installation_shows_its_source(site, tmp_path):
    source = tmp_path / "my source"
    site.install("fake-edit", {"fake_edit": OFFERS.format(name="ed", module="fake_edit")}, editable_from=source)
    found = load_registry().find("activation", "ed")
    assert found.editable
    assert found.location == str(source)


BROKEN = {
    "an import error": ("import nowhere_to_be_found", "ModuleNotFoundError"),
    "a system exit": ("raise SystemExit(3)", "SystemExit: 3"),
    "a syntax error": ("def broken(:", "SyntaxError"),
    "a generator that raises half way": (
        HEADER
        + """
@hookimpl
def regplug_activations():
    yield Activation(name="before", target="a:b", summary="")
    raise RuntimeError("half way")
""",
        "raised in its hook regplug_activations: RuntimeError: half way",
    ),
    "a hook that returns nothing": (HEADER + "@hookimpl\ndef regplug_activations(): pass", "returned nothing"),
    "a hook that returns one": (
        HEADER + "@hookimpl\ndef regplug_activations(): return Activation(name='a', target='a:b', summary='')",
        "returned one Activation",
    ),
}


@pytest.mark.parametrize(("source", "told"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_a_problem_and_stops_no_other(site, source, told):
    site.install("fake-broken", {"fake_broken": source})
    site.offer("fake-good", "swell")
    registry = load_registry()
    problem = only_problem(registry, "fake-broken")
    assert problem.what == "broken"
    assert told in problem.message
    assert "fake_broken" in problem.message
    assert "--disable fake-broken" in problem.hint
    assert names(registry, "fake-good") == ["swell"]
    assert names(registry, "regplug")


def test_what_a_generator_gave_before_it_raised_is_kept(site):
    site.install("fake-broken", {"fake_broken": BROKEN["a generator that raises half way"][0]})
    assert names(load_registry(), "fake-broken") == ["before"]


def test_a_hook_without_end_is_invalid_and_stops_no_other(site):
    body = "while True: yield Activation(name='again', target='a:b', summary='')"
    site.install("fake-endless", {"fake_endless": HEADER + f"@hookimpl\ndef regplug_activations():\n    {body}"})
    site.offer("fake-good", "swell")
    registry = load_registry()
    assert only_problem(registry, "fake-endless").what == "invalid"
    assert names(registry, "fake-endless") == []
    assert names(registry, "fake-good") == ["swell"]


def test_a_file_that_is_no_python_is_named_with_its_line(site):
    site.install("fake-slip", {"fake_slip": "x = 1\ndef f(:\n"})
    message = only_problem(load_registry(), "fake-slip").message
    assert "fake_slip.py:2)" in message
    assert "importlib" not in message


def test_one_broken_hook_does_not_stop_the_plugins_others(site):
    source = HEADER + (
        "@hookimpl\ndef regplug_activations(): raise ValueError('no')\n"
        "@hookimpl\ndef regplug_probes(): return [Probe(name='p', target='a:b', summary='')]"
    )
    site.install("fake-broken", {"fake_broken": source})
    assert names(load_registry(), "fake-broken") == ["p"]


INVALID = {
    "a wrong type": ("yield 3", "gave an object of type int", "regplug.api.Activation"),
    "a wrong kind": ("yield Probe(name='p', target='a:b', summary='')", "gave the probe p", "regplug_probes"),
    "a bad name": ("yield Activation(name='Re LU', target='a:b', summary='')", "no valid name", "lower case"),
    "a bad target": (
        "yield Activation(name='a', target='a.b', summary='')",
        "target 'a.b'",
        "package.module:attribute",
    ),
    "a target that is no text": ("yield Activation(name='a', target=int, summary='')", "target <class 'int'>", "text"),
    "no dataclass": ("yield Activation(name='a', target='a:b', summary='', params=int)", "not a dataclass", "frozen"),
    "text for a tuple": ("yield Activation(name='a', target='a:b', summary='', tags='x')", "tags='x'", "('x',)"),
    "a missing default": (
        "@dataclass(frozen=True)\n    class P:\n        slope: float\n"
        "    yield Activation(name='a', target='a:b', summary='', params=P)",
        "P.slope has no default",
        "default",
    ),
    "changeable parameters": (
        "@dataclass\n    class P:\n        slope: float = 1.0\n"
        "    yield Activation(name='a', target='a:b', summary='', params=P)",
        "P is not frozen",
        "frozen=True",
    ),
    "fields without a decorator": (
        "@dataclass(frozen=True)\n    class P:\n        slope: float = 1.0\n"
        "    class Q(P):\n        shift: float = 0.0\n"
        "    yield Activation(name='a', target='a:b', summary='', params=Q)",
        "Q derives from a dataclass and adds fields, but is none itself",
        "@dataclass(frozen=True) above it",
    ),
}


@pytest.mark.parametrize(("body", "told", "hint"), INVALID.values(), ids=INVALID)
def test_an_invalid_descriptor_is_a_problem_and_the_next_one_counts(site, body, told, hint):
    good = "yield Activation(name='good', target='a:b', summary='')"
    site.install(
        "fake-invalid", {"fake_invalid": HEADER + f"@hookimpl\ndef regplug_activations():\n    {body}\n    {good}"}
    )
    registry = load_registry()
    problem = only_problem(registry, "fake-invalid")
    assert problem.what == "invalid"
    assert told in problem.message
    assert hint in problem.hint
    assert names(registry, "fake-invalid") == ["good"]


def test_a_misspelt_hook_is_told_with_the_right_name(site):
    site.install("fake-misspelt", {"fake_misspelt": HEADER + "@hookimpl\ndef regplug_regularisers():\n    return []"})
    problem = only_problem(load_registry(), "fake-misspelt")
    assert problem.what == "unknown_hook"
    assert "regplug_regularisers" in problem.message
    assert problem.hint == "Did you mean regplug_regularizers?"


def test_a_hook_without_marker_is_told_so(site):
    site.install("fake-bare", {"fake_bare": "def regplug_activations():\n    return []"})
    problem = only_problem(load_registry(), "fake-bare")
    assert "implements no hook" in problem.message
    assert "hookimpl above regplug_activations" in problem.hint


def test_a_hook_with_arguments_is_invalid(site):
    site.install("fake-args", {"fake_args": HEADER + "@hookimpl\ndef regplug_activations(config):\n    return []"})
    assert only_problem(load_registry(), "fake-args").what == "invalid"


def test_a_wrapper_is_invalid(site):
    source = HEADER + "@hookimpl(wrapper=True)\ndef regplug_activations():\n    return (yield)"
    site.install("fake-wrapper", {"fake_wrapper": source})
    assert "is a wrapper" in only_problem(load_registry(), "fake-wrapper").message


def test_a_plugin_for_another_host_version_is_not_imported(site):
    site.install("fake-future", {"fake_future": "raise SystemExit"}, requires=["numpy", "regplug >= 99"])
    registry = load_registry()
    problem = only_problem(registry, "fake-future")
    assert problem.what == "incompatible"
    assert "'regplug >= 99'" in problem.message
    assert status(registry, "fake-future") == "incompatible"
    assert "fake_future" not in sys.modules


def test_an_incompatible_plugin_that_is_not_wanted_anyway_is_no_problem(site, monkeypatch):
    site.install("fake-future", {"fake_future": "raise SystemExit"}, requires=["regplug >= 99"])
    monkeypatch.setenv("REGPLUG_DISABLE_PLUGIN_AUTOLOAD", "1")
    registry = load_registry()
    assert status(registry, "fake-future") == "not_loaded"
    assert [one for one in registry.problems if one.distribution == "fake-future"] == []


@pytest.mark.parametrize("text", ["regplug>=0.0.1", "regplug", "regplug>=99; extra == 'later'", "regplug-lab>=99"])
def test_a_requirement_that_is_met_or_does_not_apply_lets_it_in(site, text):
    site.install("fake-good", {"fake_good": OFFERS.format(name="swell", module="fake_good")}, requires=[text])
    assert names(load_registry(), "fake-good") == ["swell"]


def test_of_two_installations_of_one_distribution_the_first_counts(site, tmp_path, monkeypatch):
    site.offer("fake-good", "swell")
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(other)])
    site.install("Fake_Good", {}, entries={"x": "fake_other"}, version="0.9", folder=other)
    registry = load_registry()
    assert names(registry, "fake-good") == ["swell"]
    (problem,) = (one for one in registry.problems if one.what == "duplicate")
    assert "1.0" in problem.message
    assert "0.9" in problem.message
    assert str(other) in problem.message


def test_a_folder_twice_on_the_search_path_is_no_problem(site, monkeypatch):
    site.offer("fake-good", "swell")
    monkeypatch.setattr(sys, "path", [*sys.path, str(site.folder)])
    assert not [one for one in load_registry().problems if one.distribution == "fake-good"]


def test_two_distributions_that_name_one_module_contribute_it_once(site):
    site.offer("fake-good", "swell")
    site.install("fake-renamed", {}, entries={"x": "fake_good"})
    registry = load_registry()
    assert registry.find("activation", "swell").distribution == "fake-good"
    assert only_problem(registry, "fake-renamed").what == "duplicate"


def test_a_distribution_that_offers_a_name_twice_keeps_the_first(site):
    modules = {name: OFFERS.format(name="swell", module=name) for name in ("fake_one", "fake_two")}
    site.install("fake-twice", modules)
    registry = load_registry()
    assert registry.find("activation", "swell").entry == "fake_one"
    assert only_problem(registry, "fake-twice").what == "duplicate"


def test_damaged_metadata_are_a_problem_and_stop_no_other(site):
    site.offer("fake-good", "swell")
    site.install("fake-damaged", {"fake_damaged": ""})
    (site.folder / "fake_damaged-1.0.dist-info" / "METADATA").write_text("Version: 1.0\n")
    registry = load_registry()
    assert [one.what for one in registry.problems if "no name" in one.message] == ["broken"]
    assert names(registry, "fake-good") == ["swell"]


def test_a_keyboard_interrupt_passes(site):
    site.install("fake-interrupt", {"fake_interrupt": "raise KeyboardInterrupt"})
    with pytest.raises(KeyboardInterrupt):
        load_registry()


def test_what_a_plugin_prints_does_not_reach_stdout(site, capsys):
    source = "print('imported')\n" + OFFERS.format(name="swell", module="fake_loud") + "    print('asked')\n"
    site.install("fake-loud", {"fake_loud": source})
    load_registry()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "imported\nasked\n"


@pytest.mark.parametrize("source", [BROKEN["an import error"][0], BROKEN["a generator that raises half way"][0]])
def test_strict_mode_raises_with_the_cause(site, monkeypatch, source):
    monkeypatch.setenv("REGPLUG_STRICT", "1")
    site.install("fake-broken", {"fake_broken": source})
    with pytest.raises(PluginError, match="fake-broken") as caught:
        load_registry(Switches(plugins=("fake-broken",), autoload=False))
    assert isinstance(caught.value.__cause__, ModuleNotFoundError | RuntimeError)


def test_strict_mode_raises_what_is_invalid_too(site, monkeypatch):
    monkeypatch.setenv("REGPLUG_STRICT", "1")
    site.install("fake-misspelt", {"fake_misspelt": HEADER + "@hookimpl\ndef regplug_regularisers():\n    return []"})
    with pytest.raises(PluginError, match="regularisers"):
        load_registry()


def test_time_and_heavy_imports_of_a_plugin_are_recorded(site):
    script = (
        "from regplug.registry import load_registry\n"
        "r = next(r for r in load_registry().plugins if r.distribution == 'fake-heavy')\n"
        "print(r.heavy_imports, r.import_ms > 1)"
    )
    site.install("fake-heavy", {"fake_heavy": "import numpy\n" + OFFERS.format(name="swell", module="fake_heavy")})
    code = f"import sys; sys.path.insert(0, {str(site.folder)!r})\n{script}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "('numpy',) True\n"


def test_the_registry_and_configuration_import_nothing_heavy():
    code = (
        "import sys\n"
        "import regplug.registry, regplug.config, regplug.registry.components, regplug.hookspecs\n"
        "config = regplug.config.RunConfig(format=(), probe=())\n"
        "regplug.registry.components.resolve_config(config, regplug.registry.default_registry())\n"
        "print(sorted({'torch', 'numpy', 'mlflow', 'onnx', 'onnxruntime', 'typer', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_an_empty_plugin_is_refused():
    with pytest.raises(RequestError, match="--plugin is empty"):
        load_registry(Switches(plugins=("",)))


def test_a_path_that_is_no_plugin_is_refused(tmp_path):
    with pytest.raises(RequestError, match="does not exist"):
        load_registry(Switches(plugins=(str(tmp_path / "nothing.py"),)))
    with pytest.raises(RequestError, match=r"holds neither __init__\.py nor"):
        load_registry(Switches(plugins=(str(tmp_path),)))

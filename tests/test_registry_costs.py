"""What the doctor must know: who asks for heavy libraries and at what price, and installations that are stale."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
from fake_plugins import HEADER, OFFERS, Site

from regplug.api import Parameters
from regplug.errors import PluginError
from regplug.registry import default_registry, load_registry


def doctor(site: Site) -> dict:
    """The doctor's document, in a process of its own: in this one torch may be imported already."""
    code = (
        f"import sys; sys.path.insert(0, {str(site.folder)!r})\n"
        "from regplug.cli.app import invoke; invoke(['plugins', 'doctor', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def offers(module: str, name: str, head: str = "") -> dict[str, str]:
    return {module: f"{head}\n{OFFERS.format(name=name, module=module)}"}


def test_every_plugin_that_asks_for_a_heavy_library_is_named_with_its_price(site):
    for each in "abc":
        site.install(f"fake-{each}", offers(f"fake_{each}", f"swell_{each}", "import numpy.linalg"))
    site.install("fake-light", offers("fake_light", "light"))
    document = doctor(site)
    plugins = {one["distribution"]: one for one in document["plugins"] if one["distribution"] != "regplug"}
    assert [plugins[f"fake-{each}"]["heavy_imports"] for each in "abc"] == [["numpy"]] * 3
    assert len({plugins[f"fake-{each}"]["heavy_ms"]["numpy"] for each in "abc"}) == 1
    assert plugins["fake-a"]["heavy_ms"]["numpy"] > 1
    assert plugins["fake-a"]["import_ms"] >= plugins["fake-a"]["heavy_ms"]["numpy"] > plugins["fake-b"]["import_ms"]
    assert plugins["fake-light"]["heavy_imports"] == []
    named = [one["distribution"] for one in document["problems"] if one["what"] == "heavy_import"]
    assert named == ["fake-a", "fake-b", "fake-c"]


def test_a_heavy_import_is_found_in_a_hook_behind_a_helper_and_without_a_statement(site):
    hook = HEADER + "@hookimpl\ndef regplug_activations():\n    import numpy\n    return []"
    site.install("fake-hook", {"fake_hook": hook})
    site.install("fake-helped", offers("fake_helped", "helped", "import fake_helper"))
    site.write({"fake_helper": "from scipy import sparse"})
    site.install("fake-quiet", offers("fake_quiet", "quiet", "import importlib; importlib.import_module('onnx')"))
    plugins = {one["distribution"]: one["heavy_imports"] for one in doctor(site)["plugins"]}
    assert plugins["fake-hook"] == ["numpy"]
    assert plugins["fake-helped"] == ["scipy"], "what scipy imports itself is scipy's"
    assert "onnx" in plugins["fake-quiet"]


def test_watching_imports_leaves_the_import_as_it_was(site):
    before = __builtins__["__import__"]
    site.install("fake-broken", {"fake_broken": "import numpy\nraise SystemExit"})
    load_registry()
    assert __builtins__["__import__"] is before


def test_an_editable_installation_whose_folder_is_gone_is_stale(site, tmp_path):
    gone = tmp_path / "gone"
    site.install("fake-gone", {}, entries={"fake_gone": "fake_gone"}, editable_from=gone)
    registry = load_registry()
    (problem,) = (one for one in registry.problems if one.distribution == "fake-gone")
    assert problem.what == "stale"
    assert str(gone) in problem.message
    assert "that folder is gone" in problem.message
    assert "pip uninstall fake-gone" in problem.hint
    assert [one.status for one in registry.plugins if one.distribution == "fake-gone"] == ["broken"]


def test_an_editable_installation_whose_module_is_gone_is_stale(site, tmp_path):
    site.install("fake-gone", {}, entries={"fake_gone": "fake_gone.plugin:it"}, editable_from=tmp_path)
    (problem,) = (one for one in load_registry().problems if one.distribution == "fake-gone")
    assert problem.what == "stale"
    assert "there is no module fake_gone.plugin any more" in problem.message


def test_an_editable_installation_that_misses_another_module_is_broken(site, tmp_path):
    site.install("fake-edit", {"fake_edit": "import nowhere_to_be_found"}, editable_from=tmp_path)
    (problem,) = (one for one in load_registry().problems if one.distribution == "fake-edit")
    assert problem.what == "broken"


def test_strict_mode_raises_what_is_stale(site, tmp_path, monkeypatch):
    site.install("fake-gone", {}, entries={"fake_gone": "fake_gone"}, editable_from=tmp_path / "gone")
    monkeypatch.setenv("REGPLUG_STRICT", "1")
    with pytest.raises(PluginError, match="editable installation"):
        load_registry()


def test_first_party_parameters_compile_no_methods_and_every_annotation_is_a_parameter():
    """`@dataclass(frozen=True)` compiles six methods for each class, which took half the time of `plugins list`."""
    classes = {one.component.params for one in default_registry().components() if one.origin.is_first_party}
    assert {cls.__name__ for cls in classes if not issubclass(cls, Parameters)} <= {"NoParams"}
    for cls in classes:
        annotated = {name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})}
        assert annotated == {field.name for field in dataclasses.fields(cls)}

"""Resolve and build: which component a name means, and what it becomes."""

from __future__ import annotations

import sys

import pytest
from fake_plugins import HEADER, OFFERS, Site

from regplug.config.spec import ComponentSpec
from regplug.errors import (
    AmbiguousComponentError,
    ParameterError,
    PluginError,
    RequestError,
    UnknownComponentError,
)
from regplug.registry import build, load_registry, load_target, read_params


def test_a_first_party_name_is_reserved(site):
    site.offer("fake-rival", "relu")
    registry = load_registry()
    assert registry.find("activation", "relu").distribution == "regplug"
    rival = registry.find("activation", "fake-rival/relu")
    assert rival.distribution == "fake-rival"
    assert registry.spelling(rival) == "fake-rival/relu"
    (problem,) = (one for one in registry.problems if one.distribution == "fake-rival")
    assert problem.what == "shadowed"
    assert "fake-rival/relu" in problem.hint


def test_two_third_parties_with_one_name_are_an_error_on_use_only(site):
    site.offer("fake-a", "swell")
    site.offer("fake-b", "swell")
    registry = load_registry()
    with pytest.raises(AmbiguousComponentError) as caught:
        registry.find("activation", "swell")
    assert caught.value.hint == "Write fake-a/swell or fake-b/swell, or pin one in regplug.toml."
    assert registry.find("activation", "Fake_B/swell").distribution == "fake-b"
    assert [one.what for one in registry.problems if "swell" in one.message] == ["ambiguous"]
    assert [registry.spelling(one) for one in registry.components() if one.name == "swell"] == [
        "fake-a/swell",
        "fake-b/swell",
    ]


def test_one_name_in_two_kinds_is_no_conflict(site):
    source = OFFERS.format(name="swell", module="fake_good") + (
        "@hookimpl\ndef regplug_probes():\n    yield Probe(name='swell', target='a:b', summary='')"
    )
    site.install("fake-good", {"fake_good": source})
    registry = load_registry()
    assert registry.find("probe", "swell").kind == "probe"
    assert not [one for one in registry.problems if one.distribution == "fake-good"]


def test_an_unknown_name_is_told_with_the_near_ones_and_the_plugins_that_failed(site):
    site.install("fake-broken", {"fake_broken": "import nowhere_to_be_found"})
    with pytest.raises(UnknownComponentError) as caught:
        load_registry().find("activation", "rellu")
    assert caught.value.message == "No activation is named 'rellu'."
    assert "Did you mean relu" in caught.value.hint
    assert "fake-broken" in caught.value.hint
    assert "nowhere_to_be_found" in caught.value.hint


def test_a_name_of_another_kind_is_told():
    with pytest.raises(UnknownComponentError, match="name of a component of kind activation"):
        load_registry().find("regularizer", "relu")


def test_an_unknown_kind_is_refused():
    with pytest.raises(RequestError, match=r"Did you mean regularizer\?"):
        load_registry().find("regulariser", "l2")


def test_components_are_sorted_by_kind_name_and_distribution(site):
    site.offer("fake-b", "swell")
    site.offer("fake-a", "swell")
    found = load_registry().components()
    kinds = [one.kind for one in found]
    assert kinds == sorted(kinds, key=kinds.index)
    activations = [one.full_name for one in found if one.kind == "activation"]
    assert activations.index("fake-a/swell") < activations.index("fake-b/swell")


BUILDS = """
from dataclasses import dataclass
from regplug.errors import ModelError

class Inner:
    @staticmethod
    def make(params, *args):
        return params, args

def fails(params):
    raise KeyError("lost")

def refuses(params):
    raise ModelError("does not fit")
"""


def offered(site: Site, target: str) -> object:
    source = HEADER + (
        "@dataclass(frozen=True)\nclass P:\n    slope: Annotated[float, Ge(0)] = 1.0\n"
        f"@hookimpl\ndef regplug_activations():\n"
        f"    yield Activation(name='swell', target={target!r}, summary='', params=P)"
    )
    site.install("fake-good", {"fake_good": source, "fake_impl": BUILDS}, entries={"fake": "fake_good"})
    return load_registry().find("activation", "swell")


def test_a_target_is_imported_only_when_it_is_built(site):
    found = offered(site, "fake_impl:Inner.make")
    assert "fake_impl" not in sys.modules
    params, args = build(found, {"slope": 2}, "context")
    assert (params.slope, args) == (2.0, ("context",))
    assert params == read_params(found, {"slope": 2})


@pytest.mark.parametrize("target", ["fake_impl:nothing", "no_such_module:make"])
def test_a_target_that_cannot_be_loaded_names_plugin_and_distribution(site, target):
    with pytest.raises(PluginError) as caught:
        load_target(offered(site, target))
    assert "plugin 'fake' of distribution fake-good 1.0" in caught.value.message
    assert target in caught.value.message


def test_a_target_that_raises_names_plugin_and_distribution(site):
    with pytest.raises(PluginError, match=r"fake-good 1\.0.*KeyError.*lost"):
        build(offered(site, "fake_impl:fails"), {})


def test_a_target_that_refuses_is_taken_at_its_word(site):
    with pytest.raises(RequestError, match="does not fit"):
        build(offered(site, "fake_impl:refuses"), {})


def test_parameters_are_checked_before_the_target_is_imported(site):
    with pytest.raises(ParameterError, match=r"fake-good.*slope=-1"):
        build(offered(site, "fake_impl:fails"), {"slope": -1})
    assert "fake_impl" not in sys.modules


NET = '''
from dataclasses import dataclass

class Net:
    """A net of my own."""

    def __init__(self, width=8, *, depth=1):
        self.width, self.depth = width, depth

def needs(width):
    return width

class L0:
    @dataclass(frozen=True)
    class Params:
        strength: float = 1.0

    def penalty(self, step, weights, outputs):
        return 0

    def after_step(self, step, params):
        return params, step.state

value = 3
'''


@pytest.fixture
def net(tmp_path, monkeypatch):
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return load_registry()


def test_a_users_own_model_takes_its_parameters_as_keywords(net, tmp_path):
    spec = ComponentSpec.parse("./net.py:Net:width=64,depth=2")
    found = net.find("model", spec)
    assert (found.name, found.is_user_code, found.component.summary) == ("Net", True, "A net of my own.")
    assert (found.location, found.provenance) == (str(tmp_path), "./net.py:Net")
    built = build(found, spec.values, "context")
    assert (built.width, built.depth) == (64, 2)


def test_a_users_own_model_refuses_parameters_that_it_does_not_take(net):
    with pytest.raises(ParameterError, match=r"widht is unknown. Did you mean width"):
        build(net.find("model", "./net.py:Net"), {"widht": 3})
    with pytest.raises(ParameterError, match="width must be given"):
        build(net.find("model", "./net.py:needs"), {})


def test_the_users_own_code_is_spelled_as_it_was_written(net):
    assert net.spelling(net.find("model", "./net.py:Net")) == "./net.py:Net"


def test_a_users_own_regularizer_gets_a_descriptor(net):
    found = net.find("regularizer", "./net.py:L0")
    assert found.component.params.__name__ == "Params"


def test_a_users_own_regularizer_is_built_from_its_parameters(net):
    with pytest.raises(ParameterError, match="strenth is unknown"):
        build(net.find("regularizer", "./net.py:L0"), {"strenth": 3})


def test_parameters_of_the_users_own_that_are_no_dataclass_are_refused(net, tmp_path):
    (tmp_path / "bad.py").write_text("class L0:\n    class Params: strength = 1")
    with pytest.raises(RequestError, match="Params is not a dataclass"):
        net.find("regularizer", "./bad.py:L0")


def test_a_users_own_value_that_cannot_be_called_is_refused(net):
    with pytest.raises(RequestError, match="is of type int"):
        net.find("model", "./net.py:value")

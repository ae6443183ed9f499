"""`regplug plugins check`: what it is given, what it says, and that regplug itself passes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fake_plugins import HEADER, OFFERS
from made_images import write_images, write_own_files
from saved_datasets import write_saved

from regplug.testing import check_dataset

pytest_plugins = ["installed_plugins"]

LIGHT = "from torch import nn\ndef make(params):\n    return nn.Identity()\n"
WANTS = (
    HEADER
    + """
from regplug.api import Needed

@dataclass(frozen=True)
class Params:
    low: Annotated[float, Needed("-1")] = 0.0
    "Least value."
    high: Annotated[float, Needed("1")] = 0.0
    "Greatest value."

@hookimpl
def regplug_activations():
    yield Activation(name="wants", target="fake_wants_impl:make", summary="A fake.", params=Params)
"""
)
WANTS_IMPL = """
from torch import nn

def make(params):
    if params.low >= params.high:
        raise ValueError("nothing between them")
    return nn.Hardtanh(params.low, params.high)
"""
AWAY = """
from regplug.api import Dataset, hookimpl

@hookimpl
def regplug_datasets():
    yield Dataset(name="away", target="fake_away_impl:away", summary="A fake.", task="classification")
"""
AWAY_IMPL = """
CALLS = []

def away(params, context):
    CALLS.append(1)
    raise ConnectionError("no route to host")
"""


@pytest.mark.full
def test_regplug_itself_passes_wholly_once_its_datasets_have_their_values(terminal, tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(write_images(tmp_path)))
    own = {**write_own_files(tmp_path), "huggingface": write_saved(tmp_path / "saved", monkeypatch)}
    values = [f"{name}:{','.join(map('='.join, given.items()))}" for name, given in own.items()]
    said = terminal("plugins", "check", "regplug", "--json", *(part for text in values for part in ("--with", text)))
    # Studies train on real images, in a test of their own.
    checks = [one for one in said.document["checks"] if not one["component"].startswith("study ")]
    # Its teacher is a finished run; it is checked with one in a test of its own.
    assert {one["component"] for one in checks if not one["made"]} == {"regularizer self_distillation"}
    assert [one for one in checks if one["outcome"] == "failed" and one["made"]] == []


def test_a_needed_value_that_is_not_given_is_told_once_with_what_to_give(installed, terminal):
    installed.install("fake-wants", {"fake_wants": WANTS, "fake_wants_impl": WANTS_IMPL}, entries={"w": "fake_wants"})
    said = terminal("plugins", "check", "fake-wants")
    assert said.code == 1
    assert said.out.count("could not be made") == 2  # the line and the summary
    assert "low and high must be given" in said.out
    assert "Add --with wants:low=-1,high=1, or in a test values={'wants': {'low': '-1', 'high': '1'}}." in said.out
    document = terminal("plugins", "check", "fake-wants", "--json").document
    assert not document["passed"]
    assert {one["check"] for one in document["checks"] if not one["made"]} > {
        "defaults_build",
        "acts_on_each_entry_alone",
    }
    assert "must be given" in terminal("plugins", "show", "wants").out
    assert "wants:low=-1,high=1" in terminal("plugins", "show", "wants").out


def test_values_are_given_as_everywhere(installed, terminal):
    installed.install("fake-wants", {"fake_wants": WANTS, "fake_wants_impl": WANTS_IMPL}, entries={"w": "fake_wants"})
    for values in ("wants:low=-1,high=1", "fake-wants/wants:low=-1,high=1"):
        out = terminal("plugins", "check", "fake-wants", "--with", values).out
        assert "could not be made" not in out, out
        assert "must be given" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["csv:pth=x"], "Did you mean path?"),
        (["csv:validation=1"], "validation=1 is not allowed"),
        (["csvv:path=x"], "Did you mean csv?"),
        (["csv"], "--with name:param=value"),
        (["other/csv:path=x"], "--with name:param=value"),
        (["./net.py:Net:path=x"], "--with name:param=value"),
        (["csv@b:path=x"], "--with name:param=value"),
        (["csv:path=x", "csv:target=y"], "--with names csv twice"),
    ],
)
def test_values_that_cannot_be_used_are_refused_before_a_check_is_made(terminal, words, told):
    said = terminal("plugins", "check", "regplug", *(each for word in words for each in ("--with", word)))
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_data_that_are_away_are_asked_for_once_and_told_once(installed, terminal):
    import importlib

    installed.install("fake-away", {"fake_away": AWAY, "fake_away_impl": AWAY_IMPL}, entries={"a": "fake_away"})
    said = terminal("plugins", "check", "fake-away")
    assert said.code == 1
    assert "6 mandatory checks could not be made - the data cannot be read here" in said.out
    assert said.out.count("no route to host") == 1
    assert importlib.import_module("fake_away_impl").CALLS == [1]


def test_images_that_cannot_be_downloaded_say_where_to_put_them(tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(tmp_path))
    lines = check_dataset("mnist").lines()
    assert sum("could not be made" in line for line in lines) == 2
    assert any("Put the four idx files into" in line for line in lines)


def test_what_fails_every_check_alike_is_told_once(installed, terminal):
    installed.install("fake-lost", {"fake_lost": OFFERS.format(name="lost", module="fake_lost")})
    said = terminal("plugins", "check", "fake-lost")
    assert said.code == 1
    assert said.out.count("No module named 'fake_lost_impl'") <= 5, said.out
    assert re.search(r"defaults_build and \d+ more - building it", said.out), said.out
    failed = [one for one in terminal("plugins", "check", "fake-lost", "--json").document["checks"] if one["reason"]]
    assert len(failed) > 8


@pytest.mark.slow
def test_a_package_that_is_not_installed_is_checked_by_its_path(terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    terminal("plugins", "new", "my-nearby")
    said = terminal("plugins", "check", "my-nearby", "--plugin", "my-nearby/src/my_nearby")
    assert said.code == 0, said.out
    assert "my-nearby: " in said.out
    missing = terminal("plugins", "check", "my-nearby")
    assert missing.code == 2
    assert "--plugin PATH" in missing.err


def test_check_fails_where_another_part_of_the_plugin_is_refused(installed, terminal):
    broken = OFFERS.format(name="whole", module="fake_half") + "    yield 3\n"
    installed.install("fake-half", {"fake_half": broken, "fake_half_impl": LIGHT}, entries={"fake_half": "fake_half"})
    document = terminal("plugins", "check", "fake-half", "--json").document
    assert [one["check"] for one in document["checks"] if one["outcome"] == "failed"] == ["plugin_is_whole"]


def test_why_nothing_of_a_distribution_can_be_checked_is_told(installed, terminal):
    installed.install("fake-broken", {"fake_broken": "raise RuntimeError('mine')"})
    assert "RuntimeError: mine" in terminal("plugins", "check", "fake-broken").err
    assert "It is disabled." in terminal("plugins", "check", "fake-broken", "--disable", "fake-broken").err


def test_check_fails_for_a_distribution_whose_component_breaks_its_contract(installed, terminal):
    installed.install(
        "fake-lies",
        {
            "fake_lies": OFFERS.format(name="lies", module="fake_lies"),
            "fake_lies_impl": "from torch import nn\ndef make(params):\n    return nn.Softmax(dim=1)\n",
        },
        entries={"fake_lies": "fake_lies"},
    )
    said = terminal("plugins", "check", "fake-lies", "--json")
    assert said.code == 1
    assert not said.document["passed"]
    assert [one for one in said.document["checks"] if one["outcome"] == "failed"]
    assert terminal("plugins", "check", "fake-lies").code == 1


def test_check_of_a_distribution_that_is_not_installed_is_a_wrong_request(terminal):
    assert terminal("plugins", "check", "no-such-distribution").code == 2


REG = (
    HEADER
    + """
@hookimpl
def regplug_regularizers():
    yield Regularizer(name="shy", target="fake_shy_impl:Shy", summary="A fake.")
"""
)
REG_IMPL = """
from regplug.regularizer import RegularizerFunctions

class Shy(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return outputs.logits[:, :3].square().mean() + 1 / (outputs.logits.shape[1] != 10)
"""


@pytest.mark.slow
def test_regularizers_are_checked_on_a_model_of_ones_own(installed, terminal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = "from torch import nn\nclass Net(nn.Sequential):\n    def __init__(self):\n"
    Path("net.py").write_text(net + "        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n")
    installed.install("fake-shy", {"fake_shy": REG, "fake_shy_impl": REG_IMPL}, entries={"s": "fake_shy"})
    assert terminal("plugins", "check", "fake-shy").code == 0
    said = terminal("plugins", "check", "fake-shy", "--model", "./net.py:Net")
    assert said.code == 1
    assert "division by zero" in said.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--model", "mpl"], "Did you mean mlp?"),
        (["--model", "mlp", "--model", "mlp"], "--model names mlp twice"),
        (["--model", "mlp", "--dataset", "digitz"], "Did you mean digits?"),
        (["--dataset", "digits"], "there is no --model"),
    ],
)
def test_a_model_that_cannot_be_used_is_refused_before_a_check_is_made(terminal, words, told):
    said = terminal("plugins", "check", "regplug", *words)
    assert (said.code, said.out) == (2, "")
    assert told in said.err

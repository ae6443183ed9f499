"""An exception in a component's own code is told with component, distribution, file and line, wherever it is called."""

from __future__ import annotations

import textwrap

import pytest
import torch
from fake_plugins import HEADER, Site
from runs import QUICK
from trainings import toy

import regplug
from regplug.errors import ComponentError, ModelError, PluginError, RegplugError
from regplug.registry import default_registry
from regplug.registry.faults import find_fault, is_fault, message_of, plugin_error

pytest_plugins = ["installed_plugins"]

OFFERS = (
    HEADER
    + """
@hookimpl
def regplug_{kind}s():
    yield {cls}(name="broken", target="fake_{kind}_impl:{target}", summary="Breaks.", {more})
"""
)
KINDS = {
    "regularizer": ("Regularizer", "Broken", "", "reg"),
    "model": ("Model", "make", "", "model"),
    "dataset": ("Dataset", "read", 'task="classification"', "dataset"),
    "initializer": ("Initializer", "fill", "", "init"),
    "activation": ("Activation", "Broken", "", "activation"),
    "probe": ("Probe", "Broken", "", "probe"),
}
"""Kind -> descriptor class, target, further fields, and the field of the configuration that names it."""

REGULARIZER = """
from regplug.regularizer import RegularizerFunctions

class Broken(RegularizerFunctions):
    def {function}(self, *args, **kwargs):
        {body}  # here
"""
NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, context):
        super().__init__()
        self.layer = nn.LazyLinear(context.task.num_outputs)
        self.layer(torch.zeros(1, *context.input_shape).flatten(1))

    def forward(self, x):
        if self.training and torch.is_grad_enabled():
            {body}  # here
        return self.layer(x.flatten(1))

def make(params, context):
    return Net(context)
"""
ACTIVATION = """
from torch import nn

class Broken(nn.Module):
    def __init__(self, params):
        super().__init__()

    def forward(self, x):
        if self.training:
            {body}  # here
        return x
"""
PROBE = """
from regplug.probes import Probe

class Broken(Probe):
    def __init__(self, params):
        pass

    def measure(self, view):
        {body}  # here
"""
FUNCTION = """
def {name}(*args):
    {body}  # here
"""
LATE = {
    "a penalty": ("regularizer", REGULARIZER.replace("{function}", "penalty")),
    "the noise that is asked for": ("regularizer", REGULARIZER.replace("{function}", "noise")),
    "a restructuring": ("regularizer", REGULARIZER.replace("{function}", "restructure")),
    "a network in training": ("model", NETWORK),
    "an activation": ("activation", ACTIVATION),
    "a measurement": ("probe", PROBE),
}
BUILDING = {
    "a model": ("model", FUNCTION.replace("{name}", "make")),
    "a dataset": ("dataset", FUNCTION.replace("{name}", "read")),
    "an initializer": ("initializer", FUNCTION.replace("{name}", "fill")),
}

BROKEN = (PluginError, ComponentError)
"""Before the run is tracked, and after that."""


def install(site: Site, kind: str, source: str, body: str) -> int:
    """Installs a plugin that breaks, and returns the number of the line that does."""
    cls, target, more, _ = KINDS[kind]
    code = textwrap.dedent(source.replace("{body}", body))
    site.install(
        f"fake-{kind}",
        {
            f"fake_{kind}": OFFERS.format(kind=kind, cls=cls, target=target, more=more),
            f"fake_{kind}_impl": code,
        },
        entries={"mine": f"fake_{kind}"},
    )
    return 1 + next(at for at, line in enumerate(code.splitlines()) if line.endswith("# here"))


def field_of(kind: str) -> dict[str, object]:
    name = KINDS[kind][3]
    return {name: ["broken"] if name in ("reg", "probe") else "broken"}


def require_named(error: RegplugError, site: Site, kind: str, line: int, original: str) -> None:
    """The message has component, plugin, distribution, file, line and the original words."""
    for words in (
        f"The {kind} broken",
        "plugin 'mine' of distribution fake-" + kind,
        f"{site.folder}/fake_{kind}_impl.py, line {line}",
        original,
    ):
        assert words in error.message
    assert "\n" not in error.message


@pytest.mark.parametrize("what", LATE)
def test_what_raises_in_a_run_is_named_by_file_and_line(installed, place, what):
    kind, source = LATE[what]
    line = install(installed, kind, source, "raise KeyError('params')")
    with pytest.raises(BROKEN) as caught:
        place.run(**field_of(kind))
    require_named(caught.value, installed, kind, line, "raised KeyError")
    assert "raise KeyError('params')" in caught.value.hint
    assert caught.value.exit_code == (1 if place.statuses() else 2)


@pytest.mark.parametrize("what", BUILDING)
@pytest.mark.parametrize(
    ("body", "words"),
    [("raise ValueError('no luck')", "raised ValueError"), ("import sys; sys.exit(3)", "called sys.exit")],
)
def test_what_raises_while_it_is_built_is_named_by_file_and_line(installed, place, what, body, words):
    kind, source = BUILDING[what]
    line = install(installed, kind, source, body)
    with pytest.raises(PluginError) as caught:
        place.run(**field_of(kind))
    require_named(caught.value, installed, kind, line, f"{words} when it was built")
    assert caught.value.exit_code == 2
    assert place.statuses() == []


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import sys; sys.exit(3)", "called sys.exit"),
        ("raise type('Stop', (KeyboardInterrupt,), {})('enough')", "raised Stop"),
        ("return x @ x", "raised RuntimeError"),
    ],
)
def test_a_network_can_neither_end_the_process_nor_pass_for_ctrl_c(installed, place, body, words):
    line = install(installed, "model", NETWORK, body)
    with pytest.raises(ComponentError) as caught:
        place.run(model="broken")
    require_named(caught.value, installed, "model", line, words)
    assert caught.value.exit_code == 1
    run = place.only_run()
    assert run.status == "FAILED"
    assert "fake_model_impl.py" in run.tags["regplug.error"]


def test_ctrl_c_in_a_component_is_ctrl_c(installed, place):
    install(installed, "model", NETWORK, "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        place.run(model="broken")
    assert place.statuses() == ["KILLED"]


def test_the_command_line_tells_it_in_two_lines_and_the_traceback_where_it_is_asked_for(
    installed, place, terminal, monkeypatch
):
    line = install(installed, "model", NETWORK, "return self.nothing")
    command = ["run", "--model", "broken", "--epochs", 1, "--no-export"]
    said = terminal(*command)
    assert said.code == 1
    message, reads, hint = said.err.splitlines()[-3:]
    assert message.startswith(
        "error: The model broken (plugin 'mine' of distribution fake-model 1.0) raised AttributeEr"
    )
    assert f"fake_model_impl.py, line {line}: 'Net' object has no attribute 'nothing'" in message
    assert reads.startswith("That line reads: return self.nothing")
    assert hint == "--debug shows the whole traceback."
    assert "Traceback" not in said.err
    assert "Traceback" in terminal(*command, "--debug").err
    assert "Traceback" in terminal("--debug", *command).err
    monkeypatch.setenv("REGPLUG_STRICT", "1")
    said = terminal(*command, "--json")
    assert (said.code, said.document["error"]["type"]) == (1, "ComponentError")
    assert "in forward" in said.err


def test_a_study_names_the_component_in_each_failed_run(installed, place):
    line = install(installed, "regularizer", REGULARIZER.replace("{function}", "penalty"), "raise OSError('no disk')")
    fields = {**QUICK, "epochs": 1}
    result = regplug.sweep(grid=["reg=none,broken"], dataset=toy(), **fields)
    (failed,) = result.failed
    assert f"fake_regularizer_impl.py, line {line}: no disk" in failed.error
    assert failed.error.startswith("The regularizer broken (plugin 'mine'")


@pytest.mark.parametrize("leaves", ["sys.exit(3)", "exit()", "raise Stop"])
def test_a_model_of_ones_own_that_ends_the_process_is_told_with_the_line(place, terminal, leaves):
    (place.folder / "net.py").write_text(
        "import sys\nfrom torch import nn\nclass Stop(KeyboardInterrupt): ...\nclass Net(nn.Module):\n"
        f"    def __init__(self):\n        {leaves}\n"
    )
    for command in ("run", "plan"):
        said = terminal(command, "--model", "./net.py:Net")
        assert said.code == 2
        assert said.err.startswith("error: The model Net (./net.py:Net) ")
        assert f"when it was built ({place.folder}/net.py, line 6)" in said.err
    assert place.statuses() == []


def test_a_helper_beside_the_component_is_told_with_the_component(installed, place):
    install(installed, "probe", PROBE, "from fake_probe_help import count; return count(view)")
    installed.write({"fake_probe_help": "def count(view):\n    return {}['weights']"})
    with pytest.raises(PluginError, match=r"The probe broken .* raised KeyError in .*fake_probe_help\.py, line 2"):
        place.run(probe=["broken"])


def test_a_plugin_in_site_packages_is_no_library(tmp_path, monkeypatch, place):
    default_registry.cache_clear()
    site = Site(tmp_path / "site-packages", monkeypatch)
    line = install(site, "probe", PROBE, "raise OSError")
    with pytest.raises(PluginError) as caught:
        place.run(probe=["broken"])
    require_named(caught.value, site, "probe", line, "raised OSError")
    default_registry.cache_clear()
    site.forget()


def test_ones_own_file_is_named_as_it_was_typed(place):
    (place.folder / "net.py").write_text(
        "from torch import nn\nfrom beside import fail\nclass Net(nn.Linear):\n    def __init__(self):\n"
        "        super().__init__(8, 3)\n    def forward(self, x):\n"
        "        return fail(x) if self.training else super().forward(x)\n"
    )
    (place.folder / "beside.py").write_text("def fail(x):\n    return x.view(-1, 7, 7, 7)\n")
    with pytest.raises(
        ComponentError, match=r"Your model \./net\.py:Net raised RuntimeError in .*beside\.py, line 2: "
    ):
        place.run(model="./net.py:Net")


def test_what_an_object_of_the_callers_own_raises_is_the_callers_to_catch(place):
    class Net(torch.nn.Linear):
        def forward(self, x):
            return self.nothing if self.training and torch.is_grad_enabled() else super().forward(x)

    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'") as caught:
        place.run(model=Net(8, 3))
    assert "Your own code raised AttributeError in " in message_of(caught.value)
    assert "test_faults.py, line " in message_of(caught.value)


def test_a_model_that_refuses_the_shape_is_told_with_the_line(installed, place):
    install(installed, "model", NETWORK.replace("x.flatten(1)", "x.view(-1, 5)"), "pass")
    with pytest.raises(ModelError, match=r"The model broken cannot take inputs .*fake_model_impl\.py, line \d+: "):
        place.run(model="broken")


def test_code_above_the_host_is_not_to_blame():
    def call():
        raise ValueError("no number")

    with pytest.raises(ValueError, match="no number") as caught:
        call()
    assert plugin_error(caught.value) is None


def test_the_hosts_own_fault_is_not_blamed_on_anybody(place, monkeypatch):
    monkeypatch.setattr("regplug.runs.runner.curves_png", None)
    with pytest.raises(TypeError) as caught:
        place.run(reg=["l2"])
    assert find_fault(caught.value) is None


def test_interrupts_of_the_host_are_none():
    assert not is_fault(KeyboardInterrupt())
    assert is_fault(SystemExit(3))
    assert is_fault(type("Own", (KeyboardInterrupt,), {})())
    assert not is_fault(GeneratorExit())

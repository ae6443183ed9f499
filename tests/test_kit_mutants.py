"""The kit against deliberate bugs, all of which it must catch, and against what is right, which it must let pass."""

from __future__ import annotations

import kit_honest
import kit_honest_contract
import kit_honest_schedules
import kit_honest_training
import kit_mutants_contract
import kit_mutants_kinds
import kit_mutants_layers
import kit_mutants_models
import kit_mutants_networks
import kit_mutants_objective
import kit_mutants_phases
import kit_mutants_state
import kit_mutants_training
import pytest
from kit_mutants import PLANTED
from made_images import write_images, write_own_files
from saved_datasets import write_saved

from regplug.registry import default_registry
from regplug.testing import check_component
from regplug.testing.running import Bound
from regplug.testing.selection import checks_of
from regplug.testing.subject import find_subject

pytest_plugins = ["regplug.testing.fixtures"]

MODULES = (
    kit_mutants_contract,
    kit_mutants_layers,
    kit_mutants_state,
    kit_mutants_objective,
    kit_mutants_phases,
    kit_mutants_models,
    kit_mutants_networks,
    kit_mutants_kinds,
    kit_mutants_training,
    kit_honest,
    kit_honest_contract,
    kit_honest_training,
)
"""Importing them plants the bugs."""

DESCRIPTOR = """
from regplug.api import Activation, hookimpl
{head}

@hookimpl
def regplug_activations():
    {body}
    yield Activation(name="{name}", target="regplug_planted_impl:make", summary="A planted bug.")
"""
IN_THE_DESCRIPTOR = (
    ("imports_torch", "descriptor_imports_nothing_heavy", "import torch", "pass"),
    ("imports_numpy_through_another", "descriptor_imports_nothing_heavy", "import regplug_planted_impl", "pass"),
    ("offers_what_is_none", "plugin_is_whole", "", "yield 3"),
    ("another_at_each_call", "hook_is_idempotent", "CALLS = []", "CALLS.append(1); assert len(CALLS) < 3"),
)
"""Name, check, what stands at the head of the module, and what its hook does first."""

IMPLEMENTATION = "import numpy\ndef make(params):\n    from torch import nn\n    return nn.Tanh()\n"


def caught(subject, check):
    """The result of the check that a bug was planted for."""
    checks = {one.__name__: one for one in checks_of(subject)}
    return Bound(checks[check], subject).result()


@pytest.mark.slow
def test_every_planted_bug_is_caught_by_the_check_that_is_made_for_it(tell, make_plugin, host):
    missed = []
    for planted in PLANTED:
        subject = find_subject(planted.descriptor.kind, planted.descriptor, planted.values)
        if caught(subject, planted.check).outcome != "failed":
            missed.append(f"{planted}: {planted.check}")
    for name, check, head, body in IN_THE_DESCRIPTOR:
        modules = {f"planted_{name}": DESCRIPTOR.format(name=name, head=head, body=body)}
        make_plugin(f"planted-{name}", {**modules, "regplug_planted_impl": IMPLEMENTATION})
        subject = find_subject("activation", name, {}, host.registry())
        if caught(subject, check).outcome != "failed":
            missed.append(f"{name}: {check}")
    number = len(PLANTED) + len(IN_THE_DESCRIPTOR)
    tell(f"conformance kit: bugs caught {number - len(missed)} / {number}")
    assert number >= 40
    assert missed == []


def groups():
    """Components that are right; first-party regularizers and studies have tests of their own."""
    with_tests = ("regularizer", "study")
    shipped = [
        one for one in default_registry().components() if one.origin.is_first_party and one.kind not in with_tests
    ]
    honest = [*kit_honest.HONEST, *kit_honest_schedules.HONEST]
    # In turn, so that there are some of every kind in each part.
    return {
        "a quarter of the first-party components": shipped[::4],
        "a quarter of the components of the test": honest[::4],
        "the other first-party components": [one for at, one in enumerate(shipped) if at % 4],
        "the other components of the test": [one for at, one in enumerate(honest) if at % 4],
    }


def when(group):
    """A sample is tried with the slow tests, the others with the exhaustive ones."""
    return pytest.param(group, marks=pytest.mark.full if "other" in group else pytest.mark.slow)


@pytest.mark.parametrize("group", [when(group) for group in groups()])
def test_nothing_that_is_right_raises_an_alarm(group, tell, tmp_path, monkeypatch):
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(write_images(tmp_path)))
    components, alarms = groups()[group], []
    given = {**write_own_files(tmp_path), "huggingface": write_saved(tmp_path / "saved", monkeypatch)}
    seconds, wrong = 0.0, 0
    for one in components:
        report = check_component(one.kind, one, values=given.get(one.name, {}))
        seconds += sum(result.seconds for result in report.results)
        if not report.passed:
            wrong += 1
            alarms += map(str, report.failures)
    tell(f"conformance kit: false alarms {wrong} / {len(components)} {group}, {seconds:.0f} s")
    assert alarms == []

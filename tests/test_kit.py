"""The conformance kit itself: what it reports, what it refuses, and how a plugin's tests use it."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from kit_honest import HONEST
from kit_honest_contract import PullsItsOwnParameter, Remembers
from kit_mutants import PLANTED
from kit_mutants_objective import PenalisesBiases, StrengthAsANumber

import regplug.testing
from regplug.api import KINDS
from regplug.errors import RequestError, UnknownComponentError
from regplug.registry import default_registry
from regplug.testing import (
    LEVEL,
    CheckFailed,
    KitReport,
    NotApplicable,
    check_activation,
    check_dataset,
    check_distribution,
    check_regularizer,
    checks_for,
    conformance,
)
from regplug.testing.checking import CouldNotRun
from regplug.testing.checks import objective, settings
from regplug.testing.running import Bound, check_subject
from regplug.testing.subject import find_subject

pytestmark = pytest.mark.slow

pytest_plugins = ["regplug.testing.fixtures"]

PARAMS = """
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from regplug.api import Regularizer, Stackable, hookimpl

@dataclass(frozen=True)
class Params:
    strength: Annotated[float, Ge(0), Stackable(off=0)] = 0.1
    "Of the penalty."

"""
PLUGIN = (
    PARAMS
    + """
@hookimpl
def regplug_regularizers():
    yield Regularizer(name="mine", target="my_impl:Mine", params=Params, summary="A penalty.")
"""
)
RIGHT = """
from regplug.regularizer import RegularizerFunctions

class Mine(RegularizerFunctions):
    def penalty(self, step, weights, outputs):
        return step.settings["strength"] * sum(w.square().sum() for w in step.select(weights).values())
"""
WRONG = RIGHT.replace("step.select(weights)", "weights")


def planted(bug):
    return next(one for one in PLANTED if one.descriptor.target.endswith(f":{bug.__name__}")).descriptor


def test_a_first_party_penalty_passes_every_check_and_the_skipped_ones_have_a_reason():
    report = check_regularizer("l2")
    assert report.passed, report.lines()
    assert report.counts["passed"] > 20
    assert all(result.reason for result in report.results if result.outcome == "skipped")
    assert report.outcome("penalty_is_linear_in_strength") == "passed"


def test_a_report_tells_how_many_checks_ran_failed_and_were_skipped_and_why():
    report = check_activation("relu")
    ran = report.counts["passed"]
    assert any(f"{ran} checks ran, 0 failed, {report.counts['skipped']} skipped" in line for line in report.lines())
    assert any("no parameter has a bound" in line for line in report.lines())
    document = json.loads(json.dumps(report.document()))
    assert document["passed"] is True
    assert document["level"] == LEVEL == 1
    assert len(document["checks"]) == len(report.results)


def test_a_descriptor_that_is_handed_over_is_checked_like_an_installed_one():
    report = check_regularizer(planted(PenalisesBiases))
    assert not report.passed
    assert [result.check for result in report.failures] == ["biases_and_norms_are_spared"]


def test_an_expected_failure_passes_and_one_that_passes_fails():
    spared = {"biases_and_norms_are_spared": "it means to"}
    assert check_regularizer(planted(PenalisesBiases), expected_failures=spared).passed
    report = check_activation("relu", expected_failures={"range_is_true": "it is known"})
    assert [result.check for result in report.failures] == ["range_is_true"]


def test_an_expected_failure_of_a_distribution_names_component_and_check(make_plugin, host):
    make_plugin("my-regs", {"my_regs": PLUGIN, "my_impl": WRONG})
    expected = {"mine.biases_and_norms_are_spared": "meant"}
    bound = conformance("my-regs", registry=host.registry(), expected_failures=expected)
    spared = next(one for one in bound if str(one).endswith("biases_and_norms_are_spared"))
    assert spared.result().outcome == "expected_failure"
    with pytest.raises(NotApplicable):
        spared()


def test_an_expected_failure_of_a_check_that_does_not_exist_is_refused():
    with pytest.raises(RequestError) as caught:
        check_regularizer("l2", expected_failures={"biases_and_norms_are_spard": "a slip"})
    assert "biases_and_norms_are_spared" in caught.value.hint


@pytest.mark.parametrize("level", [0, 2])
def test_a_level_that_this_host_does_not_know_is_refused(level):
    with pytest.raises(RequestError):
        check_regularizer("l2", level=level)


def test_a_mandatory_check_that_cannot_be_made_is_a_failure():
    report = check_dataset("csv")
    assert not report.passed
    assert report.outcome("splits_are_disjoint") == "failed"


def test_what_a_check_says_becomes_its_outcome():
    subject = find_subject("regularizer", "none", {})

    def outcome(error, expected=""):
        def check(subject):
            if error is not None:
                raise error

        return Bound(check, subject, expected).result().outcome

    assert outcome(None) == "passed"
    assert outcome(CheckFailed("no")) == "failed"
    assert outcome(NotApplicable("not here")) == "skipped"
    assert outcome(CouldNotRun("no data")) == "failed"
    assert outcome(ZeroDivisionError()) == "failed"
    assert outcome(SystemExit(0)) == "failed"
    assert outcome(CheckFailed("no"), "known") == "expected_failure"
    assert outcome(None, "known") == "failed"
    assert outcome(NotApplicable("not here"), "known") == "failed"


def test_a_report_without_a_check_has_not_passed():
    assert not KitReport(subject="nothing", level=1, results=()).passed


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("study", "command", "observer")])
def test_every_check_has_a_name_and_says_what_it_protects_against(kind):
    checks = list(checks_for(kind))
    names = [check.__name__ for check in checks]
    assert len(set(names)) == len(names) > 10
    assert all(check.__doc__ and len(check.__doc__) > 30 for check in checks)


def test_there_are_no_checks_of_a_kind_that_does_not_exist():
    with pytest.raises(RequestError):
        list(checks_for("regulariser"))


def test_a_plugin_that_is_right_conforms_in_three_lines(make_plugin, host):
    make_plugin("my-regs", {"my_regs": PLUGIN, "my_impl": RIGHT})
    for check in conformance("my-regs", registry=host.registry()):
        try:
            check()
        except NotApplicable:
            continue
    assert host.problems("my-regs") == []


def test_a_plugin_that_is_wrong_is_told_component_and_check(make_plugin, host):
    make_plugin("my-regs", {"my_regs": PLUGIN, "my_impl": WRONG})
    report = host.check("my_regs")
    assert [(r.component, r.check) for r in report.failures] == [("regularizer mine", "biases_and_norms_are_spared")]
    with pytest.raises(AssertionError):
        report.raise_if_failed()


def test_a_descriptor_module_that_imports_torch_is_caught_in_a_process_of_its_own(make_plugin, host):
    make_plugin("my-regs", {"my_regs": "import torch\n" + PLUGIN, "my_impl": RIGHT})
    assert host.check("my-regs").outcome("descriptor_imports_nothing_heavy") == "failed"


def test_the_checks_of_a_distribution_are_skips_and_passes_under_pytest(make_plugin, tmp_path):
    folder = make_plugin("my-regs", {"my_regs": PLUGIN, "my_impl": WRONG})
    (tmp_path / "test_mine.py").write_text(
        "import pytest\nfrom regplug.testing import conformance\n"
        '@pytest.mark.parametrize("check", conformance("my-regs"), ids=str)\n'
        "def test_conformance(check): check()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n0", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "test_conformance[regularizer-mine: biases_and_norms_are_spared]" in done.stdout
    assert "skipped" in done.stdout


def test_a_users_own_class_in_a_file_is_checked_by_its_path(tmp_path):
    code = WRONG.replace("class Mine", PARAMS + "class Mine").replace(
        "def penalty", "Params = Params\n\n    def penalty"
    )
    (tmp_path / "mine.py").write_text(code)
    report = check_regularizer(f"{tmp_path}/mine.py:Mine")
    assert [result.check for result in report.failures] == ["biases_and_norms_are_spared"]


@pytest.mark.parametrize(
    ("functions", "check"),
    [(Remembers, objective.penalties_add_up), (PullsItsOwnParameter, objective.penalty_has_a_gradient)],
)
def test_a_penalty_that_needs_restructure_or_is_zero_at_the_start_passes(functions, check):
    (descriptor,) = (one for one in HONEST if one.target.endswith(f":{functions.__name__}"))
    result = Bound(check, find_subject("regularizer", descriptor, {})).result()
    assert result.outcome == "passed", result


def test_a_distribution_a_component_or_a_check_that_does_not_exist_is_refused_with_a_near_name():
    with pytest.raises(RequestError) as caught:
        check_distribution("regplugg")
    assert "regplug" in caught.value.hint
    with pytest.raises(RequestError):
        conformance("regplug", values={"csvv": {}})
    with pytest.raises(RequestError):
        conformance("regplug", expected_failures={"l2.no_such_check": "why"})
    with pytest.raises(UnknownComponentError):
        check_regularizer("l22")


def test_a_tag_in_another_spelling_is_told():
    component = default_registry().find("regularizer", "dropout").component
    report = check_regularizer(dataclasses.replace(component, name="mine", tags=("stochastic", "keeps_mean")))
    (failure,) = report.failures
    assert failure.check == "tags_are_spelt_as_the_kit_reads_them"
    assert "keeps-mean" in failure.reason


def test_the_kit_uses_public_parts_of_the_host_alone():
    private = []
    for file in Path(regplug.testing.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and re.match("_[a-z]", node.attr) and node.attr != "_replace":
                private += [f"{file.name}:{node.lineno} {ast.unparse(node)}"] * (ast.unparse(node.value) != "self")
            if isinstance(node, ast.ImportFrom):
                private += [f"{file.name}: {one.name}" for one in node.names if one.name.startswith("_")]
    assert private == []


def test_the_kit_leaves_the_registry_and_the_generators_alone():
    from regplug.testing.generators import state_of_generators

    before, components = state_of_generators(), default_registry().components()
    check_subject(find_subject("regularizer", "input_noise", {}))
    assert state_of_generators() == before
    assert default_registry().components() == components


def test_a_line_is_found_in_a_folder_that_is_called_like_the_host():
    code = compile("raise ValueError", "/home/me/regplug/mine.py", "exec")
    with pytest.raises(ValueError) as caught:  # noqa: PT011  # only its place matters
        exec(code)  # noqa: S102  # our own
    assert settings._where(caught.value) == " at mine.py:1"


def test_a_setting_that_becomes_a_number_is_named_with_its_line():
    result = Bound(
        settings.no_setting_becomes_a_number, find_subject("regularizer", planted(StrengthAsANumber), {})
    ).result()
    assert result.outcome == "failed"
    assert "strength" in result.reason
    assert "kit_mutants_objective.py" in result.reason

"""The lab: how claims are judged, what a study leaves behind, and what is refused."""

from __future__ import annotations

import json
import math
import os
from importlib import import_module

import numpy as np
import pytest
from tracking_stores import copied_store

from regplug.api import Study
from regplug.errors import DataError, RequestError, UnknownComponentError
from regplug.lab import (
    Findings,
    Lab,
    bounded,
    curves,
    equal,
    exact,
    greater,
    histograms,
    mostly_greater,
    rate,
    series,
    spreads,
    within,
)
from regplug.lab.claims import allowed_outside, overall
from regplug.lab.page import write_chapter
from regplug.registry import default_registry
from regplug.registry.studies import find_study, installed_studies
from regplug.reports import plots
from regplug.reports.files import save_figures
from regplug.testing import check_component

pytest_plugins = ["installed_plugins"]

TEN = [1.0, 1.1, 0.9, 1.2, 0.8, 1.0, 1.1, 0.9, 1.05, 0.95]
SOURCE = {"source": "a test"}


def judged(claim):
    return claim.verdict


def test_ten_seeds_in_the_range_hold_and_one_outside_is_allowed():
    assert judged(within("a", "A.", TEN, 0.7, 1.3, **SOURCE)) == "HOLDS"
    assert judged(within("a", "A.", [*TEN[:9], 9.0], 0.7, 1.3, **SOURCE)) == "HOLDS"
    assert judged(within("a", "A.", [*TEN[:8], 9.0, 9.0], 0.7, 1.3, **SOURCE)) == "DOES NOT HOLD"
    assert judged(within("a", "A.", [*TEN[:8], math.nan, math.nan], 0.7, 1.3, **SOURCE)) == "DOES NOT HOLD"
    rounded = [*TEN[:8], 1.34, 1.34]
    assert judged(within("a", "A.", rounded, 0.7, 1.3, **SOURCE)) == "DOES NOT HOLD"
    assert judged(within("a", "A.", rounded, 0.7, 1.3, half_digit=0.05, **SOURCE)) == "HOLDS"


@pytest.mark.parametrize(("seeds", "allowed"), [(1, 1), (3, 1), (10, 1), (11, 2), (40, 3), (100, 4)])
def test_the_number_of_seeds_outside_is_that_of_a_binomial_test_at_the_level_of_ten_seeds(seeds, allowed):
    def at_least(count, n):
        return 1 - sum(math.comb(n, k) * 0.01**k * 0.99 ** (n - k) for k in range(count))

    level = at_least(2, 10)
    assert allowed_outside(seeds) == allowed
    assert at_least(allowed + 1, seeds) <= level * (1 + 1e-9)
    assert at_least(allowed, seeds) > level


def test_forty_seeds_allow_three_outside_and_not_a_tenth():
    inside = TEN * 4
    assert judged(within("a", "A.", [*inside[:37], 9.0, 9.0, 9.0], 0.7, 1.3, **SOURCE)) == "HOLDS"
    refuted = within("a", "A.", [*inside[:36], 9.0, 9.0, 9.0, 9.0], 0.7, 1.3, **SOURCE)
    assert refuted.verdict == "DOES NOT HOLD"
    assert "36 of 40 seeds" in refuted.why
    assert "3 may lie outside" in refuted.why


def test_a_mean_four_standard_errors_off_does_not_hold_although_every_seed_is_in_the_range():
    claim = within("a", "A.", TEN, 0.0, 9.0, mean=1.3, sd=0.2, **SOURCE)
    assert claim.verdict == "DOES NOT HOLD"
    assert "four standard errors 0.253" in claim.why
    assert judged(within("a", "A.", TEN, 0.0, 9.0, mean=1.2, sd=0.2, **SOURCE)) == "HOLDS"


def test_few_seeds_are_undecided_unless_they_are_clearly_out():
    assert judged(within("a", "A.", TEN[:3], 0.7, 1.3, **SOURCE)) == "UNDECIDED"
    assert judged(within("a", "A.", [1.0, 9.0, 1.0], 0.7, 1.3, **SOURCE)) == "UNDECIDED"
    assert judged(within("a", "A.", [1.0, 9.0, 9.0], 0.7, 1.3, **SOURCE)) == "DOES NOT HOLD"


def test_a_difference_is_judged_by_its_interval_over_pairs():
    higher = [value + 0.5 + 0.01 * at for at, value in enumerate(TEN)]
    assert judged(greater("a", "A.", higher, TEN, **SOURCE)) == "HOLDS"
    assert judged(greater("a", "A.", TEN, higher, **SOURCE)) == "DOES NOT HOLD"
    assert judged(greater("a", "A.", TEN, TEN[::-1], **SOURCE)) == "UNDECIDED"
    assert judged(greater("a", "A.", [2.0], [1.0], **SOURCE)) == "UNDECIDED"
    assert judged(equal("a", "A.", higher, TEN, 1, **SOURCE)) == "HOLDS"
    assert judged(equal("a", "A.", higher, TEN, 0.1, **SOURCE)) == "DOES NOT HOLD"
    assert judged(equal("a", "A.", higher, TEN, 0.545, **SOURCE)) == "UNDECIDED"


def test_most_seeds_decide_whatever_a_few_of_them_do():
    lower = [value - 0.1 for value in TEN]
    broken = [-1000.0, *TEN[1:]]
    assert judged(greater("a", "A.", broken, lower, **SOURCE)) == "UNDECIDED"
    assert judged(mostly_greater("a", "A.", broken, lower, **SOURCE)) == "HOLDS"
    assert judged(mostly_greater("a", "A.", [math.nan, *TEN[1:]], lower, **SOURCE)) == "HOLDS"
    assert judged(mostly_greater("a", "A.", lower, broken, **SOURCE)) == "DOES NOT HOLD"
    assert judged(mostly_greater("a", "A.", [-1000.0, -1000.0, *TEN[2:]], lower, **SOURCE)) == "UNDECIDED"
    assert judged(mostly_greater("a", "A.", TEN, TEN, **SOURCE)) == "UNDECIDED"
    claim = mostly_greater("a", "A.", broken, lower, **SOURCE)
    assert claim.figures == {"greater": 9, "less": 1, "n": 10, "p_value": pytest.approx(22 / 1024)}


def test_identities_bounds_and_rates_are_judged():
    assert judged(exact("a", "A.", np.eye(2), [[1, 0], [0, 1 + 1e-9]], 1e-8, **SOURCE)) == "HOLDS"
    assert judged(exact("a", "A.", math.nan, 0, 1, **SOURCE)) == "DOES NOT HOLD"
    assert judged(bounded("a", "A.", [4, 5], low=4, **SOURCE)) == "HOLDS"
    assert judged(bounded("a", "A.", [3, 5], low=4, **SOURCE)) == "DOES NOT HOLD"
    assert judged(rate("a", "A.", [True] * 8 + [False] * 2, 0.75, **SOURCE)) == "HOLDS"
    assert judged(rate("a", "A.", [False] * 10, 0.75, **SOURCE)) == "DOES NOT HOLD"
    assert judged(rate("a", "A.", [True] * 3, 0.75, **SOURCE)) == "UNDECIDED"


def test_a_reason_leaves_a_claim_undecided_and_is_told():
    claim = within("a", "A.", [9.0] * 10, 0, 1, undecided="one epoch instead of ten", **SOURCE)
    assert claim.verdict == "UNDECIDED"
    assert claim.why.endswith("not decided: one epoch instead of ten")


def test_a_study_is_as_sure_as_its_weakest_claim():
    holds, fails = bounded("a", "A.", [1], low=0, **SOURCE), bounded("b", "B.", [1], low=2, **SOURCE)
    open_ = within("c", "C.", [1.0], 0, 2, **SOURCE)
    assert [overall(claims) for claims in ([holds], [holds, open_], [open_, fails, holds], [])] == [
        "HOLDS", "UNDECIDED", "DOES NOT HOLD", "UNDECIDED",
    ]  # fmt: skip


@pytest.mark.slow
def test_every_kind_of_figure_is_drawn_as_png_and_svg(tmp_path, figures_are_drawn):
    lines = {"a": [[(1, 1.0), (2, 0.5)], [(1, 2.0), (2, 0.0)]], "b": [[(1, 3.0), (2, 0.1)]]}
    xs = np.linspace(0, 1, 600)
    made = [
        curves("curves", "T", "C.", {"loss | one": lines, "accuracy": lines}, log=True),
        series("layers", "T", "C.", [1, 2, 3], {"g": {"a": np.ones((4, 3))}}, x_name="layer", log_y=True),
        series("function", "T", "C.", xs, {"f": {"a": xs}}, x_name="x", dots=[plots.Dots(label="d", xs=[0], ys=[1])],
               levels=[("zero", 0)], y_limits=(-1, 1)),
        histograms("weights", "T", "C.", {"w": {"a": xs, "b": xs**2}}, log=True, limits=(0, 1)),
        spreads("spread", "T", "C.", {"a": [1, 2, math.nan], "a name that is rather long": [3]}, x_name="v",
                references={"a": (0, 3)}),
    ]  # fmt: skip
    files = save_figures(made, tmp_path, ("png", "svg"))
    assert len(files) == 10
    assert all(file.stat().st_size > 1000 for file in files)


def test_values_of_another_length_than_their_positions_are_refused():
    with pytest.raises(ValueError, match="a: 2 values for 3 positions"):
        series("s", "T", "C.", [1, 2, 3], {"y": {"a": [1, 2]}}, x_name="x")


# Studies of a plugin.

STUDY = """
from regplug.api import Study, hookimpl

@hookimpl
def regplug_studies():
    yield Study(name="two_nets", target="my_study_impl:study", summary="Two widths.", question="Which is better?",
                section="Tests", seconds=(1, 1), rows=("Z1",))
    yield Study(name="no_findings", target="my_study_impl:nothing", summary="None.", question="What?")
    yield Study(name="broken", target="my_study_impl:broken", summary="Breaks.", question="Why?")
    yield Study(name="misnamed", target="my_study_impl:misnamed", summary="Asks for a setting.", question="Why?")
    yield Study(name="refuted", target="my_study_impl:refuted", summary="Claims wrongly.", question="Why?")
    yield Study(name="twice", target="my_study_impl:twice", summary="Names a claim twice.", question="Why?")
"""
IMPL = """
from regplug.lab import Findings, bounded, curves

def study(lab):
    runs = lab.sweep(model="mlp", dataset="moons", grid=["model.hidden=[4],[8]"], epochs=2, keep_models=True)
    small = runs["model.hidden=[4]"]
    assert [model[1].out_features for model in small.models()] == [4] * lab.seeds, small.models()
    single = lab.run("one", model="mlp:hidden=[4]", dataset="moons", epochs=1)
    return Findings(
        claims=[bounded("alone", "One run.", [single.metrics["test/loss"]], low=0, source="a test"),
                bounded("finite", "All are finite.", runs.values("test/loss"), low=0, high=9, source="a test")],
        values={"loss/small": small.values("test/loss"), "one": single.metrics["test/loss"]},
        figures=[curves("learning", "Learning", "Both.", {"loss": {"all": runs.curves("test/loss")}})],
        text="It trains.",
    )

def nothing(lab):
    return None

def broken(lab):
    return 1 / 0

def refuted(lab):
    return Findings(claims=[bounded("a", "One is two.", [1], low=2, source="s")])

def misnamed(lab):
    return lab.sweep(model="linear", dataset="moons", epochs=0)["bse"]

def twice(lab):
    return Findings(claims=[bounded("a", "A.", [1], source="s"), bounded("a", "A.", [1], source="s")])
"""


@pytest.fixture
def plugged(installed, tmp_path, monkeypatch):
    """A folder with a store, and a plugin that ships studies."""
    place = tmp_path / "place"
    place.mkdir()
    copied_store(place)
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    installed.install("my-study", {"my_study": STUDY, "my_study_impl": IMPL}, entries={"my_study": "my_study"})
    default_registry.cache_clear()
    yield place
    default_registry.cache_clear()


@pytest.mark.slow
def test_a_plugins_study_is_listed_run_tracked_and_written(plugged, terminal):
    place = plugged
    listed = terminal("lab", "list", "--json").document["studies"]
    assert next(one for one in listed if one["name"] == "two-nets")["question"] == "Which is better?"
    said = terminal("lab", "run", "two-nets", "--quick", "--seeds", "2", "--json")
    assert said.code == 0, said.err
    told = said.document
    assert (told["verdict"], told["seeds"], told["quick"]) == ("HOLDS", 2, True)
    assert [claim["verdict"] for claim in told["claims"]] == ["HOLDS", "HOLDS"]
    assert told["values"]["loss/small"]["n"] == 2
    assert (len(told["runs"]), len(told["summary"]), len(told["sweeps"])) == (5, 2, 1)
    folder = place / "mlruns" / "lab" / "two-nets"
    assert sorted(file.name for file in folder.iterdir()) == [
        "findings.json", "learning.png", "learning.svg", "report.md",
    ]  # fmt: skip
    store = import_module("regplug.tracking").open_store(folder=place)
    info = store.find_run(told["study_id"])
    assert (info.experiment, info.tags["regplug.lab.verdict"]) == ("lab", "HOLDS")
    assert info.metrics["loss/small"] == pytest.approx(told["values"]["loss/small"]["mean"])
    assert "learning.png" in store.artifact_names(told["study_id"])
    assert store.find_run(told["sweeps"][0]).tags["regplug.lab"] == told["study_id"]
    page = place / "lab.md"
    assert write_chapter(place / "mlruns" / "lab", list(installed_studies()), page) == 1
    assert "![Learning](lab/two-nets-learning.png)" in page.read_text()
    assert (place / "lab" / "two-nets-learning.png").is_file()


def test_a_claim_that_does_not_hold_ends_with_1(plugged, terminal):
    said = terminal("lab", "run", "refuted", "--quick", "--seeds", "1")
    assert said.code == 1
    assert "DOES NOT HOLD  One is two." in said.out
    assert "DOES NOT HOLD: refuted (quick, 1 seed," in said.out


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("no-findings", "returned a NoneType"),
        ("broken", "ZeroDivisionError"),
        ("twice", "several claims named a"),
        ("misnamed", "Did you mean base?"),
    ],
)
def test_a_study_with_a_mistake_is_blamed_by_name(plugged, terminal, name, told):
    said = terminal("lab", "run", name, "--quick")
    assert said.code == 1
    assert f"The study {name}" in said.err
    assert told in said.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["weight-decy"], "Did you mean weight-decay"),
        ([], "Give the name of a study, or --all."),
        (["weight-decay", "--all"], "exclude each other"),
        (["weight-decay", "--seeds", "0"], "seeds=0"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_runs(place, terminal, words, told):
    said = terminal("lab", "run", *words)
    assert said.code == 2
    assert told in said.err


def test_first_party_studies_ask_questions_and_cover_their_rows():
    studies = [one.component for one in installed_studies().values()]
    assert all(isinstance(one, Study) and one.question.endswith("?") and one.section for one in studies)
    assert all(0 < quick <= full or quick <= 30 for one in studies for full, quick in [one.seconds])
    assert find_study("weight_decay").component.rows == ("A1", "A2", "A3", "A4")
    with pytest.raises(UnknownComponentError, match="no study nothing"):
        find_study("nothing")


def test_missing_data_name_the_variable_and_the_folder(monkeypatch, tmp_path):
    lab = Lab(study="s", quick=True, seeds=1)
    monkeypatch.delenv("REGPLUG_DATA_DIR", raising=False)
    with pytest.raises(DataError, match="REGPLUG_DATA_DIR is not set"):
        lab.data_folder("cifar2")
    monkeypatch.setenv("REGPLUG_DATA_DIR", str(tmp_path))
    with pytest.raises(DataError, match="cifar2 does not exist"):
        lab.data_folder("cifar2")
    (tmp_path / "cifar2").mkdir()
    assert lab.data_folder("cifar2") == tmp_path / "cifar2"


def test_a_folder_without_results_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no results of studies"):
        write_chapter(tmp_path, [], tmp_path / "lab.md")


def test_findings_summarise_numbers_and_seeds():
    (row, other) = Findings(claims=[], values={"a": 2.0, "b": [1.0, math.nan, 3.0]}).summary()
    assert (row["mean"], row["interval"]) == (2.0, None)
    assert (other["n"], other["finite"], other["mean"]) == (3, 2, 2.0)


@pytest.fixture(scope="module")
def quick_results(tmp_path_factory):
    """The first-party studies that take seconds, in quick mode."""
    folder = tmp_path_factory.mktemp("lab")
    copied_store(folder)
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    run = import_module("regplug.lab").run
    return {name: run(name, quick=True, tracking_uri=uri) for name in ("weight-decay", "dropout-scaling")}


@pytest.mark.slow
def test_quick_studies_refute_nothing(quick_results):
    for name, result in quick_results.items():
        assert result.verdict != "DOES NOT HOLD", (name, [claim.document() for claim in result.findings.claims])
        assert json.dumps(result.document())
    assert quick_results["dropout-scaling"].verdict == "HOLDS"
    assert quick_results["weight-decay"].verdict == "UNDECIDED"


@pytest.mark.full
@pytest.mark.skipif(not os.environ.get("REGPLUG_DATA_DIR"), reason="REGPLUG_DATA_DIR names no folder with images")
@pytest.mark.parametrize("name", sorted(installed_studies()))
def test_a_first_party_study_passes_the_kit(name):
    report = check_component("study", installed_studies()[name])
    assert report.passed, list(map(str, report.failures))

"""What a study says of settings that are the same, or too alike for its seeds; and which metrics its runs have."""

from __future__ import annotations

import numpy as np
import pytest
from study_runs import Place
from trainings import toy

import regplug
from regplug.errors import RequestError

LINE = {"model": "linear", "dataset": "linear_regression", "lr": 0.003, "batch_size": 5, "epochs": 3}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("verdicts") / "store")


def test_settings_that_are_the_same_but_for_their_name_are_told_identical(place):
    result = place.sweep(grid=["reg=l2@a:strength=0.01,l2@b:strength=0.01"], baseline="l2@a:strength=0.01", seeds=4)
    analysis = result.conclusion.analysis
    (comparison,) = analysis.comparisons
    assert comparison.outcome == "identical"
    assert "are identical on 4 seeds" in analysis.verdict
    assert "identical" in place.store.read_artifact(result.study_id, "report.html").read_text()


def test_none_and_a_little_dropout_on_few_seeds_have_no_detectable_difference(place):
    result = place.sweep(grid=["reg=none,dropout:drop_probability=0.02"], seeds=4, metric="valid/loss", epochs=4)
    analysis = result.conclusion.analysis
    (comparison,) = analysis.comparisons
    assert comparison.outcome == "tested"
    assert "No detectable difference between" in analysis.verdict
    assert "more seeds" not in analysis.verdict
    assert any("Four times as many seeds and test rows would halve it." in note for note in analysis.notes)


def test_the_runs_of_a_regression_have_the_metrics_of_a_single_run(place):
    result = place.sweep(**LINE, grid=["reg.l2.strength=0,3"], seeds=2, pair_seeds=True, name="line")
    alone = place.run(**LINE, reg=("l2:strength=3",), seed=1, data_seed=1)
    last = result.results[-1].metrics
    for name in ("test/mae", "test/rmse", "test/r2"):
        assert last[name] == pytest.approx(alone.metrics[name], rel=1e-4)
    assert last["valid/rmse"] == pytest.approx(np.sqrt(last["valid/loss"]), rel=1e-5)
    found = regplug.compare("line", metric="test/rmse", tracking_uri=place.uri)
    assert (found.analysis.metric, found.analysis.selected_by) == ("test/rmse", "valid/loss")


def test_the_runs_of_folds_each_are_measured_on_their_own_rows(place):
    result = place.cv(dataset=toy("regression"), model="linear", lr=0.05, grid=["lr=0.05,0.1"], folds=3)
    for each in result.results:
        # Three columns: the mean of their roots is at most the root of their mean, which is the loss.
        assert each.metrics["valid/rmse"] == pytest.approx(np.sqrt(each.metrics["valid/loss"]), rel=0.1)


def test_a_metric_that_a_studys_runs_do_not_have_is_told_with_those_they_have(place):
    place.sweep(seeds=2, epochs=1, name="classes")
    with pytest.raises(RequestError, match="test/rmse") as caught:
        regplug.compare("classes", metric="test/rmse", tracking_uri=place.uri)
    assert "test/accuracy" in caught.value.hint
    assert "valid/loss" in caught.value.hint

"""Comparing what is tracked: the same runs say the same as their study, and what cannot be ranked together is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cli_calls import terminal_in
from study_runs import Place
from test_studies_cv import write_table
from trainings import toy

import regplug
from regplug.data import RawData
from regplug.errors import RequestError
from regplug.runs.data_facts import SIZES_TAG
from regplug.tracking import ChildRun

pytestmark = pytest.mark.slow  # each test trains studies of its own

FAST = {"model": "linear", "epochs": 2, "lr": 0.05}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("comparing") / "store")


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Two files of other rows."""
    paths = [tmp_path_factory.mktemp("tables") / name for name in ("a.csv", "b.csv")]
    for rows, path in zip((120, 200), paths, strict=True):
        write_table(path, rows)
    return [f"csv:path={path},target=ill,group=patient" for path in paths]


@pytest.fixture
def terminal(capsys, monkeypatch, place):
    return terminal_in(place.folder, capsys, monkeypatch)


def figures(analysis):
    """What a comparison comes to, whatever its settings are called."""
    return [
        (c.n, c.p_value, c.p_holm, c.interval, c.wilcoxon_p) for c in analysis.comparisons
    ], analysis.units.variance_ratio


# The same runs say the same


@pytest.fixture(scope="module")
def parted(place):
    """Two settings over five splits of the same digits."""
    return place.sweep(
        **FAST, dataset="digits", grid=["reg=none,l2:strength=0.5"], data_seeds=5, experiment="parted", name="parted"
    )


def test_a_study_of_several_splits_is_corrected_by_the_rows_that_it_tests_and_trains_on(parted):
    _, ratio = figures(parted.conclusion.analysis)
    assert ratio == 359 / 1079


@pytest.mark.parametrize("name", ["parted", "the study's id"])
def test_comparing_an_experiment_or_a_study_gives_the_p_and_the_interval_of_the_study(place, parted, name):
    found = regplug.compare(parted.study_id if name != "parted" else name, tracking_uri=place.uri)
    assert figures(found.analysis) == figures(parted.conclusion.analysis)
    assert found.analysis.selected == parted.best


def test_two_studies_of_the_same_splits_give_what_one_study_of_both_settings_gives(place, parted):
    fields = {**FAST, "dataset": "digits", "data_seeds": 5, "experiment": "halves"}
    halves = [place.sweep(**fields, grid=[f"reg={reg}"], name=f"half {reg}") for reg in ("none", "l2:strength=0.5")]
    whole, ratio = figures(parted.conclusion.analysis)
    for names in (tuple(half.study_id for half in halves), ("halves",)):
        found = regplug.compare(*names, tracking_uri=place.uri)
        comparisons, told = figures(found.analysis)
        assert told == ratio
        assert [c[:2] for c in comparisons] == [(n, pytest.approx(p, rel=1e-3)) for n, p, *_ in whole]


def test_plain_runs_over_several_splits_are_corrected_as_well(place):
    for data_seed in range(2):
        for reg in ((), ("l2:strength=0.5",)):
            place.run(**FAST, dataset="digits", data_seed=data_seed, reg=reg, experiment="plain splits")
    found = regplug.compare("plain splits", tracking_uri=place.uri)
    assert figures(found.analysis)[1] == 359 / 1079
    assert "Nadeau and Bengio" in " ".join(found.analysis.notes)


def test_two_cross_validations_compared_keep_the_correction_of_their_folds(place):
    for reg in ("none", "l2:strength=0.5"):
        place.cv(**FAST, grid=[f"reg={reg}"], folds=4, refit=False, name=f"folds {reg}", experiment="two cvs")
    found = regplug.compare("two cvs", tracking_uri=place.uri)
    assert (found.analysis.units.kind, found.analysis.units.variance_ratio) == ("fold", 1 / 3)
    assert found.analysis.comparisons[0].n == 4


def test_settings_are_averaged_over_a_second_factor_within_each_seed(place):
    study = place.sweep(
        **{**FAST, "lr": 0.05}, grid=["reg=none,l2:strength=0.5", "lr=0.05,0.1"], seeds=3, name="two factors"
    )
    found = regplug.compare("two factors", by="reg", tracking_uri=place.uri)
    (comparison,) = found.analysis.comparisons
    assert (comparison.first, comparison.second, comparison.n) == ("l2", "none", 3)
    of = {(r.point.setting.values["reg"], r.point.config.lr, r.point.config.seed): r.metrics["test/accuracy"]
          for r in study.results}  # fmt: skip
    mean = {reg: [np.mean([of[reg, rate, seed] for rate in (0.05, 0.1)]) for seed in range(3)]
            for reg in ("none", "l2:strength=0.5")}  # fmt: skip
    difference = np.subtract(mean["l2:strength=0.5"], mean["none"])
    assert comparison.difference == pytest.approx(difference.mean(), abs=1e-7)
    assert "Averaged over lr within each seed and split." in found.parts[0].notes


# What cannot be ranked together


@pytest.fixture(scope="module")
def two_groups(place, tables):
    """Two settings on each of the files, in one experiment."""
    for table in tables:
        place.sweep(**FAST, dataset=table, grid=["reg=none,l2"], seeds=2)


def test_files_of_one_experiment_have_a_table_each_and_settings_rank_over_them(place, two_groups, terminal):
    found = regplug.compare("csv/linear", tracking_uri=place.uri)
    assert [len(part.runs) for part in found.parts] == [4, 4]
    assert {part.study.labels for part in found.parts} == {("none", "l2")}
    assert all(part.analysis.comparisons[0].n == 2 for part in found.parts)
    assert (found.ranks.over, found.ranks.n, set(found.ranks.mean_ranks)) == ("dataset", 2, {"none", "l2"})
    said = terminal("compare", "csv/linear")
    assert said.out.startswith("2 groups of runs that cannot be ranked together; each has its own table.")
    assert "Mean ranks over 2 datasets" in said.out
    assert said.out.count("a.csv") == said.out.count("b.csv") == 1
    page = (place.folder / "report-csv-linear.html").read_text()
    assert page.count('<section class="part">') == 2
    assert "Metrics on different datasets cannot be ranked together" in page


def test_the_document_of_several_groups_has_each_and_its_runs(place, two_groups, parted, terminal):
    document = terminal("compare", "csv/linear", "--json").document
    assert [len(group["summary"]) for group in document["groups"]] == [2, 2]
    assert {run["group"] for run in document["runs"]} == {group["name"] for group in document["groups"]}
    assert "summary" not in document
    assert document["ranks"]["n"] == 2
    alone = terminal("compare", "parted", "--json").document
    assert alone["groups"][0]["summary"] == alone["summary"]
    json.dumps(alone, allow_nan=False)


def test_several_groups_have_no_one_analysis_and_that_is_said(place, two_groups):
    found = regplug.compare("csv/linear", tracking_uri=place.uri)
    with pytest.raises(RequestError, match="2 groups of runs that are not ranked together: csv"):
        _ = found.analysis


def test_a_baseline_that_one_group_has_serves_there_and_one_that_none_has_is_refused(place, two_groups):
    found = regplug.compare("csv/linear", baseline="none", tracking_uri=place.uri)
    assert [part.analysis.reference for part in found.parts] == ["none", "none"]
    with pytest.raises(RequestError, match="'nonne' is not a setting"):
        regplug.compare("csv/linear", baseline="nonne", tracking_uri=place.uri)


@pytest.fixture(scope="module")
def losses(place):
    """Runs of two losses on one dataset."""
    fields = {**FAST, "lr": 0.01, "dataset": toy("regression"), "experiment": "losses"}
    for loss in ("mse", "huber"):
        for seed in range(2):
            place.run(**fields, loss=loss, seed=seed)
    return "losses"


def test_losses_are_compared_by_what_they_share(place, losses):
    found = regplug.compare(losses, tracking_uri=place.uri)
    assert found.analysis.metric == "test/rmse"
    assert set(found.study.labels) == {"loss=mse", "loss=huber"}


def test_a_loss_that_is_asked_for_is_compared_within_each_loss(place, losses, terminal):
    found = regplug.compare(losses, metric="test/loss", tracking_uri=place.uri)
    assert [len(part.runs) for part in found.parts] == [2, 2]
    assert found.ranks is None
    said = terminal("compare", losses, "--metric", "test/loss")
    assert "--metric test/rmse ranks them together." in said.out


def test_runs_on_folds_and_on_the_own_split_have_a_table_each(place):
    fields = {**FAST, "grid": ["reg=none,l2"], "experiment": "both kinds"}
    place.sweep(**fields, seeds=2)
    place.cv(**fields, folds=3, refit=False)
    found = regplug.compare("both kinds", tracking_uri=place.uri)
    told = {part.name: (part.analysis.metric, part.analysis.units.kind) for part in found.parts}
    assert set(told.values()) == {("test/accuracy", "seed"), ("valid/accuracy", "fold")}
    assert {name.partition(", ")[2] for name in told} == {"no folds", "3 folds"}
    assert found.ranks is None


def test_a_group_without_the_metric_is_left_out_and_named(place):
    for kind in ("classification", "regression"):
        place.run(**{**FAST, "lr": 0.01}, dataset=toy(kind), experiment="two tasks")
    assert len(regplug.compare("two tasks", tracking_uri=place.uri).parts) == 2
    found = regplug.compare("two tasks", metric="test/accuracy", tracking_uri=place.uri)
    assert len(found.parts) == 1
    assert any("'test/accuracy'" in note and "left out" in note for note in found.notes)
    with pytest.raises(RequestError, match="'test/nothing'"):
        regplug.compare("two tasks", metric="test/nothing", tracking_uri=place.uri)


def test_another_normalization_is_a_setting_and_no_other_dataset(place):
    for normalize in ("unit", "none"):
        place.run(**FAST, dataset=f"digits:normalize={normalize}", experiment="normalized")
    found = regplug.compare("normalized", tracking_uri=place.uri)
    assert set(found.study.labels) == {"dataset.normalize=unit", "dataset.normalize=none"}
    assert found.analysis.comparisons[0].n == 1


def test_runs_of_an_earlier_version_are_compared_with_a_word_on_their_data_seeds(place):
    parent = place.store.start_run(experiment="earlier", name="earlier", params={}, tags={})
    params = {"dataset": "digits", "loss": "mse", "seed": 0, "model": "linear"}
    children = [
        ChildRun(
            name="child",
            params={**params, "data_seed": seed, "lr": rate},
            metrics=[("test/accuracy", 0.8 + seed / 50 + rate / (3 + seed), 1, 1)],
            status="FINISHED",
        )
        for seed in range(3)
        for rate in (0.1, 0.2)
    ]
    list(place.store.log_children(parent.run_id, "earlier", children))
    parent.__exit__(None, None, None)
    found = regplug.compare("earlier", tracking_uri=place.uri)
    assert set(found.study.labels) == {"lr=0.1", "lr=0.2"}
    assert any("the runs do not store which rows they used" in note for part in found.parts for note in part.notes)


# What a study refuses or doubts


def test_a_grid_over_datasets_is_refused_and_told_what_to_do(place, tables):
    with pytest.raises(RequestError, match="evaluated on different rows") as caught:
        place.sweep(**FAST, grid=["dataset=digits:test=0.2,digits:test=0.3"])
    assert "regplug compare STUDY STUDY" in caught.value.hint


def test_settings_that_change_the_test_rows_are_doubted_and_those_that_do_not_are_not(place):
    fields = {**FAST, "lr": 0.003, "dataset": "linear_regression", "batch_size": 5, "seeds": 2}
    noisy = place.sweep(**fields, grid=["dataset.noise=0.01,0.5"], name="noisy")
    assert any("settings of dataset.noise are evaluated on different rows" in text for text in noisy.started.warnings)
    found = regplug.compare("noisy", tracking_uri=place.uri)
    assert figures(found.analysis) == figures(noisy.conclusion.analysis)
    assert any("evaluated on different rows" in note for note in found.parts[0].notes)
    scaled = place.sweep(**fields, grid=["dataset.normalize=none,standard"])
    assert not any("evaluated on different rows" in text for text in scaled.started.warnings)


def test_a_grid_over_losses_is_compared_by_the_root_mean_squared_error_and_never_by_the_loss(place):
    fields = {**FAST, "dataset": toy("regression"), "lr": 0.01, "grid": ["loss=mse,huber"], "seeds": 2}
    found = place.sweep(**fields)
    assert (found.started.metric, found.conclusion.metric) == ("valid/rmse", "test/rmse")
    assert {run.params["loss"] for run in place.children(found.study_id)} == {"mse", "huber"}
    with pytest.raises(RequestError, match=r"valid/loss cannot be compared between the losses huber.*, mse"):
        place.sweep(**fields, metric="valid/loss")


def test_a_run_keeps_digests_and_sizes_of_its_data(place):
    result = place.run(**FAST, experiment="kept")
    tags = place.store.find_run(result.run_id).tags
    assert tags[SIZES_TAG] == "train=104 valid=48 test=56"
    assert {len(tags[f"regplug.data.{name}"]) for name in ("digest", "rows_digest", "judged_digest")} == {64}
    raw = toy()
    other = RawData(**{**vars(raw), "test": raw.test.take(np.arange(55))})
    again = place.store.find_run(place.run(**FAST, dataset=other, experiment="kept").run_id).tags
    assert again["regplug.data.judged_digest"] != tags["regplug.data.judged_digest"]

"""Studies keep the metrics of each test row: the same ones for every run, and again when they are read."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
from study_runs import Place

import regplug
from regplug.runs.row_files import ROWS_FOLDER, keep_rows, read_rows
from regplug.statistics import RowValues

GRID = {"grid": ["reg=none,l2"], "seeds": 3, "metric": "valid/accuracy"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return Place(tmp_path_factory.mktemp("rows") / "place")


@pytest.fixture(scope="module")
def study(place):
    return place.sweep(**GRID, name="rows")


def test_the_values_by_row_have_the_tracked_metrics_as_their_mean(place, study):
    kept = read_rows(place.store, study.study_id)
    assert set(kept) == {each.point.key for each in study.results}
    for each in study.results:
        for name, values in kept[each.point.key].values.items():
            assert values.mean(dtype=np.float64) == pytest.approx(each.metrics[name], rel=2e-3), name
        assert {"test/accuracy", "test/loss", "test/brier"} == set(kept[each.point.key].values)


def test_a_study_covers_seeds_and_test_rows(study):
    analysis = study.conclusion.analysis
    assert analysis.rows == len(study.results[0].rows.values["test/loss"])
    for summary in analysis.summaries:
        assert 0 <= summary.interval[0] < summary.mean < summary.interval[1] <= 1
        assert summary.interval != summary.t_interval


def test_a_comparison_of_the_tracked_study_gives_the_same_intervals(place, study):
    compared = regplug.compare(study.study_id, tracking_uri=place.uri).analysis
    expected = study.conclusion.analysis
    assert [(s.label, s.interval) for s in compared.summaries] == [(s.label, s.interval) for s in expected.summaries]
    assert [c.p_value for c in compared.comparisons] == [c.p_value for c in expected.comparisons]


@pytest.mark.slow
def test_single_runs_are_compared_over_the_same_rows(place, study):
    for seed in (0, 1, 2):
        for reg in ((), ("l2",)):
            place.run(reg=reg, seed=seed, experiment="alone")
    alone = regplug.compare("alone", tracking_uri=place.uri).analysis
    expected = {s.label.partition("(")[0]: s.interval for s in study.conclusion.analysis.summaries}
    assert alone.rows == study.conclusion.analysis.rows
    for summary in alone.summaries:
        assert summary.interval == pytest.approx(expected[summary.label.partition("(")[0]], abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("fields", [{"data_seeds": 2, "seeds": 1}, {"pair_seeds": True}])
def test_runs_with_rows_of_their_own_keep_none(place, fields):
    found = place.sweep(**{**GRID, **fields}, epochs=1)
    assert all(each.rows is None for each in found.results)
    assert ROWS_FOLDER not in place.store.artifact_names(found.study_id)
    assert any("They cover new draws of training and test rows" in note for note in found.conclusion.analysis.notes)


@pytest.mark.slow
def test_predictions_are_kept_on_request(place):
    plain, kept = (place.run(keep_predictions=each, experiment="kept") for each in (False, True))
    names = {run.run_id: set(place.store.artifact_names(run.run_id)) for run in (plain, kept)}
    assert names[kept.run_id] - names[plain.run_id] == {"predictions.csv", "reliability.png"}
    table = pandas.read_csv(place.store.read_artifact(kept.run_id, "predictions.csv"))
    assert (table.label == table.prediction).mean() == pytest.approx(kept.metrics["test/accuracy"])


@pytest.mark.slow
def test_folds_keep_no_rows(place):
    found = place.cv(grid=["reg=none,l2"], folds=2, epochs=1, refit=False)
    assert found.conclusion.analysis.rows == 0


class _Files:
    """A run that keeps its files in a dictionary."""

    def __init__(self, folder):
        self.folder = folder

    def log_bytes(self, data, path):
        (self.folder / path).parent.mkdir(exist_ok=True)
        (self.folder / path).write_bytes(data)

    def artifact_names(self, run_id, folder=""):
        return [file.relative_to(self.folder).as_posix() for file in (self.folder / folder).iterdir()]

    def read_artifact(self, run_id, path):
        return self.folder / path


def test_what_is_kept_is_read_again_bit_by_bit(tmp_path):
    rng = np.random.default_rng(0)
    runs = {
        f"run {at}": RowValues(
            digest="d", values={"test/accuracy": rng.random(13) < 0.5, "test/loss": rng.random(13).astype(np.float16)}
        )
        for at in range(3)
    }
    files = _Files(tmp_path)
    keep_rows(files, {key: runs[key] for key in ("run 0", "run 1")}, "000000")
    keep_rows(files, {"run 2": runs["run 2"]}, "000002")
    found = read_rows(files, "")
    assert set(found) == set(runs)
    for key, rows in runs.items():
        for name, values in rows.values.items():
            assert found[key].values[name].dtype == values.dtype
            assert np.array_equal(found[key].values[name], values)

"""Intervals and tests over seeds and test rows: against their special cases, and by simulation."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats
from test_statistics import ACCURACY

from regplug.statistics import PairKey, RowValues, Setting, Study, StudyRun, analyse, analyse_table, t_interval
from regplug.statistics.rows import RowTable

RNG = np.random.default_rng(0)


def on_other_rows(run):
    return dataclasses.replace(run, rows=RowValues(digest="other", values=run.rows.values))


def study_of(tables, *, metric=ACCURACY, digest="same", seeds=None):
    """A study of tables (seeds, rows) by setting."""
    runs = tuple(
        StudyRun(
            setting=label,
            key=PairKey(seed=seed),
            metrics={metric: float(values.mean())},
            rows=RowValues(digest=digest, values={metric: values}),
        )
        for label, table in tables.items()
        for seed, values in zip((seeds or {}).get(label, range(len(table))), table, strict=True)
    )
    return Study(name="trial", settings=tuple(Setting(label=label) for label in tables), runs=runs)


def right(seeds=5, rows=114, share=0.9):
    return RNG.random((seeds, rows)) < share


def test_rows_that_do_not_differ_give_the_t_test_over_seeds():
    by_seed = RNG.normal(0.1, 1, 6)
    found = analyse_table(np.repeat(by_seed[:, None], 40, axis=1))
    assert found.interval(float(found.mean)) == pytest.approx(t_interval(by_seed))
    assert float(found.p_of(found.mean)) == pytest.approx(scipy.stats.ttest_1samp(by_seed, 0).pvalue)


def test_seeds_that_do_not_differ_give_the_t_test_over_rows():
    by_row = RNG.normal(0.1, 1, 40)
    found = analyse_table(np.tile(by_row, (6, 1)))
    assert found.interval(float(found.mean)) == pytest.approx(t_interval(by_row))
    assert float(found.p_of(found.mean)) == pytest.approx(scipy.stats.ttest_1samp(by_row, 0).pvalue)


def test_the_variance_of_a_mean_is_estimated_without_bias():
    seeds, rows = 4, 30
    shape = (20_000, seeds, rows)
    parts = RNG.normal(0, 0.3, (*shape[:2], 1)), RNG.normal(0, 0.8, (shape[0], 1, rows)), RNG.normal(0, 1, shape)
    expected = 0.3**2 / seeds + 0.8**2 / rows + 1 / (seeds * rows)
    assert analyse_table(sum(parts)).variance.mean() == pytest.approx(expected, rel=0.02)


def test_the_p_value_is_one_minus_the_level_of_the_interval_that_touches_zero():
    found = analyse_table(RNG.normal(0.3, 1, (3, 20)))
    low, _ = found.interval(float(found.mean))
    assert float(found.p_of(found.mean - low)) == pytest.approx(0.05, abs=1e-9)


def test_many_tables_at_once_equal_each_alone():
    tables = RNG.normal(0, 1, (3, 4, 10))
    together = analyse_table(tables)
    for at, table in enumerate(tables):
        alone = analyse_table(table)
        assert float(alone.variance) == pytest.approx(float(together.variance[at]))
        assert float(alone.p_of(0.4)) == pytest.approx(float(together.p_of(0.4)[at]))


def test_equal_accuracies_of_all_seeds_are_not_certain():
    table = np.tile(np.arange(114) >= 3, (5, 1))
    study = study_of({"a": table, "b": table[:, ::-1]})
    analysis = analyse(study, ACCURACY, baseline="b")
    for summary in analysis.summaries:
        assert (summary.mean, summary.sd) == (pytest.approx(111 / 114), 0)
        assert summary.t_interval == pytest.approx((111 / 114, 111 / 114))
        # The Wilson interval of 111 of 114 rows.
        expected = scipy.stats.binomtest(111, 114).proportion_ci(method="wilson")
        assert summary.interval == pytest.approx((expected.low, expected.high), abs=2e-3)
    found = analysis.comparisons[0]
    assert (found.outcome, found.difference, found.rows) == ("tested", 0, 114)
    assert -0.05 < found.interval[0] < -0.03 < 0.03 < found.interval[1] < 0.05


def test_without_values_by_row_equal_accuracies_have_no_interval():
    table = np.tile(np.arange(114) >= 3, (5, 1))
    study = study_of({"a": table, "b": table})
    bare = dataclasses.replace(study, runs=tuple(dataclasses.replace(run, rows=None) for run in study.runs))
    analysis = analyse(bare, ACCURACY)
    assert [summary.interval for summary in analysis.summaries] == [None, None]
    assert "They cover the seeds alone, not other test rows: the runs keep no values of test/accuracy by row." in (
        analysis.notes
    )


def test_an_accuracy_of_one_on_all_rows_leaves_room_below():
    low, high = analyse(study_of({"a": np.ones((5, 30), dtype=bool)}), ACCURACY).summaries[0].interval
    assert (low, high) == pytest.approx((scipy.stats.binomtest(30, 30).proportion_ci(method="wilson").low, 1.0))


def test_the_figures_over_seeds_alone_stand_beside():
    study = study_of({"a": right(), "b": np.hstack([right(rows=57), right(rows=57, share=0.4)])})
    found = analyse(study, ACCURACY, baseline="b").comparisons[0]
    values = [[run.metrics[ACCURACY] for run in study.runs if run.setting == label] for label in "ab"]
    expected = scipy.stats.ttest_rel(*values)
    assert found.pairs_p_value == pytest.approx(expected.pvalue)
    assert found.pairs_interval == pytest.approx(tuple(expected.confidence_interval()))
    assert found.interval[0] < found.pairs_interval[0]
    assert {"pairs_interval", "pairs_p_value", "rows"} <= set(found.document())


def test_settings_that_are_right_on_the_same_rows_are_identical():
    table = right()
    assert analyse(study_of({"a": table, "b": table}), ACCURACY).comparisons[0].outcome == "identical"


def test_a_loss_is_compared_by_row_too():
    losses = RNG.exponential(1, (3, 50)).astype(np.float16)
    study = study_of({"a": losses, "b": losses + np.float16(0.25)}, metric="test/loss")
    found = analyse(study, "test/loss", baseline="a").comparisons[0]
    assert (found.rows, found.is_first_better) == (50, False)
    assert found.interval == pytest.approx((0.25, 0.25), abs=1e-3)


def test_only_the_seeds_that_both_settings_have_are_paired():
    tables = {"a": right(4), "b": right(3)}
    study = study_of(tables, seeds={"a": [0, 1, 2, 3], "b": [2, 3, 4]})
    found = analyse(study, ACCURACY, baseline="b").comparisons[0]
    expected = analyse_table(tables["a"][2:].astype(float) - tables["b"][:2])
    assert (found.n, found.p_value) == (2, pytest.approx(float(expected.p_of(expected.mean))))


@pytest.mark.parametrize("seeds", [None, {"a": [5, 6, 7, 8, 9], "b": [6, 7, 8, 9, 10]}])
def test_the_p_values_of_all_pairs_are_those_of_each_pair(seeds):
    study = study_of({"a": right(), "b": right(), "c": right(share=0.8)}, seeds=seeds)
    rows = RowTable(
        {label: {r.key: r.rows.values[ACCURACY] for r in study.runs if r.setting == label} for label in "abc"}
    )
    expected = [found.p_of(found.mean) for found in map(rows.difference, "aab", "bcc") if found is not None]
    assert sorted(rows.p_values(["a", "b", "c"])) == pytest.approx(sorted(map(float, expected)))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: dataclasses.replace(run, rows=None), "some of the runs keep no values"),
        (on_other_rows, "the settings are evaluated on different rows"),
    ],
)
def test_rows_that_cannot_be_paired_are_left_out_and_that_is_said(change, why):
    study = study_of({"a": right(), "b": right()})
    analysis = analyse(dataclasses.replace(study, runs=(*study.runs[:-1], change(study.runs[-1]))), ACCURACY)
    assert analysis.rows == 0
    assert why in analysis.document()["why_no_test_rows"]
    assert analysis.comparisons[0].interval == analysis.comparisons[0].pairs_interval


def test_a_metric_that_is_no_mean_over_rows_is_compared_over_seeds():
    analysis = analyse(study_of({"a": right(), "b": right()}, metric="test/macro_f1"), "test/macro_f1")
    assert analysis.why_no_rows == "test/macro_f1 is not a mean over the rows"


def test_effects_of_a_factorial_cover_the_rows_with_the_mean_of_each_half():
    varied = {"none": "none", "x": "x", "y": "y", "x+y": "x+y"}
    tables = {label: right(4, 60, share) for label, share in zip(varied, (0.7, 0.8, 0.75, 0.9), strict=True)}
    study = study_of(tables)
    settings = tuple(Setting(label=label, varied={"reg": value}) for label, value in varied.items())
    of_x = analyse(dataclasses.replace(study, settings=settings), ACCURACY, baseline="none").effects[0].comparison
    halves = [np.mean([tables[label] for label in half], axis=0) for half in (("x", "x+y"), ("none", "y"))]
    expected = analyse_table(halves[0] - halves[1])
    assert of_x.rows == 60
    assert of_x.interval == pytest.approx(expected.interval(float(expected.mean)), abs=1e-6)
    assert of_x.pairs_interval is not None


# Simulation: two settings with the same expected accuracy on new seeds and new rows.


def answers(rng, studies, seeds, rows, *, seed_sd, row_sd, advantage=0.0):
    """Right answers of two settings, bool (studies, S, R) each; a row has one difficulty for both and one for each."""
    difficulty = rng.normal(2, 2.5, (studies, 1, rows))
    tables = []
    for gain in (advantage, 0.0):
        score = (
            difficulty + gain + rng.normal(0, row_sd, (studies, 1, rows)) + rng.normal(0, seed_sd, (studies, seeds, 1))
        )
        tables.append(rng.random((studies, seeds, rows)) < 1 / (1 + np.exp(-score)))
    return tables


def shares_found(studies, seeds, rows, **strengths):
    """The share of studies in which the settings are called different: over seeds and rows, and over seeds alone."""
    rng, two_way, over_seeds = np.random.default_rng(seeds * rows), 0, 0
    for _ in range(studies // 200):
        first, second = answers(rng, 200, seeds, rows, **strengths)
        difference = first.astype(np.float64) - second
        found = analyse_table(difference)
        assert (found.variance > 0).all()
        two_way += int((found.p_of(found.mean) <= 0.05).sum())
        by_seed = difference.mean(axis=2)
        with np.errstate(divide="ignore"):  # equal means of all seeds
            t = np.abs(by_seed.mean(axis=1)) / (by_seed.std(axis=1, ddof=1) / seeds**0.5)
        over_seeds += int((t >= scipy.stats.t.ppf(0.975, seeds - 1)).sum())
    return two_way / studies, over_seeds / studies


MOST_FALSE = 0.06
WEAK, STRONG = {"seed_sd": 0.3, "row_sd": 0.3}, {"seed_sd": 0.3, "row_sd": 3.0}


@pytest.mark.parametrize("strengths", [WEAK, STRONG], ids=["weak", "strong"])
def test_settings_that_are_equal_on_new_rows_are_seldom_called_different(strengths):
    assert shares_found(400, 5, 100, **strengths)[0] <= MOST_FALSE


def test_over_seeds_alone_they_would_be_called_different_too_often():
    assert shares_found(400, 5, 100, **STRONG)[1] > 2 * MOST_FALSE


@pytest.mark.full
@pytest.mark.parametrize("strengths", [WEAK, STRONG], ids=["weak", "strong"])
@pytest.mark.parametrize(("seeds", "rows"), [(3, 100), (3, 400), (5, 100), (5, 400), (10, 100), (10, 400)])
def test_of_two_thousand_studies_few_find_a_difference_that_is_not_there(seeds, rows, strengths, record_property):
    found, over_seeds = shares_found(2000, seeds, rows, **strengths)
    upper = scipy.stats.binomtest(round(2000 * found), 2000).proportion_ci(method="exact").high
    record_property("false alarms, upper bound, over seeds alone", (found, upper, over_seeds))
    assert found <= MOST_FALSE
    assert upper <= MOST_FALSE + 0.012


@pytest.mark.full
@pytest.mark.parametrize("strengths", [WEAK, STRONG], ids=["weak", "strong"])
def test_an_advantage_is_found_more_often_with_more_seeds_and_rows(strengths, record_property):
    power = [shares_found(400, s, r, advantage=1.0, **strengths)[0] for s, r in ((3, 100), (5, 200), (10, 400))]
    record_property("power", power)
    assert power == sorted(power)
    assert power[-1] > 0.7

"""Summaries, paired tests, corrections and ranks against scipy, hand-computed numbers and simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.stats

from regplug.errors import RequestError
from regplug.statistics import (
    PairKey,
    Setting,
    Study,
    StudyRun,
    analyse,
    bootstrap_interval,
    compare_pair,
    critical_difference,
    find_units,
    holm,
    is_lower_better,
    paired_t,
    rank,
    select,
    t_interval,
)

ACCURACY = "test/accuracy"
FIRST = [0.91, 0.93, 0.90, 0.95, 0.94, 0.92, 0.96, 0.93]
SECOND = [0.90, 0.91, 0.90, 0.93, 0.93, 0.89, 0.95, 0.92]


def study_of(values, *, metric=ACCURACY, keys=None, valid=None, **options):
    """A study of settings' values, one seed each unless keys are given; `valid` gives each setting's valid/loss."""
    runs = []
    for label, of_setting in values.items():
        for at, value in enumerate(of_setting):
            metrics = {metric: value} | ({"valid/loss": valid[label]} if valid else {})
            runs.append(StudyRun(setting=label, key=keys[at] if keys else PairKey(seed=at), metrics=metrics))
    return Study(name="trial", settings=tuple(Setting(label=label) for label in values), runs=tuple(runs), **options)


def compared(first, second, metric=ACCURACY, **options):
    return analyse(study_of({"a": first, "b": second}, metric=metric, **options), metric, baseline="b").comparisons[0]


def folds(count):
    return [PairKey(seed=0, fold=fold) for fold in range(count)]


# Summaries


def test_the_t_interval_is_scipys():
    expected = scipy.stats.t.interval(0.95, len(FIRST) - 1, np.mean(FIRST), scipy.stats.sem(FIRST))
    assert t_interval(np.array(FIRST)) == pytest.approx(expected, rel=1e-12)


def test_the_bootstrap_interval_is_scipys_and_repeats():
    values = [*FIRST, 0.97, 0.9]
    expected = scipy.stats.bootstrap((values,), np.mean, rng=np.random.default_rng(3)).confidence_interval
    assert bootstrap_interval(np.array(values), seed=3) == (expected.low, expected.high)


def test_equal_values_have_an_interval_of_no_width():
    assert t_interval(np.full(5, 0.1)) == pytest.approx((0.1, 0.1))
    assert bootstrap_interval(np.full(10, 0.1)) == pytest.approx((0.1, 0.1))


def test_one_value_has_a_mean_and_no_interval():
    summary = analyse(study_of({"a": [0.5]}), ACCURACY).summaries[0]
    assert (summary.mean, summary.sd, summary.t_interval, summary.bootstrap_interval) == (0.5, None, None, None)


def test_the_standard_deviation_divides_by_n_minus_one():
    assert analyse(study_of({"a": [1.0, 2.0, 3.0]}), ACCURACY).summaries[0].sd == pytest.approx(1.0)


def test_failed_runs_are_counted_apart_and_in_no_mean():
    study = study_of({"a": [0.5, 0.7, math.nan]})
    failed = StudyRun(setting="a", key=PairKey(seed=9), metrics={ACCURACY: 0.1}, status="FAILED")
    analysis = analyse(Study(name="s", settings=study.settings, runs=(*study.runs, failed)), ACCURACY)
    assert (analysis.summaries[0].failed, analysis.summaries[0].runs) == (2, 2)
    assert analysis.summaries[0].mean == pytest.approx(0.6)
    assert "2 runs failed and are not in the means." in analysis.notes


def test_a_failed_run_that_was_repeated_counts_as_run():
    failed = StudyRun(setting="a", key=PairKey(seed=0), metrics={}, status="FAILED")
    study = study_of({"a": [0.5]})
    summary = analyse(Study(name="s", settings=study.settings, runs=(failed, *study.runs)), ACCURACY).summaries[0]
    assert (summary.runs, summary.failed) == (1, 0)


# Paired tests


def test_the_paired_t_test_is_scipys():
    expected = scipy.stats.ttest_rel(FIRST, SECOND)
    found = compared(FIRST, SECOND)
    assert (found.t, found.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


def test_wilcoxons_test_is_scipys():
    first, second = [1.0, 2.5, 3.1, 4.7, 5.2, 6.9, 7.5], [0.9, 2.1, 3.3, 4.0, 4.7, 6.0, 6.2]
    assert compared(first, second).wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)


@pytest.mark.parametrize("step", [0.0, 0.5], ids=["ties", "no ties"])
def test_wilcoxons_test_is_scipys_with_ties_and_zeros(step):
    differences = np.array([1.0, 1, -1, 2, 2, 0, 3, -2]) + step * np.arange(8) ** 2 / 64
    expected = scipy.stats.wilcoxon(differences[differences != 0]).pvalue
    assert compared(differences, [0.0] * 8).wilcoxon_p == pytest.approx(expected, abs=1e-12)


def test_d_z_is_the_mean_difference_over_its_standard_deviation():
    assert compared([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]).d_z == pytest.approx(2.0)


def test_the_corrected_resampled_t_is_the_one_computed_by_hand():
    # mean 2, variance 1, n = 3, ratio 1/2: t = 2 / sqrt(1 * (1/3 + 1/2)) = 2.19089; p with 2 degrees of freedom.
    t, p_value = paired_t(np.array([1.0, 2.0, 3.0]), 0.5)
    assert t == pytest.approx(2.19089, abs=1e-5)
    assert p_value == pytest.approx(1 - t / math.sqrt(2 + t * t), rel=1e-9)


def test_folds_are_corrected_by_their_share_of_rows_and_seeds_are_not():
    as_folds, as_seeds = compared(FIRST[:5], SECOND[:5], keys=folds(5)), compared(FIRST[:5], SECOND[:5])
    assert as_folds.t == pytest.approx(as_seeds.t * math.sqrt((1 / 5) / (1 / 5 + 1 / 4)))
    assert as_folds.p_value > as_seeds.p_value


def test_a_ratio_that_is_given_is_used_for_folds_and_for_data_seeds():
    keys = [PairKey(seed=0, data_seed=seed) for seed in range(5)]
    assert compared(FIRST[:5], SECOND[:5], keys=folds(5), test_to_train=0.5).t == pytest.approx(
        compared(FIRST[:5], SECOND[:5], keys=keys, test_to_train=0.5).t
    )
    assert compared(FIRST[:5], SECOND[:5], keys=keys).t == pytest.approx(compared(FIRST[:5], SECOND[:5]).t)


def test_repeated_folds_are_observations_of_their_own_with_the_ratio_of_one_repeat():
    keys = [PairKey(seed=0, fold=fold, repeat=repeat) for repeat in range(2) for fold in range(4)]
    analysis = analyse(study_of({"a": FIRST, "b": SECOND}, keys=keys), ACCURACY)
    assert analysis.summaries[0].n == 8
    assert analysis.units.variance_ratio == pytest.approx(1 / 3)


def test_seeds_within_a_fold_are_averaged_and_not_counted_as_more_folds():
    keys = [PairKey(seed=seed, fold=fold) for fold in range(4) for seed in range(2)]
    found = compared(FIRST, SECOND, keys=keys)
    means = np.subtract(FIRST, SECOND).reshape(4, 2).mean(axis=1)
    assert found.n == 4
    assert (found.t, found.p_value) == pytest.approx(paired_t(means, 1 / 3))


def test_only_shared_keys_are_compared():
    runs = [StudyRun(setting="a", key=PairKey(seed=seed), metrics={ACCURACY: FIRST[seed]}) for seed in range(6)]
    runs += [StudyRun(setting="b", key=PairKey(seed=seed), metrics={ACCURACY: SECOND[seed]}) for seed in range(3, 8)]
    study = Study(name="s", settings=(Setting(label="a"), Setting(label="b")), runs=tuple(runs))
    found = analyse(study, ACCURACY, baseline="b").comparisons[0]
    assert found.n == 3
    assert found.t == pytest.approx(scipy.stats.ttest_rel(FIRST[3:6], SECOND[3:6]).statistic)


def test_equal_runs_are_identical():
    found = compared(FIRST, FIRST)
    assert (found.outcome, found.difference, found.p_value, found.is_different) == ("identical", 0.0, None, False)


def test_a_difference_that_never_varies_is_not_tested():
    found = compared([x + 0.01 for x in FIRST], FIRST)
    assert (found.outcome, found.p_value, found.is_different) == ("constant", None, False)


def test_one_more_right_answer_in_each_of_two_seeds_is_no_finding():
    counts = [[331, 301], [330, 300]]  # of 359 rows; in float32 the two differences are not quite equal
    more, fewer = ([float(np.float32(right) / np.float32(359)) for right in each] for each in counts)
    assert more[0] - fewer[0] != more[1] - fewer[1]
    found = compared(more, fewer)
    assert (found.outcome, found.p_value, found.is_different) == ("constant", None, False)


def test_one_pair_is_too_few():
    assert compared([0.9], [0.8]).outcome == "too few"


@pytest.mark.parametrize(("n", "can_tell"), [(2, False), (5, False), (6, True), (8, True)])
def test_the_signed_rank_test_needs_six_pairs(n, can_tell):
    found = compared([1.0 + i * 0.1 for i in range(n)], [0.5] * n)
    assert found.wilcoxon_can_tell is can_tell
    assert found.wilcoxon_p == pytest.approx(found.wilcoxon_least_p)


@pytest.mark.parametrize("values", [[1e-300, 2e-300, 0.0], [1e38, 2e38, -1e38], [1.0, 1.0 + 1e-15, 1.0]])
def test_numbers_of_any_size_give_no_warning_and_plain_json(values):
    analysis = analyse(study_of({"a": values, "b": [0.0, 0.0, 0.0]}, metric="valid/loss"), "valid/loss")
    json.dumps(analysis.document(), allow_nan=False)


# Corrections


def test_holm_is_the_one_computed_by_hand():
    # Sorted .005 .01 .03 .04 times 4 3 2 1: .02 .03 .06 .04, and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_a_named_baseline_is_corrected_for_its_own_comparisons_and_a_picked_one_for_all_pairs():
    study = study_of({"a": FIRST, "b": SECOND, "c": [x - 0.003 for x in FIRST[::-1]]})
    named, picked = analyse(study, ACCURACY, baseline="a"), analyse(study, ACCURACY)
    assert [c.family for c in named.comparisons] == [2, 2]
    assert [c.family for c in picked.comparisons] == [3, 3]


def test_all_pairs_are_compared_on_request():
    analysis = analyse(study_of({"a": FIRST, "b": SECOND, "c": FIRST[::-1]}), ACCURACY, all_pairs=True)
    assert len(analysis.comparisons) == 3
    assert analysis.reference is None


# Ranks


@pytest.mark.parametrize(("settings", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_that_of_demsars_table(settings, q):
    expected = q * math.sqrt(settings * (settings + 1) / (6 * 30))
    assert critical_difference(settings, 30) == pytest.approx(expected, rel=3e-4)


DATASETS = [PairKey(seed=seed, dataset=f"d{number}") for number in range(6) for seed in range(2)]


def test_several_datasets_are_the_observations_and_give_a_critical_difference():
    rng = np.random.default_rng(0)
    level = np.repeat(np.arange(6) * 0.1, 2)
    values = {
        label: list(level + lift + rng.normal(0, 0.002, 12)) for label, lift in {"a": 0.04, "b": 0.02, "c": 0.0}.items()
    }
    analysis = analyse(study_of(values, keys=DATASETS), ACCURACY)
    assert analysis.ranks.mean_ranks == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert (analysis.ranks.over, analysis.ranks.n, analysis.comparisons[0].n) == ("dataset", 6, 6)
    assert analysis.ranks.friedman_p == pytest.approx(math.exp(-6))
    assert analysis.ranks.groups == (("a", "b"), ("b", "c"))


def test_ranks_over_seeds_are_scipys_friedman_and_claim_no_critical_difference():
    third = FIRST[::-1]
    ranks = analyse(study_of({"a": FIRST, "b": SECOND, "c": third}), ACCURACY).ranks
    assert ranks.friedman_p == pytest.approx(scipy.stats.friedmanchisquare(FIRST, SECOND, third).pvalue)
    assert ranks.critical_difference is None
    assert sum(ranks.mean_ranks.values()) == pytest.approx(6)


def test_settings_that_tie_everywhere_share_their_rank():
    ranks = analyse(study_of(dict.fromkeys("abc", FIRST)), ACCURACY).ranks
    assert (set(ranks.mean_ranks.values()), ranks.friedman_p) == ({2.0}, 1.0)


def test_lower_is_the_better_rank_of_a_loss():
    values = {"a": {PairKey(seed=0): 0.1}, "b": {PairKey(seed=0): 0.2}}
    assert rank(values, find_units(values), is_lower_better=True).mean_ranks == {"a": 1.0, "b": 2.0}


def test_settings_that_share_nothing_have_no_ranks():
    values = {"a": {PairKey(seed=0): 0.1}, "b": {PairKey(seed=1): 0.2}}
    assert rank(values, find_units(values), is_lower_better=True) is None
    units = find_units(values)
    assert compare_pair("a", "b", values, units, is_lower_better=True).n == 0


# Metrics and selection


@pytest.mark.parametrize("metric", ["valid/loss", "test/rmse", "test/mae", "train/running_loss", "train/objective"])
def test_less_is_better_of_errors(metric):
    assert is_lower_better(metric)


@pytest.mark.parametrize(
    "metric", ["test/accuracy", "valid/r2", "test/auroc", "test/macro_f1", "valid/balanced_accuracy"]
)
def test_more_is_better_of_shares_that_are_right(metric):
    assert not is_lower_better(metric)


@pytest.mark.parametrize("metric", ["norm/weight", "gap/loss", "gap/accuracy", "loss/weight", "flossing"])
def test_a_metric_whose_name_does_not_tell_is_asked_about(metric):
    with pytest.raises(RequestError, match="is better is unknown"):
        is_lower_better(metric)


def test_a_direction_that_is_given_is_taken():
    study = study_of({"a": [3.0, 4.0, 5.5], "b": [1.0, 2.0, 3.0]}, metric="norm/weight")
    assert analyse(study, "norm/weight", lower_is_better=True).summaries[0].label == "b"
    assert analyse(study, "norm/weight", lower_is_better=False).summaries[0].label == "a"


def test_the_best_setting_is_chosen_by_validation_and_not_by_the_metric_compared():
    study = study_of({"a": FIRST, "b": SECOND}, valid={"a": 0.5, "b": 0.4})
    analysis = analyse(study, ACCURACY, selected_by="valid/loss")
    assert (analysis.selected, analysis.reference, analysis.summaries[0].label) == ("b", "b", "a")
    assert analysis.verdict.startswith("b has the best valid/loss. a is better than b")


def test_selection_by_the_test_set_is_refused():
    with pytest.raises(RequestError, match="must not be chosen by 'test/accuracy'"):
        select(study_of({"a": FIRST, "b": SECOND}), ACCURACY)


def test_a_setting_with_failed_runs_is_not_chosen_before_one_without():
    study = study_of({"a": [0.1, 0.1, math.nan], "b": [0.2, 0.2, 0.2]}, metric="valid/loss")
    assert select(study, "valid/loss") == "b"


# Bad input


def test_an_unknown_metric_names_near_ones():
    with pytest.raises(RequestError, match="Did you mean test/accuracy"):
        analyse(study_of({"a": FIRST}), "test/acuracy", lower_is_better=False)


def test_an_unknown_baseline_names_near_ones():
    with pytest.raises(RequestError, match="Did you mean dropout"):
        analyse(study_of({"dropout": FIRST, "none": SECOND}), ACCURACY, baseline="droput")


def test_a_run_that_stands_there_twice_is_refused():
    run = StudyRun(setting="a", key=PairKey(seed=0), metrics={ACCURACY: 0.5})
    with pytest.raises(RequestError, match="same finished run"):
        Study(name="s", settings=(Setting(label="a"),), runs=(run, run))


def test_a_label_that_stands_there_twice_is_refused():
    with pytest.raises(RequestError, match="same setting"):
        Study(name="s", settings=(Setting(label="a"), Setting(label="a")), runs=())


def test_a_run_of_no_setting_is_refused():
    run = StudyRun(setting="l1", key=PairKey(seed=0), metrics={})
    with pytest.raises(RequestError, match="Known: l2"):
        Study(name="s", settings=(Setting(label="l2"),), runs=(run,))

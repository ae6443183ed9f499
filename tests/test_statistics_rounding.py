"""Metrics come from float32: what only rounding tells apart must tie, and what differs must not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from test_statistics import ACCURACY, compared, study_of

from regplug.statistics import PairKey, analyse, compare_pair, find_units, rank_over_datasets

ROWS = 359


def in_float32(counts, rows=ROWS):
    """Accuracies as a run measures them."""
    return [float(np.float32(right) / np.float32(rows)) for right in counts]


def by_seed(values):
    return {PairKey(seed=seed): value for seed, value in enumerate(values)}


def exact_p(first, second):
    """Wilcoxon's p of counts, which have no rounding."""
    return scipy.stats.wilcoxon(np.subtract(first, second), zero_method="wilcox").pvalue


@pytest.mark.parametrize(("seeds", "rows"), [(6, 359), (9, 10_000), (20, 359)])
def test_wilcoxons_p_of_float32_accuracies_is_that_of_the_counts(seeds, rows):
    rng = np.random.default_rng(seeds)
    moved = 0.0
    for _ in range(15):
        first = rng.integers(rows * 8 // 10, rows * 9 // 10, seeds)
        second = first - rng.integers(-2, 4, seeds)
        if not (first - second).any():
            continue
        expected = exact_p(first, second)
        values = {label: by_seed(in_float32(counts, rows)) for label, counts in {"a": first, "b": second}.items()}
        found = compare_pair("a", "b", values, find_units(values), is_lower_better=False)
        if found.outcome == "tested":
            assert found.wilcoxon_p == pytest.approx(expected, abs=1e-9)
        raw = np.subtract(in_float32(first, rows), in_float32(second, rows))
        moved = max(moved, abs(scipy.stats.wilcoxon(raw[raw != 0]).pvalue - expected))
    assert moved > 0.01  # without merging, rounding would decide


def test_means_over_seeds_of_a_fold_tie_as_their_counts_do():
    keys = [PairKey(seed=seed, fold=fold) for fold in range(6) for seed in range(2)]
    first = np.array([331, 301, 317, 311, 320, 330, 340, 322, 325, 318, 309, 333])
    second = first - np.array([1, 1, 2, 0, 0, 2, 3, 1, -1, -1, 4, 0])
    found = compared(in_float32(first), in_float32(second), keys=keys)
    by_fold = (first - second).reshape(6, 2).sum(axis=1)
    assert found.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(by_fold).pvalue)


def test_losses_that_differ_by_less_than_float32_can_tell_are_identical():
    losses = np.array([0.31, 0.29, 0.35, 1.7])
    shifted = losses * (1 + np.array([1, -1, 2, 0]) * 1e-7)
    assert compared(list(shifted), list(losses), metric="valid/loss").outcome == "identical"


def test_one_great_loss_does_not_coarsen_the_small_ones():
    first, second = [1e4, 0.11, 0.12, 0.13, 0.14, 0.15], [9e3, 0.109, 0.118, 0.127, 0.136, 0.145]
    found = compared(first, second, metric="valid/loss")
    assert found.outcome == "tested"
    assert found.wilcoxon_p == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)


def test_ranks_share_what_only_rounding_tells_apart():
    # The mean of 288 and 292 right answers is that of 290 and 290, but for float32.
    by_count = {"a": [288, 292], "b": [290, 290], "c": [280, 280]}
    keys = [PairKey(seed=seed, fold=0) for seed in range(2)]
    values = {label: in_float32(counts) for label, counts in by_count.items()}
    assert np.mean(values["a"]) != np.mean(values["b"])
    ranks = analyse(study_of(values, keys=keys), ACCURACY).ranks
    assert ranks.mean_ranks == {"a": 1.5, "b": 1.5, "c": 3.0}


def test_ranks_over_datasets_average_ranks_alone_and_take_settings_that_all_datasets_have():
    accuracy, loss = {"a": 0.9, "b": 0.8, "only here": 1.0}, {"a": 20.0, "b": 30.0}
    ranks = rank_over_datasets([accuracy, loss], [False, True])
    assert ranks.mean_ranks == {"a": 1.0, "b": 2.0}
    assert (ranks.over, ranks.n) == ("dataset", 2)
    assert rank_over_datasets([accuracy], [False]) is None
    assert rank_over_datasets([{"a": 1.0}, {"a": 1.0}], [True, True]) is None

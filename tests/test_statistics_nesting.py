"""Groups of settings at their best or averaged, and factorials: against closed forms, statsmodels and simulation."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from test_statistics import study_of

from regplug.errors import RequestError
from regplug.statistics import (
    PairKey,
    Question,
    Setting,
    Study,
    StudyRun,
    answer,
    average,
    choose_best,
    effect_sentence,
    find_factors,
)

TEST, VALID = "test/accuracy", "valid/accuracy"
GROUPS = {"none": "none", "l2 weak": "l2", "l2 strong": "l2"}


def nested_study(valid, test, keys):
    """Settings with a validation and a test value for each key."""
    runs = [
        StudyRun(setting=label, key=key, metrics={VALID: valid[label][at], TEST: test[label][at]})
        for label in valid
        for at, key in enumerate(keys)
    ]
    return Study(name="nested", settings=tuple(Setting(label=label) for label in valid), runs=tuple(runs))


VALUES = {"none": [0.5, 0.5, 0.5], "l2 weak": [0.7, 0.6, 0.6], "l2 strong": [0.6, 0.61, 0.62]}
TESTED = {"none": [0.50, 0.52, 0.51], "l2 weak": [0.60, 0.61, 0.66], "l2 strong": [0.90, 0.91, 0.93]}


def test_seeds_of_one_split_choose_once_by_the_mean_and_say_what_each_would_choose():
    study, (choice,) = choose_best(nested_study(VALUES, TESTED, [PairKey(seed=i) for i in range(3)]), GROUPS, VALID)
    assert (choice.group, choice.setting, choice.is_per_unit) == ("l2", "l2 weak", False)
    assert choice.counts == {"l2 strong": 2, "l2 weak": 1}
    assert study.labels == ("none", "l2")
    assert list(study.values(TEST)["l2"].values()) == TESTED["l2 weak"]


def test_each_data_seed_chooses_by_its_own_validation_rows():
    keys = [PairKey(seed=seed, data_seed=split) for split in range(3) for seed in range(1)]
    study, (choice,) = choose_best(nested_study(VALUES, TESTED, keys), GROUPS, VALID)
    assert choice.is_per_unit
    assert list(study.values(TEST)["l2"].values()) == [0.60, 0.91, 0.93]


def test_each_fold_chooses_by_the_other_folds_of_its_repetition_and_never_by_its_own_score():
    generator = np.random.default_rng(4)
    keys = [PairKey(seed=0, fold=fold, repeat=repeat) for repeat in range(2) for fold in range(4)]
    valid = {label: generator.normal(0.8, 0.02, 8) for label in GROUPS}
    study, _ = choose_best(nested_study(valid, valid, keys), GROUPS, VALID)
    for at, key in enumerate(keys):
        others = [i for i, other in enumerate(keys) if other.repeat == key.repeat and i != at]
        best = max(("l2 weak", "l2 strong"), key=lambda label: valid[label][others].mean())
        assert study.values(VALID)["l2"][key] == valid[best][at]


def test_a_setting_with_a_failed_run_is_chosen_after_one_without():
    study = nested_study(VALUES, TESTED, [PairKey(seed=i) for i in range(3)])
    runs = [StudyRun(setting=r.setting, key=r.key, metrics={}, status="FAILED") if r is study.runs[3] else r
            for r in study.runs]  # fmt: skip
    _, (choice,) = choose_best(Study(name="s", settings=study.settings, runs=tuple(runs)), GROUPS, VALID)
    assert choice.setting == "l2 strong"


def test_the_test_set_chooses_nothing():
    with pytest.raises(RequestError, match="must not be chosen"):
        choose_best(nested_study(VALUES, TESTED, [PairKey(seed=i) for i in range(3)]), GROUPS, TEST)


def test_groups_are_compared_with_their_reference_and_the_chosen_setting_is_told():
    study = nested_study(VALUES, TESTED, [PairKey(seed=i) for i in range(3)])
    found = answer(study, Question(metric=TEST, selected_by=VALID, reference="none", best_of=GROUPS))
    (comparison,) = found.analysis.comparisons
    assert (comparison.first, comparison.second, comparison.family) == ("l2", "none", 1)
    expected = scipy.stats.ttest_rel(TESTED["l2 weak"], TESTED["none"])
    assert (comparison.t, comparison.p_value) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-9)
    assert found.best == "l2 weak"
    assert "l2 is l2 weak, the best by valid/accuracy (1 of 3 seeds alone would choose it)." in found.analysis.notes
    assert found.analysis.document()["choices"][0]["counts"] == {"l2 strong": 2, "l2 weak": 1}


@pytest.mark.slow
def test_choosing_on_validation_raises_no_false_alarm_on_test():
    """600 studies in which no strength has an effect: the best of five on validation against none, on test."""
    generator = np.random.default_rng(11)
    labels = ["none", *(f"l2 {i}" for i in range(5))]
    groups = {label: label.split()[0] for label in labels}
    keys = [PairKey(seed=i) for i in range(5)]
    alarms = 0
    for _ in range(600):
        draw = {label: generator.normal(0, 1, (2, 5)) for label in labels}
        study = nested_study({k: v[0] for k, v in draw.items()}, {k: v[1] for k, v in draw.items()}, keys)
        question = Question(metric=TEST, selected_by=VALID, reference="none", best_of=groups)
        alarms += answer(study, question).analysis.comparisons[0].is_different
    assert alarms / 600 < 0.05 + 3 * (0.05 * 0.95 / 600) ** 0.5


def test_an_average_over_a_second_factor_is_taken_within_each_seed_before_the_test():
    values = {f"{reg} {rate}": np.random.default_rng(at).normal(0.8, 0.05, 6)
              for at, (reg, rate) in enumerate((r, q) for r in ("none", "l2") for q in (1, 2, 3))}  # fmt: skip
    groups = {label: label.split()[0] for label in values}
    means = {reg: np.mean([values[f"{reg} {rate}"] for rate in (1, 2, 3)], axis=0) for reg in ("none", "l2")}
    question = Question(metric=TEST, reference="none", mean_of=groups)
    (comparison,) = answer(study_of(values), question).analysis.comparisons
    expected = scipy.stats.ttest_rel(means["l2"], means["none"])
    assert comparison.n == 6
    assert comparison.p_value == pytest.approx(expected.pvalue, rel=1e-9)
    assert comparison.interval == pytest.approx(tuple(expected.confidence_interval()), rel=1e-9)


def test_a_mean_in_which_a_run_failed_has_no_value():
    study = study_of({"a": [0.5, 0.7], "b": [0.6, float("nan")]})
    merged = average(study, {"a": "both", "b": "both"})
    assert list(merged.values(TEST)["both"].values()) == [pytest.approx(0.55)]


# Factorials


def factorial_study(values, parts=("dropout", "l2")):
    """Settings that are all combinations of the parts, with the values of each."""
    study = study_of(values)
    return Study(
        name="f", settings=tuple(Setting(label=x, varied={"reg": x}) for x in values), runs=study.runs
    )  # fmt: skip


ONE = {label: list(np.random.default_rng(at + 40).normal(0.8 + 0.01 * at, 0.01, 7))
       for at, label in enumerate(("none", "dropout", "l2", "dropout+l2"))}  # fmt: skip


def test_effects_are_the_paired_tests_of_the_contrasts_of_each_seed():
    found = answer(factorial_study(ONE), Question(metric=TEST, reference="none")).analysis.effects
    none, dropout, l2, both = (np.array(ONE[label]) for label in ONE)
    expected = {
        ("dropout",): (dropout + both - none - l2) / 2,
        ("l2",): (l2 + both - none - dropout) / 2,
        ("dropout", "l2"): both - dropout - l2 + none,
    }
    assert [effect.factors for effect in found] == list(expected)
    p_values = [scipy.stats.ttest_1samp(contrast, 0).pvalue for contrast in expected.values()]
    from statsmodels.stats.multitest import multipletests

    for effect, contrast, p, corrected in zip(
        found, expected.values(), p_values, multipletests(p_values, method="holm")[1], strict=True
    ):
        tested = scipy.stats.ttest_1samp(contrast, 0)
        assert effect.comparison.difference == pytest.approx(contrast.mean(), abs=1e-12)
        assert effect.comparison.interval == pytest.approx(tuple(tested.confidence_interval()), abs=1e-9)
        assert (effect.comparison.p_value, effect.comparison.p_holm) == pytest.approx((p, corrected), rel=1e-6)


def test_effects_of_three_factors_are_statsmodels_repeated_measures_anova():
    import itertools

    import pandas as pd
    from statsmodels.stats.anova import AnovaRM

    generator = np.random.default_rng(8)
    names = ("a", "b", "c")
    values, rows = {}, []
    for levels in itertools.product((0, 1), repeat=3):
        label = "+".join(n for n, on in zip(names, levels, strict=True) if on) or "none"
        values[label] = list(generator.normal(sum(levels), 1, 6))
        rows += [{"seed": s, "y": y, **dict(zip(names, levels, strict=True))} for s, y in enumerate(values[label])]
    table = AnovaRM(pd.DataFrame(rows), "y", "seed", within=list(names)).fit().anova_table
    effects = answer(factorial_study(values), Question(metric=TEST, reference="none")).analysis.effects
    assert len(effects) == 7
    for effect in effects:
        assert effect.comparison.t**2 == pytest.approx(table.loc[":".join(sorted(effect.factors)), "F Value"], rel=1e-6)


def test_an_interaction_says_whether_two_add_up():
    more = {**ONE, "dropout+l2": [x + 0.2 for x in ONE["dropout+l2"]]}
    effects = answer(factorial_study(more), Question(metric=TEST, reference="none")).analysis.effects
    assert effect_sentence(effects[-1]).startswith("dropout and l2: together they do more than the sum of their eff")
    effects = answer(factorial_study(ONE), Question(metric=TEST, reference="none")).analysis.effects
    assert "no detectable deviation from the sum of their effects" in effect_sentence(effects[-1])


def test_two_axes_of_two_values_are_a_factorial_and_others_are_not():
    def factors(*varied):
        return [
            (f.name, f.low, f.high)
            for f in find_factors([Setting(label=str(at), varied=own) for at, own in enumerate(varied)])
        ]

    crossed = [{"reg": reg, "lr": lr} for reg in ("none", "l2") for lr in (0.2, 0.1)]
    assert factors(*crossed) == [("l2", "off", "on"), ("lr", "0.1", "0.2")]
    assert factors(*crossed[:3]) == []
    assert factors({"lr": 1, "momentum": 0}, {"lr": 2, "momentum": 0.5}) == []
    assert factors({"reg": "none"}, {"reg": "l2"}) == []

"""What the sentences say, and that they say no more than the numbers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from test_statistics import ACCURACY, FIRST, SECOND, compared, folds, study_of

from regplug.statistics import PairKey, analyse, comparison_sentence, number, p_text

LOSS = "valid/loss"


def test_a_difference_that_was_found_names_the_better_one_first_with_interval_and_p():
    first, second = np.array(FIRST), np.array(SECOND)
    sentence = comparison_sentence(compared(first, second))
    assert sentence == "a is better than b by 0.0137 [0.00609, 0.0214], p = 0.0038, 8 seeds."
    assert comparison_sentence(compared(second, first)) == sentence.replace("a is better than b", "b is better than a")


def test_of_a_loss_the_lower_one_is_called_better_by_a_positive_amount():
    assert comparison_sentence(compared(FIRST, SECOND, metric=LOSS)).startswith(
        "b is better than a by 0.0137 [0.00609,"
    )


def test_no_difference_is_called_no_detectable_difference_with_the_interval_of_what_is_possible():
    sentence = comparison_sentence(compared([0.90, 0.93, 0.91, 0.95], [0.91, 0.91, 0.92, 0.93]))
    assert sentence.startswith("No detectable difference between a and b (0.005 [-0.0226, 0.0326], p = 0.6, 4 seeds).")
    assert "Wilcoxon's signed-rank test cannot reach 0.05 with so few pairs (its smallest p is 0.125)." in sentence


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (None, "Four times as many seeds would halve it."),
        (folds(4), "More folds of the same rows narrow it only slightly; more rows narrow it."),
    ],
    ids=["seeds", "folds"],
)
def test_an_open_question_says_what_would_narrow_its_interval_and_no_number_of_seeds(keys, words):
    study = study_of({"a": [0.90, 0.93, 0.91, 0.95], "b": [0.91, 0.91, 0.92, 0.93]}, keys=keys)
    analysis = analyse(study, ACCURACY)
    (note,) = [note for note in analysis.notes if "not prove equality" in note]
    assert words in note
    assert "more seeds" not in analysis.verdict


def test_a_question_that_is_settled_says_nothing_of_more_seeds():
    assert not any("prove equality" in note for note in analyse(study_of({"a": FIRST, "b": SECOND}), ACCURACY).notes)


@pytest.mark.parametrize(("count", "is_given"), [(9, False), (10, True)])
def test_below_ten_observations_the_bootstrap_interval_is_left_out_and_that_is_said(count, is_given):
    analysis = analyse(study_of({"a": list(np.linspace(0.8, 0.9, count))}), ACCURACY)
    assert (analysis.summaries[0].bootstrap_interval is not None) is is_given
    assert ("Below 10 seeds there is no bootstrap interval" in analysis.bootstrap_note) is not is_given
    assert analysis.document()["bootstrap_note"] == (analysis.bootstrap_note or None)


def test_settings_that_are_no_better_than_guessing_are_named_and_so_is_a_best_one():
    study = study_of({"a": FIRST[:3], "b": SECOND[:3]}, valid={"a": 0.5, "b": 0.6})
    runs = tuple(replace(run, is_guessing=run.setting == "a" and run.key.seed < 2) for run in study.runs)
    analysis = analyse(replace(study, runs=runs), ACCURACY, selected_by="valid/loss")
    assert "No better than guessing: a (2 of 3 runs)." in analysis.notes
    assert analysis.verdict.startswith("a has the best valid/loss, and is no better than guessing.")
    assert [row["no_better_than_guessing"] for row in analysis.document()["summary"]] == [2, 0]


def test_identical_constant_and_lonely_runs_are_called_so():
    assert comparison_sentence(compared(FIRST, FIRST)) == "a and b are identical on 8 seeds."
    assert comparison_sentence(compared([x + 0.5 for x in FIRST], FIRST)).startswith("a and b differ by exactly 0.5 on")
    assert comparison_sentence(compared([0.9], [0.8])) == "a and b share 1 seed: a test needs two or more. Add seeds."


def test_the_verdict_of_many_settings_sorts_them_by_what_was_found():
    values = {"none": FIRST, "worse": [x - 0.1 + 0.001 * i for i, x in enumerate(FIRST)], "same": FIRST[::-1]}
    verdict = analyse(study_of(values), ACCURACY, baseline="none").verdict
    assert verdict == "none is better than worse in test/accuracy. No detectable difference from none: same."


def test_the_verdict_says_where_nothing_could_be_tested():
    verdict = analyse(study_of({"a": [0.9], "b": [0.8], "c": [0.7]}), ACCURACY).verdict
    assert verdict == "No test against a was possible for b and c."


def test_the_verdict_says_where_nothing_was_found():
    rng = np.random.default_rng(1)
    verdict = analyse(
        study_of({label: list(rng.normal(0.9, 0.01, 8)) for label in "abc"}), ACCURACY, baseline="a"
    ).verdict
    assert verdict == "No detectable difference in test/accuracy between a and any other setting."
    assert "identical to a" in analyse(study_of(dict.fromkeys("abc", FIRST)), ACCURACY).verdict


def test_one_setting_is_nothing_to_compare():
    assert "nothing to compare" in analyse(study_of({"a": FIRST}), ACCURACY).verdict


def test_the_notes_tell_the_test_the_unit_the_correction_and_how_the_reference_came_about():
    keys = [PairKey(seed=seed, fold=fold) for fold in range(4) for seed in range(2)]
    notes = " ".join(analyse(study_of({"a": FIRST, "b": SECOND, "c": FIRST[::-1]}, keys=keys), ACCURACY).notes)
    assert "Corrected resampled t-test (Nadeau and Bengio 2003)" in notes
    assert "1/n + 0.333" in notes
    assert "One fold is one observation: runs within it share their data and were averaged first." in notes
    assert "Holm's correction over 3 comparisons, every pair of settings" in notes
    assert "No setting was chosen by validation" in notes


def test_a_document_is_plain_json_with_its_sentences():
    document = analyse(study_of({"a": FIRST, "b": SECOND, "c": []}), ACCURACY).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["comparisons"][0]["sentence"].startswith("a is better than b")
    assert document["summary"][2] | {"n": 0, "mean": None} == document["summary"][2]


def test_numbers_read_as_people_write_them():
    assert [number(x) for x in (0.5, 1 / 3, 1234.56, 99999.5, 1e-9, -0.0001234)] == [
        *("0.5", "0.3333", "1235", "100000", "1.000e-09", "-0.0001234")
    ]
    assert [p_text(p) for p in (0.0499, 0.0001, None)] == ["p = 0.05", "p < 0.001", "p unknown"]

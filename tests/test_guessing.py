"""Whether a model is told from one fixed answer: of noise, of weak and strong models, on even and uneven classes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from regplug.api import Task
from regplug.measuring.guessing import find_guess, has_fitted

ROWS = 300


def classes(count):
    return Task(kind="classification", num_outputs=count, class_names=tuple("abcdefghij"[:count]))


VALUES = Task(kind="regression", num_outputs=1)


def drawn(shares, strength, seed=0, rows=ROWS):
    """Logits that know the class by so many standard deviations, the classes, and those of training rows."""
    rng = np.random.default_rng(seed)
    y, train_y = (rng.choice(len(shares), size, p=shares) for size in (rows, 3 * rows))
    logits = rng.normal(size=(rows, len(shares))) + np.log(shares)
    logits[np.arange(rows), y] += strength
    return logits, y, train_y


def found(logits, y, train_y):
    return find_guess(logits, y, train_y, classes(logits.shape[1]), "test")


def test_a_model_that_always_says_the_same_is_no_better_than_guessing():
    _, y, train_y = drawn([0.1] * 10, 0)
    for answer in (0, 3):
        guess = found(np.eye(10)[np.full(ROWS, answer)] * 9, y, train_y)
        assert not guess.is_hidden
        assert guess.value == pytest.approx(np.mean(y == answer))
        assert guess.fixed == pytest.approx(np.mean(y == np.bincount(train_y).argmax()))


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.1] * 10, [0.4, 0.3, 0.3], [0.9, 0.1]], ids=str)
def test_pure_noise_is_called_guessing_but_for_the_chance_that_the_level_allows(shares):
    guesses = [found(*drawn(shares, 0, seed)) for seed in range(300)]
    better = sum(guess is None for guess in guesses)
    hidden = sum(guess is not None and guess.is_hidden for guess in guesses)
    # At 5 % and, twice, at 1 %: 15 and 6 of 300 are expected at most; 28 and 14 come once in a thousand.
    assert better <= 27
    assert hidden <= 13


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.1] * 10, [0.4, 0.3, 0.3]], ids=str)
def test_a_model_that_knows_something_is_not_called_guessing(shares):
    assert all(found(*drawn(shares, 1.5, seed)) is None for seed in range(100))


def test_on_uneven_classes_a_model_that_tells_them_apart_is_not_called_guessing():
    for seed in range(50):
        guess = found(*drawn([0.95, 0.05], 1.5, seed))
        assert guess is None or guess.is_hidden


def test_a_model_that_only_its_probabilities_show_to_have_learned_is_told_so():
    y = np.repeat([0, 1], [285, 15])
    risk = np.where(np.arange(ROWS) % 10 == 0, 0.01, 0.05)
    risk[y == 1] = np.linspace(0.2, 0.45, 15)
    guess = found(np.log(np.stack([1 - risk, risk], axis=1)), y, np.repeat([0, 1], [950, 50]))
    assert (guess.value, guess.fixed, guess.is_hidden) == (0.95, 0.95, True)
    assert guess.sentence.startswith("Accuracy does not show what was learned: test/accuracy 0.95;")
    assert "test/auroc" in guess.advice(0.1, has_fitted=True)


def test_few_rows_that_cannot_tell_are_said_to_be_few():
    y = np.repeat([0, 1], 10)
    answers = np.where(np.arange(20) % 10 < 6, y, 1 - y)
    guess = found(np.eye(2)[answers], y, np.array([0, 0, 1]))
    assert (guess.value, guess.fixed) == (0.6, 0.5)
    assert "on 20 rows, chance alone can explain the difference" in guess.sentence


def test_rows_of_one_class_can_tell_nothing():
    assert found(np.zeros((5, 2)), np.zeros(5, dtype=np.int64), np.array([0, 1])) is None


@pytest.mark.parametrize(
    ("error", "is_guess"), [(0.1, False), (0.9, False), (1.5, True), (100.0, True)], ids=["good", "weak", "bad", "wild"]
)
def test_values_that_explain_nothing_are_no_better_than_the_mean(error, is_guess):
    rng = np.random.default_rng(0)
    y, train_y = rng.normal(3, 1, (ROWS, 1)), rng.normal(3, 1, (ROWS, 1))
    guess = find_guess(y + error * rng.normal(size=y.shape), y, train_y, VALUES, "valid")
    assert (guess is not None) is is_guess
    if guess:
        assert guess.sentence.startswith("No better than guessing: valid/r2 -")


def test_a_model_that_beats_the_training_mean_is_better_even_where_the_test_mean_is_another():
    y, train_y = np.linspace(5, 6, 50)[:, None], np.linspace(0, 1, 50)[:, None]
    shifted = find_guess(y - 1.0, y, train_y, VALUES, "test")
    assert shifted is None


def test_the_advice_looks_at_the_learning_rate_and_at_the_training_rows():
    _, y, train_y = drawn([0.1] * 10, 0)
    guess = found(np.zeros((ROWS, 10)), y, train_y)
    assert "a smaller --lr (it is 5)" in guess.advice(5.0, has_fitted=False)
    assert "a larger --lr (it is 1e-09)" in guess.advice(1e-9, has_fitted=False)
    assert "fits its training rows" in guess.advice(5.0, has_fitted=True)


def test_training_rows_count_as_fitted_well_below_the_loss_of_the_best_fixed_answer():
    y = torch.tensor([0, 0, 0, 1])
    fixed = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert not has_fitted(fixed * 0.9, F.cross_entropy, y, classes(2))
    assert has_fitted(fixed * 0.5, F.cross_entropy, y, classes(2))
    values = torch.tensor([[0.0], [2.0]])
    assert not has_fitted(1.0, F.mse_loss, values, VALUES)
    assert has_fitted(0.1, F.mse_loss, values, VALUES)

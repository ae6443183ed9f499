"""Each first-party regularizer, and a fixed sample of pairs, from digits to a proven bundle."""

from __future__ import annotations

import itertools

import pytest
from trainings import FIRST_PARTY

QUICK = {"dataset": "digits", "batch_size": 128, "epochs": 2, "export": True, "out": "bundle"}
REFUSED = {("early_stopping", "swa")}
ALL_PAIRS = [pair for pair in itertools.combinations(FIRST_PARTY, 2) if pair not in REFUSED]
PAIRS = [ALL_PAIRS[19 * number % len(ALL_PAIRS)] for number in range(20)]
"""Twenty, with each regularizer in one at least: the same for as long as the same regularizers ship."""


def exported(place, regs):
    result = place.run(**QUICK, reg=list(regs))
    failed = [check for check in result.verification.checks if not check.passed]
    assert failed == []
    assert result.verification.passed
    assert {"model.onnx", "model.ts", "manifest.json", "SHA256SUMS"} <= set(result.bundle_files)
    assert place.statuses() == ["FINISHED"]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIRST_PARTY)
def test_each_regularizer_trains_two_epochs_exports_and_verifies(place, name):
    exported(place, [name])


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
def test_a_sample_of_pairs_trains_two_epochs_exports_and_verifies(place, pair):
    exported(place, pair)


@pytest.mark.full
@pytest.mark.parametrize("pair", [pair for pair in ALL_PAIRS if pair not in PAIRS], ids="+".join)
def test_every_other_pair_trains_two_epochs_exports_and_verifies(place, pair):
    exported(place, pair)


def test_the_sample_has_twenty_pairs_and_every_regularizer(tell):
    tell(f"exported and verified: {len(FIRST_PARTY)} regularizers alone and {len(set(PAIRS))} pairs")
    assert len(set(PAIRS)) == 20
    assert {name for pair in PAIRS for name in pair} == set(FIRST_PARTY)

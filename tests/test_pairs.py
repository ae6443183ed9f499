"""Every pair of installed regularizers that do not conflict trains together; compositions that cover them export."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterable, Iterator

import pytest
from alike import assert_alike, at_defaults, refusal
from catalogue import REGULARIZERS, fields

NAMES = list(REGULARIZERS)
PAIRS = list(itertools.combinations(NAMES, 2))
SHARE = 20
"""One pair in so many is in the sample of the slow tests; which ones never changes."""

FAST = 3
SMALL, LARGE = 6, 12
"""Regularizers in one exported composition."""


def is_sampled(pair: tuple[str, str]) -> bool:
    return zlib.crc32("+".join(pair).encode()) % SHARE == 0


def failures(pairs: Iterable[tuple[str, str]]) -> list[str]:
    """What went wrong with pairs that are not refused, one line each."""
    found = []
    for pair in pairs:
        try:
            if not refusal(*pair):
                assert_alike(*pair)
        except Exception as error:  # all of them are reported at once
            found.append(f"{'+'.join(pair)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return found


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if is_sampled(pair)][:FAST], ids="+".join)
def test_a_few_pairs_train_the_same_alone_stacked_and_stopped(pair):
    assert failures([pair]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_pairs_trains_the_same_alone_stacked_and_stopped(name):
    assert failures(pair for pair in PAIRS if pair[0] == name and is_sampled(pair)) == []


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_every_other_pair_trains_the_same_alone_stacked_and_stopped(name):
    assert failures(pair for pair in PAIRS if pair[0] == name and not is_sampled(pair)) == []


@pytest.mark.full
def test_the_pairs_are_counted(tell):
    refused = [pair for pair in PAIRS if refusal(*pair)]
    tell(f"pairs of {len(NAMES)} regularizers: {len(PAIRS)}, trained {len(PAIRS) - len(refused)}, "
         f"refused {len(refused)}: {', '.join('+'.join(pair) for pair in refused)}")  # fmt: skip


def compositions(pairs: Iterable[tuple[str, ...]], size: int) -> Iterator[tuple[str, ...]]:
    """Yields compositions that cover all these sets of regularizers; in each, no two refuse each other."""
    open_sets = list(pairs)
    while open_sets:
        chosen = list(open_sets[0])
        for name in sorted(NAMES, key=lambda one: -sum(one in each for each in open_sets)):
            is_free = name not in chosen and not any(refusal(*sorted((name, other))) for other in chosen)
            if is_free and len(chosen) < size and not refusal(*sorted((*chosen, name))):
                chosen.append(name)
        yield tuple(sorted(chosen))
        open_sets = [each for each in open_sets if not set(each) <= set(chosen)]


def export_failure(place, names: tuple[str, ...], number: int) -> str:
    """Why a composition does not become a proven bundle; empty where it does.

    It is trained at its defaults: a dozen regularizers at their felt values would diverge.
    """
    run = fields(*names)
    try:
        result = place.run(
            **{**run, "reg": at_defaults(run["reg"]), "dtype": "float32"}, export=True, out=f"bundle{number}"
        )
    except Exception as error:  # all of them are reported at once
        return f"{'+'.join(names)}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
    failed = [str(check) for check in result.verification.checks if not check.passed]
    return f"{'+'.join(names)}: {failed}" if failed or not result.verification.passed else ""


@pytest.mark.slow
def test_compositions_that_cover_every_regularizer_export_and_verify(place, tell):
    made = list(compositions(((name,) for name in NAMES), SMALL))
    tell(f"exported and verified: {len(made)} compositions of {len(NAMES)} regularizers")
    assert [found for number, names in enumerate(made) if (found := export_failure(place, names, number))] == []


@pytest.mark.full
def test_compositions_that_cover_every_pair_export_and_verify(place, tell):
    made = list(compositions((pair for pair in PAIRS if not refusal(*pair)), LARGE))
    tell(f"exported and verified: {len(made)} compositions that cover {len(PAIRS)} pairs")
    assert [found for number, names in enumerate(made) if (found := export_failure(place, names, number))] == []

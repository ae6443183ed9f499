"""Each run's own random numbers: moments, keys, blocks."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regplug.noise import (
    NoiseStream,
    at_step,
    beta,
    bits,
    block_length,
    keep_mask,
    normal,
    pass_key,
    permutation,
    uniform,
)

CPU = torch.device("cpu")


def drawn(draw, *, seed=0, key=("a", "b"), length=4, epoch=0, number=0, dtype=torch.float32):
    stream = NoiseStream(seed, {key: draw}, length=length, dtype=dtype, device=CPU)
    return stream.block(epoch, number)[key]


def test_bits_cover_all_of_int16_evenly():
    values = drawn(bits((1000, 250))).double()
    assert values.min() == -32768
    assert values.max() == 32767
    # Uniform on 65,536 numbers: mean -1/2, deviation 65536/sqrt(12).
    assert abs(values.mean() + 0.5) < 5 * 65536 / math.sqrt(12) / math.sqrt(values.numel())


def test_bits_of_a_size_that_four_does_not_divide_have_the_shape_that_was_asked_for():
    assert drawn(bits((3, 5)), length=1).shape == (1, 3, 5)


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 65535 / 65536])
def test_a_mask_keeps_the_share_that_its_scale_makes_up_for(rate):
    mask, scale = keep_mask(drawn(bits((1000, 250))), torch.tensor(rate, dtype=torch.float64))
    kept = float(1 / scale)
    assert kept == pytest.approx(1 - rate, abs=2**-17)
    assert abs(mask.double().mean() - kept) <= 5 * math.sqrt(kept * (1 - kept) / mask.numel())


def test_a_mask_at_rate_zero_keeps_everything_at_scale_one():
    mask, scale = keep_mask(torch.tensor([-32768, 0, 32767], dtype=torch.int16), torch.tensor(0.0))
    assert mask.all()
    assert scale == 1


@given(st.integers(0, 65535))
@settings(max_examples=50, deadline=None)
def test_the_mask_of_every_rate_is_exact_over_all_bits(dropped):
    every = torch.arange(-32768, 32768, dtype=torch.int32).to(torch.int16)
    mask, scale = keep_mask(every, torch.tensor(dropped / 65536, dtype=torch.float64))
    assert mask.double().sum() * scale == pytest.approx(65536, rel=1e-15)


def test_normal_and_uniform_numbers_have_their_moments():
    values = drawn(normal((1000, 50))).double()
    assert abs(values.mean()) < 5 / math.sqrt(values.numel())
    assert abs(values.var() - 1) < 5 * math.sqrt(2 / values.numel())
    values = drawn(uniform((1000, 50))).double()
    assert 0 <= values.min() < values.max() < 1
    assert abs(values.mean() - 0.5) < 5 / math.sqrt(12 * values.numel())


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_have_the_moments_of_the_symmetric_beta(alpha):
    shares = drawn(beta(alpha), length=20_000).double()
    assert 0 <= shares.min() <= shares.max() <= 1
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(shares.mean() - 0.5) < 5 * math.sqrt(variance / len(shares))
    assert float(shares.var()) == pytest.approx(variance, rel=0.05)


def test_a_beta_of_concentration_zero_mixes_nothing():
    assert (drawn(beta(0.0)) == 1).all()


def test_permutations_are_permutations_and_differ_by_step():
    draw = {("a", "b"): permutation(7)}
    block = NoiseStream(0, draw, length=3, dtype=torch.float32, device=CPU).block(0, 0)
    steps = [at_step(block, draw, step, 7, 0)["a"]["b"] for step in range(3)]
    assert all(sorted(one.tolist()) == list(range(7)) for one in steps)
    assert steps[0].tolist() != steps[1].tolist()


def test_a_last_smaller_batch_gets_a_permutation_of_its_own_rows():
    draw = {("a", "b"): permutation(7)}
    block = NoiseStream(0, draw, length=1, dtype=torch.float32, device=CPU).block(0, 0)
    assert sorted(at_step(block, draw, 0, 4, 0)["a"]["b"].tolist()) == [0, 1, 2, 3]


def test_what_is_no_row_of_the_batch_is_not_cut():
    draw = {("a", "rows"): normal((5, 2)), ("a", "all"): normal((5, 2), per_sample=False)}
    block = NoiseStream(0, draw, length=1, dtype=torch.float32, device=CPU).block(0, 0)
    step = at_step(block, draw, 0, 3, 0)["a"]
    assert (step["rows"].shape, step["all"].shape) == ((3, 2), (5, 2))


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"key": ("c", "b")},
        {"key": ("a", "c")},
        {"key": ("a", pass_key("b", 1))},
        {"epoch": 1},
        {"number": 1},
    ],
    ids=["seed", "component", "site", "pass", "epoch", "block"],
)
def test_numbers_are_keyed_by_everything_that_they_are_for(other):
    assert torch.equal(drawn(normal((3,))), drawn(normal((3,))))
    assert not torch.equal(drawn(normal((3,))), drawn(normal((3,)), **other))


def test_numbers_do_not_depend_on_what_else_is_drawn():
    alone = drawn(normal((3,)))
    both = {("a", "b"): normal((3,)), ("0", "first"): bits((9,))}
    together = NoiseStream(0, both, length=4, dtype=torch.float32, device=CPU).block(0, 0)
    assert torch.equal(alone, together["a", "b"])


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    for draw in (bits((3,)), normal((3,)), beta(0.5), permutation(3)):
        drawn(draw)
    assert torch.equal(before, torch.get_rng_state())


def test_a_block_is_as_long_for_one_run_as_for_many():
    one = {("a", "b"): normal((256, 300))}
    assert block_length([one], 100) == block_length([one] * 64, 100)
    assert block_length([{}], 100) == 100
    assert block_length([{("a", "b"): normal((1 << 22,))}], 100) == 1

"""Update rules against torch.optim, and their stacked form against one run at a time."""

from __future__ import annotations

import pytest
import torch

from regplug.errors import ParameterError
from regplug.training.optimizers import SGD, Adam, make_rule

SHAPES = ((3, 4), (3,), (2, 3, 2))
STEPS = 50
RULES = {
    "sgd": (lambda: SGD(), lambda p, lr: torch.optim.SGD(p, lr=lr)),
    "momentum": (lambda: SGD(momentum=0.9), lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9)),
    "nesterov": (
        lambda: SGD(momentum=0.9, nesterov=True),
        lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9, nesterov=True),
    ),
    "adam": (lambda: Adam(), lambda p, lr: torch.optim.Adam(p, lr=lr)),
}


def start(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def gradients(step, run=0):
    generator = torch.Generator().manual_seed(1000 * (run + 1) + step)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def moved(rule, rate_at, run=0):
    """Parameters after all steps of our rule."""
    params = start()
    state = rule.init(params)
    for step in range(STEPS):
        rule.update_(params, gradients(step, run), state, rate_at(step), step)
    return params


@pytest.mark.parametrize("name", RULES)
def test_a_rule_goes_torchs_way_to_1e_12(name):
    ours, torchs = RULES[name]
    params = [p.requires_grad_() for p in start()]
    optimizer = torchs(params, 0.05)
    for step in range(STEPS):
        for param, grad in zip(params, gradients(step), strict=True):
            param.grad = grad
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / (1 + step)
        optimizer.step()
    for own, other in zip(moved(ours(), lambda step: 0.05 / (1 + step)), params, strict=True):
        torch.testing.assert_close(own, other.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", RULES)
def test_a_stack_moves_each_run_at_its_own_rate(name):
    make, rates = RULES[name][0], (0.05, 0.3, 0.0)
    rule = make()
    params = [torch.stack([p] * len(rates)) for p in start()]
    state = rule.init(params)
    for step in range(STEPS):
        grads = [torch.stack(each) for each in zip(*(gradients(step, run) for run in range(3)), strict=True)]
        rule.update_(params, grads, state, torch.tensor(rates, dtype=torch.float64), step)
    for run, rate in enumerate(rates):
        for own, alone in zip(params, moved(make(), lambda _: rate, run), strict=True):  # noqa: B023 - called here
            torch.testing.assert_close(own[run], alone, rtol=1e-12, atol=1e-13)
    for own, begin in zip(params, start(), strict=True):
        assert torch.equal(own[2], begin), "a rate of zero must not move anything"


def test_a_rule_changes_no_gradient():
    for make, _ in RULES.values():
        rule, params, grads = make(), start(), gradients(0)
        rule.update_(params, grads, rule.init(params), 0.1, 0)
        assert all(torch.equal(a, b) for a, b in zip(grads, gradients(0), strict=True))


def test_adamw_is_adam_without_a_decay_of_its_own():
    assert isinstance(make_rule("adamw"), Adam)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"name": "sdg"}, "optimizer=sdg is unknown"),
        ({"name": "sgd", "nesterov": True}, "nesterov=true needs a momentum"),
        ({"name": "adam", "momentum": 0.9}, "momentum=0.9 has no effect on optimizer=adam"),
        ({"name": "adamw", "nesterov": True}, "no effect"),
    ],
)
def test_an_optimizer_that_cannot_be_meant_is_refused(asked, message):
    with pytest.raises(ParameterError, match=message):
        make_rule(**asked)

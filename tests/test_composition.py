"""Many regularizers as one, and every function of the contract called by the loop, for one run and for a stack."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from trainings import assert_same_bits, greatest_difference, stack, step, trained, trainer, weights

from regplug.api import NoParams, Regularizer
from regplug.noise import normal
from regplug.regularization.composition import FUNCTIONS, compose, identity, overrides
from regplug.regularizer import EpochEnd, Identity, Outputs, RegularizerFunctions, Shapes
from regplug.sites import Tap
from regplug_regularizers.gradients.clip_norm import ClipNorm
from regplug_regularizers.gradients.weight_decay import WeightDecay
from regplug_regularizers.mixing.mixup import Mixup
from regplug_regularizers.penalties.norms import L2
from regplug_regularizers.targets.label_smoothing import LabelSmoothing

X, Y = torch.randn(4, 5), torch.tensor([0, 1, 2, 1])
OUTPUTS = Outputs(X, {}, {})


def here(functions, **more):
    """A descriptor of a regularizer of this file."""
    return Regularizer(name=functions.__name__.lower(), target=f"{__name__}:{functions.__name__}", summary="", **more)


SHAPES = Shapes(x=(4, 5), y=(4,), outputs=(4, 3), weights={}, params={}, rows=4)


class Everything(RegularizerFunctions):
    """Acts in each function with state: an average, a projection, a decay, a stop."""

    def noise(self, shapes, settings):
        return {"x": normal(shapes.x), "order": normal((2,), per_sample=False)}

    def init(self, shapes, params, buffers):
        return {f"slow.{name}": value.clone() for name, value in params.items()} | {
            "steps": next(iter(params.values())).new_zeros(()),
            "rate": next(iter(params.values())).new_ones(()),
        }

    def batch(self, step, x, y):
        return x + 0.01 * step.noise["x"], y

    def penalty(self, step, weights, outputs):
        return 0.001 * outputs.logits.square().mean()

    def wrap_loss(self, step, loss):
        def wrapped(params, number=0, **batch):
            value, outputs = loss(params, number, **batch)
            return 0.9 * value, outputs

        return wrapped

    def perturb(self, step, params, grads):
        return {name: value + 0.01 * grads[name] for name, value in params.items()}

    def gradients(self, step, params, grads):
        return {name: 0.5 * grad for name, grad in grads.items()}, {**step.state, "steps": step.state["steps"] + 1}

    def decay(self, step, name, weight):
        return weight.new_full((), 0.01)

    def after_step(self, step, params):
        slow = {f"slow.{n}": 0.9 * step.state[f"slow.{n}"] + 0.1 * value for n, value in params.items()}
        return params, {**step.state, **slow}

    def project(self, step, name, weight):
        return weight.clamp(-2, 2)

    def after_epoch(self, step, metrics, params, buffers):
        rate = torch.full_like(step.state["rate"], 0.5)
        return EpochEnd(params, buffers, {**step.state, "rate": step.state["rate"] * rate}, rate_scale=rate)

    def evaluated(self, step, params, buffers):
        return {name: step.state[f"slow.{name}"] for name in params}, buffers

    def finalize(self, step, params, buffers, batches):
        return self.evaluated(step, params, buffers)


class RDrop(RegularizerFunctions):
    """Two passes with masks of their own. Source: Wu et al. 2021."""

    passes = 2

    def wrap_loss(self, step, loss):
        def wrapped(params, number=0, **batch):
            first, a = loss(params, number, **batch)
            second, b = loss(params, number + 1, **batch)
            return first + second + (a.logits - b.logits).square().mean(), a

        return wrapped


class Activity(RegularizerFunctions):
    """A penalty on the activations."""

    def restructure(self, model, sites):
        self.taps = [Tap() for _ in sites.activations()]
        for site, tap in zip(sites.activations(), self.taps, strict=True):
            sites.after(site, tap)

    def penalty(self, step, weights, outputs):
        return 0.01 * sum(outputs.taps[f"{tap.owner}/{tap.key}"].square().mean() for tap in self.taps)


class StopAtOnce(RegularizerFunctions):
    """Stops after the first epoch."""

    def after_epoch(self, step, metrics, params, buffers):
        return EpochEnd(params, buffers, step.state, stop=metrics["train/objective"] < 1e9)


class SeesProbabilities(RegularizerFunctions):
    """Says what targets it saw."""

    needs_soft_targets = True

    def batch(self, step, x, y):
        self.seen = y
        return x, y


class SeesClasses(SeesProbabilities):
    """As the other, before anybody asked for probabilities."""

    needs_soft_targets = False


# The composition itself.


def test_identity_acts_nowhere():
    assert not any(overrides(identity, name) for name in FUNCTIONS)
    assert not any(overrides(compose({"a": identity, "b": Identity()}), name) for name in FUNCTIONS)


def test_the_empty_composition_is_neutral():
    nothing, params = compose({}), {"w": torch.ones(2, 2)}
    assert nothing.batch(step(), X, Y)[0] is X
    assert nothing.penalty(step(), params, OUTPUTS) is None
    assert nothing.perturb(step(), params, params) is None
    assert nothing.gradients(step(), params, params) == (params, {})
    assert nothing.decay(step(), "w", params["w"]) is None
    assert nothing.passes == 1


def test_penalties_and_decays_add_up():
    two = compose([("a", L2(NoEverything())), ("b", L2(NoEverything()))])
    settings = step({}).__class__(
        {"a": {"strength": torch.tensor(2.0)}, "b": {"strength": torch.tensor(3.0)}}, {}, step().clock
    )
    assert two.penalty(settings, {"w": torch.tensor([[1.0, 2.0]])}, OUTPUTS) == (2 + 3) / 2 * 5
    decays = compose([("a", WeightDecay(NoEverything())), ("b", WeightDecay(NoEverything()))])
    assert decays.decay(settings, "w", torch.ones(1, 1)) == 5


class NoEverything:
    """Parameters of a penalty in its default."""

    everything = False


def test_classes_become_probabilities_before_the_first_that_asks_and_only_then():
    members = [("a", SeesClasses()), ("b", SeesProbabilities()), ("c", SeesClasses())]
    _, y = compose(members).batch(step(), X, Y)
    seen = [functions.seen for _, functions in members]
    assert seen[0] is Y
    assert torch.equal(seen[1], F.one_hot(Y, 3).float())
    assert seen[2] is seen[1] is y
    assert compose(members[:1]).batch(step(), X, Y)[1] is Y


def test_state_lies_flat_under_the_members_keys_and_comes_back_to_them():
    both = compose({"one": Everything(), "two": Everything()})
    params = {"w": torch.ones(2, 2)}
    state = both.init(SHAPES, params, {})
    assert sorted(state) == ["one/rate", "one/slow.w", "one/steps", "two/rate", "two/slow.w", "two/steps"]
    grads, state = both.gradients(step(state=state), params, params)
    assert (state["one/steps"], state["two/steps"]) == (1, 1)
    assert torch.equal(grads["w"], 0.25 * params["w"])


def test_a_key_that_begins_like_another_keeps_its_own_state():
    both = compose({"a": Everything(), "a/b": Everything()})
    state = both.init(SHAPES, {"w": torch.ones(1, 1)}, {})
    _, state = both.after_step(step(state=state), {"w": torch.zeros(1, 1)})
    assert state["a/slow.w"] == state["a/b/slow.w"] == 0.9


def test_one_that_stops_is_enough_and_rates_multiply():
    end = compose({"a": Everything(), "b": Everything(), "c": StopAtOnce()}).after_epoch(
        step(state={"a/rate": torch.tensor(1.0), "b/rate": torch.tensor(1.0)}),
        {"train/objective": torch.tensor(1.0)},
        {},
        {},
    )
    assert end.stop
    assert end.rate_scale == 0.25


def test_a_composition_of_compositions_draws_and_acts_like_its_members():
    inner = compose({"noisy": Everything(), "clip": ClipNorm()})
    outer = compose({"all": inner, "idle": identity})
    draws = outer.draws(lambda key: SHAPES, {})
    assert sorted(draws) == [("all", "noisy/order"), ("all", "noisy/x")]
    noise = {"all": {"noisy/x": torch.ones(4, 5), "noisy/order": torch.ones(2)}}
    x, _ = outer.batch(step().__class__({}, noise, step().clock), X, Y)
    assert torch.equal(x, X + 0.01)
    assert compose({"all": compose({"r": RDrop()})}).passes == 2


# What the loop makes of it.


def test_every_function_of_the_contract_is_called_by_the_loop(monkeypatch):
    called = set()
    for name in FUNCTIONS:
        original = getattr(Everything, name)

        def spy(self, *args, _name=name, _original=original):
            called.add(_name)
            return _original(self, *args)

        monkeypatch.setattr(Everything, name, spy)
    trained(trainer(reg=[here(Everything)], epochs=2))
    assert called == set(FUNCTIONS)


@pytest.mark.parametrize("functions", [Everything, RDrop, Activity], ids=lambda one: one.__name__)
@pytest.mark.parametrize("others", [[], ["dropout", "batchnorm"]], ids=["alone", "with dropout and batchnorm"])
def test_a_regularizer_of_ones_own_trains_stacked_as_it_trains_alone(functions, others):
    common = {"reg": [here(functions), *others], "dtype": "float64"}
    runs = [{"seed": 0, "lr": 0.1}, {"seed": 1, "lr": 0.2}]
    together = trained(stack(*runs, **common))[0]
    for number, run in enumerate(runs):
        alone = trained(trainer(**common, **run))[0]
        assert greatest_difference(weights(together, number), weights(alone), relative=True) < 1e-9


def test_a_second_pass_has_masks_of_its_own():
    twice = trainer(reg=[here(RDrop), "dropout"])
    draws = twice._feed._draws[0]
    assert sorted(key for _, key in draws) == [
        "activation1#0",
        "activation1#0@1",
        "activation2#0",
        "activation2#0@1",
    ]
    without = trained(trainer(reg=[here(RDrop)]))[0]
    assert greatest_difference(weights(trained(twice)[0]), weights(without)) > 1e-3


def test_a_penalty_on_activations_shrinks_them():
    plain, _ = trained(trainer())
    punished, records = trained(trainer(reg=[here(Activity)]))
    assert records[0].metrics["train/objective"] > records[0].metrics["train/running_loss"]
    assert greatest_difference(weights(plain), weights(punished)) > 1e-4


def test_a_run_that_a_regularizer_stops_goes_no_further():
    made, records = trained(trainer(reg=[here(StopAtOnce)], epochs=5))
    assert [record.epoch for record in records] == [1]
    assert made.state.stopped == [1]


@pytest.mark.parametrize("regs", [[], ["dropout", "l2"], ["batchnorm", "sam", "swa"]], ids="+".join)
def test_composing_what_changes_nothing_changes_no_bit(regs):
    plain = weights(trained(trainer(reg=regs))[0])
    assert_same_bits(plain, weights(trained(trainer(reg=[*regs, "none"]))[0]))
    assert_same_bits(plain, weights(trained(trainer(reg=[here(Identity_), *regs]))[0]))


class Identity_(RegularizerFunctions):  # noqa: N801 - the other one is final
    """Neutral."""


@pytest.mark.parametrize(
    "other", ["l2:strength=0", "input_noise:std=0", "sam:rho=0", "weight_decay:strength=0", "max_norm:max_norm=1e9"]
)
def test_masks_are_not_changed_by_another_component(other):
    plain = weights(trained(trainer(reg=["dropout", "l1"]))[0])
    assert_same_bits(plain, weights(trained(trainer(reg=["dropout", "l1", other]))[0]))


def test_one_regularizer_twice_under_two_names_is_both():
    once = weights(trained(trainer(reg=["l2:strength=0.02"], dtype="float64"))[0])
    twice = weights(trained(trainer(reg=["l2:strength=0.015", "l2@more:strength=0.005"], dtype="float64"))[0])
    assert greatest_difference(once, twice) < 1e-14


def test_the_order_of_writing_changes_no_bit():
    regs = ["mixup", "label_smoothing", "dropout", "batchnorm", "swa"]
    assert_same_bits(weights(trained(trainer(reg=regs))[0]), weights(trained(trainer(reg=regs[::-1]))[0]))


def test_smoothing_comes_after_mixing():
    members = {"mixup": Mixup(NoParams()), "label_smoothing": LabelSmoothing(NoParams())}
    order = [member.key for member in trainer(reg=list(members)[::-1])._program.regularizer.members]
    assert order == ["mixup", "label_smoothing"]

"""What a step carries and how it runs the model again: batch, state and passes."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from trainings import NormedNet, assembled, assert_same_bits, greatest_difference, stack, trained, trainer, weights
from written_here import here

from regplug.data import order
from regplug.errors import PluginError
from regplug.regularizer import EpochEnd, RegularizerFunctions
from regplug.runs.loading import pools_of
from regplug.sites import SiteLayer
from regplug.training.course import Pools
from regplug.training.loop import Trainer

# The batch.


class Remembers(RegularizerFunctions):
    """Keeps each row's inputs, targets and visits."""

    def init(self, shapes, params, buffers):
        like = next(iter(params.values()))
        return {
            "x": like.new_zeros(shapes.rows, *shapes.x[1:]),
            "labels": torch.zeros(shapes.rows, *shapes.y[1:], dtype=torch.int64),
            "visits": like.new_zeros(shapes.rows),
        }

    def after_step(self, step, params):
        batch, state = step.batch, step.state
        return params, {
            "x": state["x"].index_put((batch.rows,), batch.x),
            "labels": state["labels"].index_put((batch.rows,), batch.labels),
            "visits": state["visits"].index_put((batch.rows,), state["visits"][batch.rows] + 1),
        }


def of_folds(rows, *, stacked, **fields):
    """A trainer of runs that each train on their own rows of one pool."""
    made = [assembled(**fields, seed=seed) for seed in range(len(rows))]
    train, _, test = pools_of(made[0].data)
    inputs = [
        dataclasses.replace(one.inputs, train_rows=own, valid_rows=own) for one, own in zip(made, rows, strict=True)
    ]
    return Trainer(
        program=made[0].program,
        rule=made[0].rule,
        runs=inputs if stacked else inputs[:1],
        pools=Pools(train=train, valid=train, test=test),
        course=dataclasses.replace(made[0].course, factors=[1.0] * 100),
        places=made[0].network.places,
        stacked=stacked,
    )


@pytest.mark.parametrize("stacked", [False, True])
def test_rows_are_numbers_in_the_runs_own_training_split(stacked):
    folds = [torch.arange(32, 104), torch.arange(0, 72)]
    made, _ = trained(of_folds(folds, stacked=stacked, reg=[here(Remembers)], epochs=2))
    data = assembled().data.train
    for run, rows in enumerate(folds if stacked else folds[:1]):
        state = {n: value[run] if stacked else value for n, value in made.state.regularizer.items()}
        assert torch.equal(state["remembers/x"], data.x[rows])
        assert torch.equal(state["remembers/labels"], data.y[rows])
        assert torch.equal(state["remembers/visits"], torch.full((72,), 2.0))


SEEN = []


class Looks(RegularizerFunctions):
    """Notes the batch of each phase."""

    def batch(self, step, x, y):
        SEEN.append(("batch", step.batch, x, step.run().logits, step.run(x=x).logits))
        return x, y

    def penalty(self, step, weights, outputs):
        SEEN.append(("penalty", step.batch))

    def gradients(self, step, params, grads):
        SEEN.append(("gradients", step.batch, step.outputs))
        return grads, step.state


class Doubles(RegularizerFunctions):
    """Doubles the inputs."""

    def batch(self, step, x, y):
        return 2 * x, y


def test_the_batch_of_a_step_is_as_the_data_phase_has_left_it_so_far():
    SEEN.clear()
    regs = [here(Doubles), here(Looks), "mixup:alpha=1.0"]
    made = trainer(reg=regs, epochs=1, seed=3)
    list(made.train())
    data = assembled().data.train
    first = order(104, 3, 0)[:32]
    (_, early, x, by_default, at_x), (_, late), (_, after, outputs) = SEEN[:3]
    assert torch.equal(early.x, 2 * data.x[first])
    assert early.x is x
    assert torch.equal(by_default, at_x)
    assert torch.equal(early.y, data.y[first])
    for batch in (late, after):
        assert torch.equal(batch.labels, data.y[first])
        assert torch.equal(batch.rows, first)
        assert batch.y.shape == (32, 3)
        assert not torch.equal(batch.x, early.x)
    assert outputs.logits.shape == (32, 3)
    assert not outputs.logits.requires_grad


class Counts(RegularizerFunctions):
    """Penalises the weights by how many steps were done, as its state counts them."""

    def init(self, shapes, params, buffers):
        return {"steps": next(iter(params.values())).new_zeros(())}

    def penalty(self, step, weights, outputs):
        assert step.state["steps"].shape == ()
        return 0.001 * step.state["steps"] * sum(w.square().sum() for w in step.select(weights).values())

    def after_step(self, step, params):
        return params, {"steps": step.state["steps"] + 1}


class CountsByClock(RegularizerFunctions):
    """The same by the clock."""

    def penalty(self, step, weights, outputs):
        return 0.001 * step.clock.index * sum(w.square().sum() for w in step.select(weights).values())


def test_the_objective_sees_the_state_that_the_last_step_left():
    fields = {"epochs": 2, "dtype": "float64"}
    by_state, by_clock = (trained(trainer(reg=[here(one)], **fields))[0] for one in (Counts, CountsByClock))
    assert greatest_difference(weights(by_state), weights(by_clock)) < 1e-12
    many, _ = trained(stack({"seed": 0}, {"seed": 1}, reg=[here(Counts)], **fields))
    assert greatest_difference(weights(many, 0), weights(by_state)) < 1e-12


# Passes.


class Again(RegularizerFunctions):
    """Runs the model in both modes in each phase that has a batch, and changes nothing."""

    def batch(self, step, x, y):
        step.run(x=3 * x)
        return x, y

    def penalty(self, step, weights, outputs):
        assert torch.equal(step.run().logits, outputs.logits)
        return 0.0 * step.run(x=2 * step.batch.x).logits.sum() + 0.0 * step.run(training=False).logits.sum()

    def gradients(self, step, params, grads):
        step.gradient(lambda x: step.run(x=x).logits.sum(), step.batch.x)
        return grads, step.state

    def after_step(self, step, params):
        step.run(params=params)
        return params, step.state


def test_only_the_outermost_pass_of_a_step_moves_running_statistics():
    fields = {"model": NormedNet, "epochs": 2, "dtype": "float64"}
    with_passes, without = (trained(trainer(reg=reg, **fields))[0] for reg in ([here(Again)], []))
    assert_same_bits(weights(with_passes), weights(without))
    assert int(weights(without)["norm.num_batches_tracked"]) == 8


class Evaluates(RegularizerFunctions):
    """Remembers the outputs in evaluation mode at the start of each step."""

    def init(self, shapes, params, buffers):
        return {"logits": next(iter(params.values())).new_zeros(8, 3)}

    def gradients(self, step, params, grads):
        return grads, {"logits": step.run(training=False).logits[:8]}


@pytest.mark.parametrize("stacked", [False, True])
def test_a_pass_in_evaluation_mode_has_no_noise_and_takes_running_statistics(stacked):
    fields = {"model": NormedNet, "dtype": "float64", "reg": [here(Evaluates), "dropout"], "lr": 0.0, "epochs": 1}
    made, _ = trained(stack({}, {"seed": 1}, **fields) if stacked else trainer(**fields))
    network = NormedNet().double()
    params, buffers = made.tensors_of(0)
    network.load_state_dict({**params, **buffers})
    state = made.state.regularizer["evaluates/logits"]
    last = order(104, 0, 0)[96:]
    expected = network.eval()(assembled(dtype="float64").data.train.x[last])
    torch.testing.assert_close(state[0] if stacked else state, expected, rtol=1e-12, atol=1e-12)
    assert not any(module.training for module in network.modules())
    assert network is not None


def test_modes_are_restored_after_a_pass_in_evaluation_mode():
    made = trainer(model=NormedNet, reg=[here(Again)], epochs=1)
    made._program.model.norm.eval()
    list(made.train())
    assert [module.training for module in made._program.model.modules()].count(False) <= 1


class TakesAnotherPass(RegularizerFunctions):
    """Asks for the noise of a pass that it has not declared."""

    def penalty(self, step, weights, outputs):
        return step.run(number=1).logits.sum()


def test_a_pass_whose_noise_was_not_declared_is_refused():
    with pytest.raises(PluginError, match=r"takesanotherpass runs pass 1") as caught:
        trained(trainer(reg=[here(TakesAnotherPass), "dropout"]))
    assert "passes = 2" in caught.value.hint


class TrainsAfterAnEpoch(RegularizerFunctions):
    """Runs the model in training mode where there is no noise."""

    def after_epoch(self, step, metrics, params, buffers):
        step.run(x=torch.zeros(4, 8))
        return EpochEnd(params, buffers, step.state)


class EvaluatesAfterAnEpoch(RegularizerFunctions):
    """Runs the model in evaluation mode at the end of an epoch."""

    def after_epoch(self, step, metrics, params, buffers):
        assert step.run(x=torch.zeros(4, 8), training=False).logits.shape == (4, 3)
        return EpochEnd(params, buffers, step.state)


def test_a_pass_in_training_where_there_is_no_noise_is_refused():
    trained(trainer(reg=[here(EvaluatesAfterAnEpoch), "dropout"], epochs=1))
    with pytest.raises(PluginError, match=r"trainsafteranepoch .* no noise") as caught:
        trained(trainer(reg=[here(TrainsAfterAnEpoch), "dropout"], epochs=1))
    assert "training=False" in caught.value.hint


class WantsABatch(RegularizerFunctions):
    """Runs the model at the end of an epoch without saying at which inputs."""

    def after_epoch(self, step, metrics, params, buffers):
        step.run(training=False)


class WantsBatches(RegularizerFunctions):
    """Recomputes statistics at the end of an epoch without saying from which batches."""

    def after_epoch(self, step, metrics, params, buffers):
        step.recompute_statistics(params, buffers)


@pytest.mark.parametrize(("functions", "hint"), [(WantsABatch, "Give step.run its x"), (WantsBatches, "pass its")])
def test_what_needs_a_batch_is_refused_in_a_phase_without_one(functions, hint):
    with pytest.raises(PluginError, match=functions.__name__.lower()) as caught:
        trained(trainer(model=NormedNet, reg=[here(functions)], epochs=1))
    assert hint in caught.value.hint


class Curriculum(RegularizerFunctions):
    """Scales the inputs by a number in its state, and adds their mean before the normalization."""

    def restructure(self, model, sites):
        sites.before(next(site for site in sites if site.name == "norm"), AddsMean())

    def init(self, shapes, params, buffers):
        return {"scale": next(iter(params.values())).new_full((), 2.0)}

    def batch(self, step, x, y):
        return step.state["scale"] * x, y

    def evaluated(self, step, params, buffers):
        return params, step.recompute_statistics(params, buffers)

    def finalize(self, step, params, buffers, batches):
        return params, step.recompute_statistics(params, buffers, batches)


class AddsMean(SiteLayer):
    def act(self, step, noise, x):
        return x + step.batch.x.mean()


class WithMean(NormedNet):
    def forward(self, x):
        return self.norm(self.first(x) + x.mean())


@pytest.mark.parametrize("stacked", [False, True])
def test_the_batches_of_recomputed_statistics_are_those_of_the_data_phase_and_know_the_state(stacked):
    fields = {"model": NormedNet, "dtype": "float64", "reg": [here(Curriculum)], "epochs": 1}
    made, _ = trained(stack({}, {"seed": 1}, **fields) if stacked else trainer(**fields))
    network, x = WithMean().double(), assembled(dtype="float64").data.train.x
    params, buffers = made.tensors_of(0)
    network.load_state_dict({**params, **buffers})
    torch.optim.swa_utils.update_bn((2 * x[rows] for rows in order(104, 0, "finish").split(32)), network)
    torch.testing.assert_close(network.norm.running_mean, buffers["norm.running_mean"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(network.norm.running_var, buffers["norm.running_var"], rtol=1e-12, atol=1e-12)

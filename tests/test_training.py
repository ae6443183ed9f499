"""The loop for one run: records, repeats, divergence, and going on where it stopped."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from trainings import assembled, assert_same_bits, toy, trained, trainer, weights

from regplug.errors import DivergedError
from regplug.training.state_hash import state_sha256

ONE_OF_EACH_PHASE = (
    "batchnorm",
    "clip_norm",
    "dropout",
    "input_noise",
    "l2",
    "max_norm",
    "mixup",
    "sam",
    "swa",
    "weight_decay",
)


def saved_and_loaded(state):
    """A state that went through a file which may hold only tensors and plain values."""
    file = io.BytesIO()
    torch.save(state.to_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def goes_on(epochs_before, **fields):
    """Trains, stops after some epochs, and goes on in a fresh trainer."""
    first = trainer(**fields)
    for _ in zip(range(epochs_before), first.train(), strict=False):
        pass
    second = trainer(**fields)
    second.state.load_dict(saved_and_loaded(first.state))
    return trained(second)[0]


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_all_phases_together_go_on_from_any_epoch_to_the_same_bits(epochs):
    fields = {"reg": ONE_OF_EACH_PHASE, "optimizer": "adam", "lr": 0.01, "epochs": 4}
    assert_same_bits(weights(trained(trainer(**fields))[0]), weights(goes_on(epochs, **fields)))


def test_a_run_that_had_stopped_early_does_not_go_on():
    fields = {"reg": ["early_stopping:patience=1,min_delta=1e9"], "epochs": 10}
    whole, records = trained(trainer(**fields))
    assert len(records) == 2
    assert_same_bits(weights(whole), weights(goes_on(9, **fields)))


def test_a_saved_state_is_a_copy():
    made = trainer(reg=["swa:start=0"])
    saved = made.state.to_dict()
    before = {name: value.clone() for name, value in saved["params"].items()}
    trained(made)
    assert_same_bits(before, saved["params"])


# Repeats.


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    fields = {"reg": ["dropout", "mixup", "input_noise"]}
    first, second, other = (trained(trainer(**fields, seed=seed))[0] for seed in (3, 3, 4))
    assert_same_bits(weights(first), weights(second))
    assert not torch.equal(weights(first)["output.weight"], weights(other)["output.weight"])


def test_seed_zero_of_the_data_changes_the_split_and_not_the_start():
    first, second = (assembled(dataset="digits", data_seed=seed) for seed in (0, 1))
    assert first.data.digest != second.data.digest
    assert_same_bits(dict(first.inputs.params), dict(second.inputs.params))


def test_evaluating_more_often_changes_no_bit():
    often, rarely = (trained(trainer(reg=["dropout", "batchnorm"], evaluate_every=n))[0] for n in (1, 50))
    assert_same_bits(weights(often), weights(rarely))


def test_looking_at_weights_and_outputs_in_the_middle_changes_no_bit():
    fields = {"reg": ["dropout", "batchnorm", "swa:start=0.2"]}
    watched = trainer(**fields)
    for _ in watched.train():
        watched.weights_of(0)
        watched.outputs("test")
        watched.evaluate("train")
    watched.finish()
    assert_same_bits(weights(watched), weights(trained(trainer(**fields))[0]))


def test_a_block_of_noise_is_as_long_as_the_configuration_says_and_bits_do_not_depend_on_the_machine(monkeypatch):
    fields = {"reg": ["dropout"], "batch_size": 8}
    one = trainer(**fields)._feed
    monkeypatch.setattr("regplug.noise.BLOCK_NUMBERS", 1000)
    short = trainer(**fields)._feed
    assert (one._length, short._length) == (13, 3)
    assert len(list(short.epoch(0))) == len(list(one.epoch(0))) == 13
    rows = torch.cat([batch.x for batch in short.epoch(0)])
    assert torch.equal(rows, torch.cat([batch.x for batch in one.epoch(0)])), "the order is no noise"


# Records.


def test_a_record_holds_what_was_optimised_and_what_was_measured():
    made, records = trained(trainer(reg=["l2:strength=0.5"], epochs=6))
    first, fifth, last = records[0].metrics, records[4].metrics, records[5].metrics
    assert set(first) == {
        "train/objective", "train/running_loss", "train/running_accuracy",
        "valid/loss", "valid/accuracy", "test/loss", "test/accuracy",
    }  # fmt: skip
    assert {"train/loss", "train/accuracy"} <= set(fifth) & set(last)
    assert first["train/objective"][0] > first["train/running_loss"][0]
    assert last["test/loss"] == made.evaluate("test")["test/loss"]
    assert [record.epoch for record in records] == [1, 2, 3, 4, 5, 6]


def test_metrics_of_an_epoch_weigh_a_smaller_last_batch_by_its_rows():
    made = trainer(lr=0.0, epochs=1, shuffle=False)
    record = next(made.train())
    assert record.metrics["train/running_loss"][0] == pytest.approx(made.evaluate("train")["train/loss"][0], rel=1e-5)
    assert record.metrics["train/running_accuracy"] == pytest.approx(made.evaluate("train")["train/accuracy"])


def test_accuracy_and_loss_are_those_of_the_outputs():
    made, _ = trained(trainer())
    logits, y = made.outputs("test"), assembled().data.test.y
    got = made.evaluate("test")
    assert got["test/loss"][0] == pytest.approx(float(torch.nn.functional.cross_entropy(logits, y)), rel=1e-5)
    assert got["test/accuracy"][0] == pytest.approx(float((logits.argmax(1) == y).double().mean()))


def test_running_accuracy_is_judged_by_the_classes_before_mixing():
    _, records = trained(trainer(reg=["mixup:alpha=0"]))
    _, plain = trained(trainer())
    assert records[-1].metrics["train/running_accuracy"] == plain[-1].metrics["train/running_accuracy"]


def test_no_epochs_train_nothing_and_can_be_evaluated():
    made, records = trained(trainer(reg=["swa", "batchnorm"], epochs=0))
    assert records == []
    assert made.evaluate("test")["test/loss"][0] > 0


def test_a_rate_of_zero_moves_nothing():
    made = assembled(reg=["l2", "dropout"])
    assert_same_bits(
        {name: value.clone() for name, value in made.inputs.params.items()},
        dict(trained(trainer(reg=["l2", "dropout"], lr=0.0))[0].tensors_of(0)[0]),
    )


def test_frozen_parameters_stay_and_are_not_penalised():
    model = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU(), torch.nn.Linear(6, 3))
    model[0].requires_grad_(False)
    made, _ = trained(trainer(model=model, reg=["l2:strength=1", "weight_decay", "max_norm:max_norm=0.01"]))
    assert torch.equal(weights(made)["0.weight"], model[0].weight)
    assert not torch.equal(weights(made)["2.weight"], model[2].weight)


def test_parameters_that_the_output_does_not_need_get_a_gradient_of_zero():
    class Idle(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = torch.nn.Linear(8, 3), torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    model = Idle()
    made, _ = trained(trainer(model=model, reg=["clip_norm", "sam"]))
    assert torch.equal(weights(made)["idle.weight"], model.idle.weight)


def test_rows_of_one_feature_and_one_class_column_train():
    made, _ = trained(trainer(dataset=toy("regression", features=1), model="linear"))
    assert made.outputs("test").shape == (56, 3)


# Divergence.


def test_a_run_that_diverges_names_step_and_part():
    with pytest.raises(DivergedError, match=r"NaN or infinite at step \d+ \(epoch 1\)") as caught:
        trained(trainer(lr=1e30))
    assert "--lr" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"reg": ["l2:strength=1e38"], "init": "normal:std=1e3"}, r"the penalty \(l2\)"),
        ({"reg": ["l2:strength=1e30"], "lr": 1e20}, "the optimizer's update"),
    ],
)
def test_divergence_is_told_by_the_part_that_made_it(fields, part):
    with pytest.raises(DivergedError, match=part):
        trained(trainer(**fields))


def test_a_weight_that_overflows_without_a_loss_to_show_it_is_found():
    made = trainer(reg=["weight_decay:strength=1e38,everything=true"], lr=1.0, epochs=1)
    with pytest.raises(DivergedError, match=r"NaN or infinite"):
        trained(made)


def test_divergence_leaves_the_model_in_the_mode_that_it_had():
    made = trainer(lr=1e30, reg=["dropout"])
    made._program.model.eval()
    with pytest.raises(DivergedError):
        trained(made)
    assert not any(module.training for module in made._program.model.modules())


def test_records_are_values():
    record = next(trainer().train())
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.epoch = 3


def test_a_trained_state_has_one_hash():
    made, _ = trained(trainer(reg=["dropout"]))
    again, _ = trained(trainer(reg=["dropout"]))
    assert state_sha256(made._program.model) == state_sha256(again._program.model)

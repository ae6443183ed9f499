"""What a regularizer's functions return: in any order, and one clear error where it does not fit the contract."""

from __future__ import annotations

import pytest
from trainings import assert_same_bits, stack, trained, trainer, weights
from written_here import here

from regplug.errors import PluginError
from regplug.regularizer import EpochEnd, RegularizerFunctions

# All hidden layers have the same shapes, so that a tensor in another's place fits.
FIELDS = {"model": "mlp:hidden=[8,8]", "dtype": "float64", "epochs": 1}


class Ordered(RegularizerFunctions):
    """Moves and shrinks everything, and returns each dict in the order of the run's parameters."""

    def arranged(self, tensors):
        return dict(tensors)

    def init(self, shapes, params, buffers):
        return self.arranged({name: 0 * value for name, value in params.items()})

    def perturb(self, step, params, grads):
        return self.arranged({name: value + 0.1 * grads[name] for name, value in params.items()})

    def gradients(self, step, params, grads):
        return self.arranged({name: 0.5 * value for name, value in grads.items()}), step.state

    def after_step(self, step, params):
        state = {name: step.state[name] + value for name, value in params.items()}
        return self.arranged({name: 0.9 * value for name, value in params.items()}), self.arranged(state)

    def after_epoch(self, step, metrics, params, buffers):
        moved = {name: value + 0.01 * step.state[name] for name, value in params.items()}
        return EpochEnd(self.arranged(moved), self.arranged(buffers), self.arranged(step.state))

    def evaluated(self, step, params, buffers):
        return self.arranged(params), self.arranged(buffers)

    def finalize(self, step, params, buffers, batches):
        return self.arranged(params), self.arranged(buffers)


class Reversed(Ordered):
    """The same with each dict in the opposite order."""

    def arranged(self, tensors):
        return dict(reversed(list(tensors.items())))


def test_the_order_of_a_returned_dict_has_no_effect():
    alone = {kind: weights(trained(reg=[here(kind)], **FIELDS)[0]) for kind in (Ordered, Reversed)}
    assert_same_bits(alone[Ordered], alone[Reversed])
    runs = {"seed": 0}, {"seed": 1}
    many = {kind: weights(trained(stack(*runs, reg=[here(kind)], **FIELDS))[0], 1) for kind in (Ordered, Reversed)}
    assert_same_bits(many[Ordered], many[Reversed])


def without_one(tensors):
    return {name: value for name, value in tensors.items() if name != "output.bias"}


def renamed(tensors):
    return {f"my.{name}" if name == "output.bias" else name: value for name, value in tensors.items()}


def returning(function, result):
    """A regularizer class with one function, which returns what `result` makes of its arguments."""
    kind = type("Mistaken", (RegularizerFunctions,), {function: lambda self, *given: result(*given)})
    kind.__module__ = __name__
    return kind


def state_of(value):
    return lambda *_: {"seen": value}


LOST = [
    ("perturb", lambda _, params, grads: without_one(params), "returns parameters by other names .* lacks output.bias"),
    ("perturb", lambda _, params, grads: renamed(params), "lacks output.bias and has the unknown my.output.bias"),
    ("perturb", lambda _, params, grads: list(params.values()), "returns a list of 6 as parameters"),
    ("gradients", lambda step, params, grads: (without_one(grads), step.state), "lacks output.bias"),
    ("gradients", lambda step, params, grads: grads, "returns a dict"),
    ("after_step", lambda step, params: (without_one(params), step.state), "lacks output.bias"),
    ("after_step", lambda step, params: params, "returns a dict"),
    ("after_step", lambda step, params: None, "returns None"),
    ("after_step", lambda step, params: (params, {"seen": 3}), "returns an int for seen of its state"),
    (
        "after_step",
        lambda step, params: ({name: value.mean() for name, value in params.items()}, step.state),
        r"returns a tensor of shape \(\) for hidden1.weight",
    ),
    ("after_epoch", lambda step, metrics, params, buffers: (params, buffers, step.state), "returns a tuple of 3"),
    ("after_epoch", lambda step, _, params, buffers: EpochEnd(params, buffers, {"seen": [1]}), "returns a list of 1"),
    ("after_epoch", lambda step, _, params, buffers: EpochEnd({}, buffers, step.state), "lacks .*output.bias"),
    ("init", state_of(3), "returns an int for seen of its state"),
    ("init", state_of([1.0]), "returns a list of 1 for seen of its state"),
    ("init", lambda *_: [1.0], "returns a list of 1 as state"),
    ("batch", lambda step, x, y: x, r"returns a tensor of shape \(32, 8\)"),
    ("sample_losses", lambda step, losses, outputs: losses.mean(), r"returns a tensor of shape \(\)"),
    ("penalty", lambda step, weights, outputs: outputs.logits.sum(1), r"returns a tensor of shape \(32,\)"),
    ("penalty", lambda step, weights, outputs: weights, "returns a dict"),
    ("wrap_loss", lambda step, loss: None, "returns None"),
    ("project", lambda step, name, weight: None, "returns None"),
    ("evaluated", lambda step, params, buffers: params, "returns a dict"),
    ("finalize", lambda step, params, buffers, batches: params, "returns a dict"),
    ("finalize", lambda step, params, buffers, batches: None, "returns None"),
    ("finalize", lambda step, params, buffers, batches: [(without_one(params), buffers)], "lacks output.bias"),
]
"""Function, what it returns against the contract, and what the error says."""


@pytest.mark.parametrize(("function", "result", "told"), LOST)
@pytest.mark.parametrize("is_stacked", [False, True])
def test_a_result_against_the_contract_is_refused_with_its_class_and_function(
    function, result, told, is_stacked, monkeypatch
):
    monkeypatch.setitem(globals(), "Mistaken", returning(function, result))
    fields = {"reg": [here(Mistaken)], **FIELDS}  # noqa: F821 # set above
    with pytest.raises(PluginError, match=rf"^mistaken: {function} of Mistaken .*{told}") as caught:
        trained(stack({"seed": 0}, {"seed": 1}, **fields) if is_stacked else trainer(**fields))
    assert caught.value.hint

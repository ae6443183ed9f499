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


class Lacking(RegularizerFunctions):
    def perturb(self, step, params, grads):
        return {name: value for name, value in params.items() if name != "output.bias"}


class Renaming(RegularizerFunctions):
    def perturb(self, step, params, grads):
        return {f"my.{name}" if name == "output.bias" else name: value for name, value in params.items()}


class Forgetful(RegularizerFunctions):
    def after_step(self, step, params):
        return {name: value for name, value in params.items() if name != "output.bias"}, step.state


class OneGradient(RegularizerFunctions):
    def gradients(self, step, params, grads):
        return {name: value for name, value in grads.items() if name != "output.bias"}, step.state


@pytest.mark.parametrize(
    ("kind", "function", "told"),
    [
        (Lacking, "perturb", "lacks output.bias"),
        (Renaming, "perturb", "lacks output.bias and has the unknown my.output.bias"),
        (Forgetful, "after_step", "lacks output.bias"),
        (OneGradient, "gradients", "lacks output.bias"),
    ],
)
def test_a_returned_dict_with_other_names_is_refused(kind, function, told):
    refused(kind, rf"{function} of {kind.__name__} returns .*{told}\.")


def refused(kind, message):
    """Trains one run and a stack with a regularizer, and expects this error of both."""
    for made in (trainer(reg=[here(kind)], **FIELDS), stack({"seed": 0}, {"seed": 1}, reg=[here(kind)], **FIELDS)):
        with pytest.raises(PluginError, match=message):
            trained(made)

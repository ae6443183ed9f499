"""A plugin that was written for an older contract gets one clear message."""

from __future__ import annotations

import pytest
from trainings import assembled
from written_here import here

from regplug.errors import PluginError
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer

OLD = {
    "gradients": """
class Old(RegularizerFunctions):
    def gradients(self, step, grads, params, state):
        return grads, state
""",
    "init": """
class Old(RegularizerFunctions):
    def init(self, params, buffers):
        return {}
""",
    "act": """
class Old(RegularizerFunctions):
    def restructure(self, model, sites):
        for site in sites.activations():
            sites.after(site, Layer())


class Layer(SiteLayer):
    def act(self, noise, x):
        return x
""",
}


@pytest.mark.parametrize("function", OLD)
def test_the_message_names_the_regularizer_the_function_and_what_it_must_take(function, tmp_path):
    file = tmp_path / "old.py"
    imports = f"from {RegularizerFunctions.__module__} import RegularizerFunctions\n"
    file.write_text(f"{imports}from {'regplug.sites'} import SiteLayer\n{OLD[function]}")
    with pytest.raises(PluginError, match=rf"Old.*\b{function}\(.*the\s+contract calls {function}\(") as caught:
        assembled(reg=[f"{file}:Old"])
    assert "docs/contract.md" in caught.value.hint


def test_a_function_may_take_its_arguments_as_it_likes():
    class Free(RegularizerFunctions):
        def penalty(self, *given):
            return None

        def after_step(self, step, params, extra=None):
            return params, step.state

    class Layer(SiteLayer):
        def act(self, *given):
            return given[-1]

    from regplug.regularization.signatures import require_layer_signatures, require_signatures

    require_signatures(Free(), "free")
    require_layer_signatures(Layer())


class Misspelt(RegularizerFunctions):
    """Nothing calls its only function."""

    def pentalty(self, step, weights, outputs):
        return outputs.logits.sum()


class WithHelpers(RegularizerFunctions):
    """Its own methods have other names, or stand beside the function that their names are close to."""

    def penalty(self, step, weights, outputs):
        return self.penalties(outputs) + self.average(outputs)

    def penalties(self, outputs):
        return outputs.logits.square().mean()

    def gradient(self, outputs):
        return outputs.logits

    def gradients(self, step, params, grads):
        return grads, step.state

    def average(self, outputs):
        return outputs.logits.mean()

    def noisy(self, x):
        return x


def test_a_misspelt_function_is_refused_with_the_name_that_it_is_close_to():
    with pytest.raises(PluginError, match=r"Misspelt has a function pentalty, .* Did you mean penalty\?") as caught:
        assembled(reg=[here(Misspelt)])
    assert "_pentalty" in caught.value.hint


def test_a_method_of_its_own_is_no_misspelt_function():
    assembled(reg=[here(WithHelpers)])

"""A plugin that was written for an older contract gets one clear message."""

from __future__ import annotations

import pytest
from trainings import assembled

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

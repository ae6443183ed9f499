"""Residual connections around the hidden layers of a multilayer perceptron."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor, nn
from torch.nn.utils import parametrize

from regplug.errors import CompositionError
from regplug.noise import Draw, bits, uniform
from regplug.regularizer import RegularizerFunctions, Shapes, Step
from regplug.sites import Site, SiteLayer, Sites
from regplug_regularizers.noise.stochastic_depth import StochasticDepthLayer
from regplug_regularizers.scaled import Scaled, with_other_gradient
from regplug_regularizers.structure.connected import Connection, connect


@final
class ShakeShakeLayer(SiteLayer):
    """Multiplies one of two branches with alpha forward and beta backward, the other with `1 - alpha` and `1 - beta`.

    alpha and beta are uniform on [0, 1), for each row; in evaluation both are 1/2.
    Source: Gastaldi 2017, Shake-Shake regularization.
    """

    is_second = False

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """Shakes."""
        alpha, beta = noise.view(-1, 2, *[1] * (x.ndim - 1)).unbind(1)
        return with_other_gradient(x, 1 - alpha, 1 - beta) if self.is_second else with_other_gradient(x, alpha, beta)

    def evaluate(self, settings: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Half of it."""
        return 0.5 * x

    def settled(self, settings: Mapping[str, Any]) -> nn.Module:
        """The same factor as a module."""
        return Scaled(0.5)


@dataclass(frozen=True)
class Hidden:
    """A hidden layer: a linear module and the activation that follows it in the same nn.Sequential."""

    linear: Site
    activation: Site


@final
class Skip(RegularizerFunctions):
    """Turns each hidden layer `f(W h + b)` into `h + f(W h + b)`; where widths differ, into `V h + f(W h + b)`.

    What other regularizers put on a layer is inside of its branch. The branch is dropped as by stochastic depth, or
    there are two that Shake-Shake weighs: the second is a copy with weights of its own and the masks of the first.

    Source: Kadra et al. 2021, Well-tuned Simple Nets Excel on Tabular Datasets; He et al. 2016, equations 1 and 2.
    """

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Puts the connections in."""
        if self.params.shake_shake and self.params.drop_probability != 0:
            raise CompositionError(
                f"{sites.owner}: shake_shake weighs two branches, and drop_probability drops one.",
                hint="Choose one of the two.",
            )
        chosen = self._chosen(model, sites)
        for number, hidden in enumerate(chosen, start=1):
            depth = number / len(chosen)
            layer = ShakeShakeLayer() if self.params.shake_shake else StochasticDepthLayer(depth)
            sites.after(hidden.activation, layer)
            connect(model, hidden.linear.name, hidden.activation.name, self._connection(model, sites, hidden))

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """For each row alpha and beta, or whether it keeps the branch."""
        if self.params.shake_shake:
            return {place.key: uniform((place.shape[0], 2)) for place in shapes.places}
        return {place.key: bits(place.shape[:1]) for place in shapes.places}

    def _chosen(self, model: nn.Module, sites: Sites) -> list[Hidden]:
        first = next(iter(sites.weighted()), None)
        named = sites.matching(self.params.at) if self.params.at else [s for s in sites.weighted() if s is not first]
        found = [hidden for hidden in _hidden_layers(model, sites) if any(hidden.linear is site for site in named)]
        if not found:
            raise CompositionError(
                f"{sites.owner} found no hidden layer to skip: a linear module between two others, with an activation "
                "behind it in the same nn.Sequential.",
                hint="Give the model two hidden layers or more, for example --model mlp:hidden=[64,64,64], or name one "
                f"with {sites.owner}:at=hidden1.",
            )
        return found

    def _connection(self, model: nn.Module, sites: Sites, hidden: Hidden) -> Connection:
        width_in, width_out = hidden.linear.input_shape[1], hidden.activation.output_shape[1]
        shortcut = nn.Identity() if width_in == width_out else nn.Linear(width_in, width_out, bias=False)
        end = hidden.activation.name.rpartition(".")[2]
        return Connection(end, shortcut, self._twin(model, sites, hidden) if self.params.shake_shake else None)

    def _twin(self, model: nn.Module, sites: Sites, hidden: Hidden) -> nn.Module:
        """A copy of the branch with new weights."""
        twin = copy.deepcopy(nn.Sequential(*_span(model, hidden)))
        for module in twin.modules():
            if parametrize.is_parametrized(module):
                raise CompositionError(
                    f"{sites.owner}: shake_shake needs a second {hidden.linear.name} with weights of its own, and a "
                    "regularizer has parametrized its weight.",
                    hint=f"Leave that regularizer out, or say {sites.owner}:shake_shake=false.",
                )
            if isinstance(module, ShakeShakeLayer):
                module.is_second = True
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
        return twin


def _hidden_layers(model: nn.Module, sites: Sites) -> list[Hidden]:
    """The linear modules that an activation follows in the same nn.Sequential, before another module with a weight."""
    by_name = {site.name: site for site in sites if site.call == 0}
    return [
        Hidden(linear, activation)
        for linear in sites.weighted()
        if isinstance(linear.module, nn.Linear) and len(linear.input_shape) == 2
        if (activation := _activation_behind(model, linear, by_name)) is not None
    ]


def _activation_behind(model: nn.Module, linear: Site, by_name: Mapping[str, Site]) -> Site | None:
    path, _, own = linear.name.rpartition(".")
    parent = model.get_submodule(path)
    if not isinstance(parent, nn.Sequential):
        return None
    names = list(parent._modules)
    for name in names[names.index(own) + 1 :]:
        site = by_name.get(f"{path}.{name}" if path else name)
        if site is not None and site.is_activation:
            return site
        if site is not None and site.has_weight:
            return None
    return None


def _span(model: nn.Module, hidden: Hidden) -> list[nn.Module]:
    """The modules of a hidden layer as they now stand, from the linear one to the activation."""
    path, _, start = hidden.linear.name.rpartition(".")
    end = hidden.activation.name.rpartition(".")[2]
    children = model.get_submodule(path)._modules
    names = list(children)
    return [children[name] for name in names[names.index(start) : names.index(end) + 1] if children[name] is not None]  # type: ignore[misc] # looked at

"""How a model's parameters are filled at the start: a rule for all layers, and rules for some."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import cast

import torch
from torch import nn

from regplug.api import Initializer
from regplug.data.inputs import Inputs
from regplug.errors import CompositionError, some_of
from regplug.initializers import BATCH_ROWS, layers_of, neutral
from regplug.registry.components import Chosen
from regplug.regularization.finding import find_roles
from regplug.seeds import derive_seed


@torch.no_grad()
def initialize(model: nn.Module, inits: Sequence[Chosen], seed: int, rows: Inputs) -> None:
    """Fills the parameters of a model in place, each by one rule.

    A rule whose parameter `at` holds globs fills the layers that they name, the last such rule wins; the rule without
    `at` fills all others. What no rule fills stays as torch started it. Rules that see a batch come after the others,
    in the order in which they are named.

    Args:
        model: The model; normalizations and activations are given to the rules too, with the role `norm`.
        inits: The rules.
        seed: The run's.
        rows: The normalised training rows `(B, ...)`, on the device of the model.

    Raises:
        CompositionError: Two rules are for all layers, a glob names no layer, or a rule fills nothing.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "init", "rule"))
    roles, rules = find_roles(model), rules_by_parameter(model, inits)
    for name, param in model.named_parameters():
        if name in rules and not _sees_batch(rules[name]):
            rule, filled = rules[name], param.detach().to("cpu")
            rule.build(roles[name], filled, generator)
            param.copy_(filled)
    if any(_sees_batch(one) for one in inits):
        _fill_from_batch(model, inits, rules, rows, seed, generator)


def _fill_from_batch(
    model: nn.Module,
    inits: Sequence[Chosen],
    rules: Mapping[str, Chosen],
    rows: Inputs,
    seed: int,
    generator: torch.Generator,
) -> None:
    """Calls each rule that sees a batch with its layers; on the CPU, where the generator is."""
    drawing = torch.Generator().manual_seed(derive_seed(seed, "init", "rows"))
    chosen = torch.randperm(len(rows), generator=drawing)[:BATCH_ROWS]
    batch = rows[chosen.to(rows.device)].cpu()
    model.cpu()
    try:
        for one in filter(_sees_batch, inits):
            names = {name for name, rule in rules.items() if rule is one}
            with neutral(model, derive_seed(seed, "init", "batch")):
                one.build(layers_of(model, names, batch[:2]), batch, generator)
    finally:
        model.to(rows.device)


def _sees_batch(chosen: Chosen) -> bool:
    return cast(Initializer, chosen.registered.component).sees_batch


def rules_by_parameter(model: nn.Module, inits: Sequence[Chosen]) -> Mapping[str, Chosen]:
    """The rule of each parameter that has one, by the parameter's name.

    Raises:
        CompositionError: Two rules are for all layers, a glob names no layer, or a rule fills nothing.
    """
    general = [one for one in inits if not _globs(one)]
    if len(general) > 1:
        names = " and ".join(one.spec.key for one in general)
        raise CompositionError(
            f"init: {names} both apply to all layers.",
            hint=f"Say which layers one of them initializes: --init {general[1].spec.key}:at=LAYER.",
        )
    layers = {name: name.rpartition(".")[0] for name, _ in model.named_parameters()}
    rules = dict.fromkeys(layers, general[0]) if general else {}
    for one in inits:
        for glob in _globs(one):
            named = [name for name, layer in layers.items() if fnmatchcase(layer, glob)]
            if not named:
                known = some_of(dict.fromkeys(layer for layer in layers.values() if layer))
                raise CompositionError(
                    f"init {one.spec.key}: at={glob} names no layer with parameters.", hint=f"Such layers: {known}."
                )
            rules |= dict.fromkeys(named, one)
    idle = next((one for one in inits if layers and not any(one is rule for rule in rules.values())), None)
    if idle is not None:
        raise CompositionError(
            f"init {idle.spec.key} has no effect: other initializers already apply to all of its layers.",
            hint="Leave it out.",
        )
    return rules


def _globs(chosen: Chosen) -> tuple[str, ...]:
    own = () if isinstance(chosen.params, Mapping) else getattr(chosen.params, "at", ())
    return (own,) if isinstance(own, str) else tuple(own)

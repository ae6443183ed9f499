"""Checks regularizers against each other and against the run before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from torch import nn

from regplug.api import Regularizer
from regplug.config import RunConfig
from regplug.data import Prepared
from regplug.errors import CompositionError
from regplug.registry.components import Components
from regplug.regularization.composition import overrides
from regplug.regularization.finding import find_roles
from regplug.regularization.layers import ActingLayer, Augmented
from regplug.regularizer import Notice, RegularizerFunctions, RunContext
from regplug.sites import SiteLayer


def find_notices(
    config: RunConfig,
    components: Components,
    data: Prepared,
    model: nn.Module,
    members: Mapping[str, RegularizerFunctions],
) -> list[Notice]:
    """Returns the warnings of the components about each other and the run.

    Args:
        config: The configuration of the run.
        components: Its components.
        data: Its data.
        model: The restructured model.
        members: Regularizers by key.

    Raises:
        CompositionError: A component refuses the composition; all reasons at once.
    """
    everyone = _context(config, components, data, model, members)
    followed = _followed_by_batch_norm(model)
    notices = [] if everyone.weights else _without_weights(components)
    for chosen in components.regs:
        key = chosen.spec.key
        context = replace(
            everyone,
            tags={other: tags for other, tags in everyone.tags.items() if other != key},
            params={other: params for other, params in everyone.params.items() if other != key},
            batch_norm_after=key in followed,
        )
        notices += list(members[key].check(context))
    refused = [notice for notice in notices if notice.kind == "refuse"]
    if refused:
        raise CompositionError(
            "\n  ".join(notice.message for notice in refused), hint=" ".join(notice.hint for notice in refused)
        )
    return notices


def _context(
    config: RunConfig,
    components: Components,
    data: Prepared,
    model: nn.Module,
    members: Mapping[str, RegularizerFunctions],
) -> RunContext:
    """Returns the context with the tags and parameters of all regularizers."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    roles = find_roles(model)
    return RunContext(
        tags={r.spec.key: frozenset((r.registered.name, *r.registered.component.tags)) for r in components.regs},
        params={r.spec.key: r.params for r in components.regs},
        model=components.model.registered.name,
        activation=components.activation.registered.name if components.activation else "",
        optimizer=components.optimizer.registered.name,
        batch_size=config.batch_size,
        epochs=config.epochs,
        train_rows=len(data.train),
        task=data.task,
        has_validation=data.valid is not None,
        has_batch_norm=bool(norms),
        has_range=len(data.limits) == 2,
        loss=components.loss.registered.name if components.loss else "",
        weights=tuple(name for name, role in roles.items() if role == "weight" and "parametrizations." not in name),
        has_layer_noise=any(
            isinstance(m, ActingLayer) and overrides(members[m.owner], "noise") for m in model.modules()
        ),
    )


def _without_weights(components: Components) -> list[Notice]:
    """Refuses the regularizers that find nothing to act on in a model without weights."""
    return [
        Notice(
            "refuse",
            f"{one.spec.key} acts on weights, and the model has none: each of its parameters is a bias, belongs to a "
            "normalization, or has only one axis.",
            "Leave it out, or choose another model.",
        )
        for one in components.regs
        if cast(Regularizer, one.registered.component).needs_weights and not getattr(one.params, "everything", False)
    ]


def _followed_by_batch_norm(model: nn.Module) -> set[str]:
    """Keys of the regularizers with a layer before a batch normalization, in the order of registration."""
    waiting: set[str] = set()
    followed: set[str] = set()
    for module in _in_order(model):
        if isinstance(module, SiteLayer):
            waiting.add(module.owner)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            followed |= waiting
    return followed


def _in_order(model: nn.Module) -> list[nn.Module]:
    """Modules in the order in which data passes through them."""
    if isinstance(model, Augmented):
        parts: list[nn.Module] = [model.before, model.module, model.after]
    else:
        parts = list(model.children())
    return [model, *(inner for part in parts for inner in _in_order(part))]

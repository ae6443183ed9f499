"""First-party regularizers, by family: each family's folder holds its descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from regplug.api import Regularizer, hookimpl
from regplug_regularizers import (
    adversarial,
    augmentation,
    gradients,
    mixing,
    noise,
    normalization,
    penalties,
    stopping,
    structure,
    targets,
    weights,
)

FAMILIES = (
    adversarial,
    augmentation,
    gradients,
    mixing,
    noise,
    normalization,
    penalties,
    stopping,
    structure,
    targets,
    weights,
)


@hookimpl
def regplug_regularizers() -> Iterator[Regularizer]:
    """Yields the first-party regularizers."""
    yield Regularizer(
        name="none",
        target="regplug_regularizers.none:NoRegularizer",
        summary="No regularization: the neutral element, for comparisons.",
        formula="loss",
    )
    for family in FAMILIES:
        name = family.__name__.rpartition(".")[2]
        yield from (replace(one, family=name) for one in family.REGULARIZERS)

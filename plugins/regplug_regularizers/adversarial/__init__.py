"""Adversarial training: inputs moved in the direction that raises the loss most."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable


class FgsmParams(Parameters):
    """Parameters of `fgsm`."""

    radius: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-3, high=0.5, log=True)] = 0.1
    "By how much each entry of the normalised input is moved."
    clean_share: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(), Search(low=0.0, high=0.9)] = 0.5
    "Weight of the loss on the clean inputs."


class PgdParams(Parameters):
    """Parameters of `pgd`."""

    radius: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-3, high=0.5, log=True)] = 0.1
    "How far each entry of the normalised input may be moved."
    steps: Annotated[int, Ge(1)] = 7
    "Steps of the search; each costs a forward and a backward pass."
    step_share: Annotated[float, Gt(0), Stackable(), Search(low=0.1, high=1.0)] = 0.25
    "Length of a step, as a share of the radius."


class VatParams(Parameters):
    """Parameters of `vat`."""

    radius: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.05, high=10.0, log=True)] = 1.0
    "Euclidean length of the change of a normalised input: epsilon in the paper."
    strength: Annotated[float, Ge(0), Schedulable(), Stackable(), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Factor of the divergence: alpha in the paper, where it is 1."
    iterations: Annotated[int, Ge(1)] = 1
    "Steps of the power iteration; each costs a forward and a backward pass."


REGULARIZERS = (
    Regularizer(
        name="fgsm",
        target="regplug_regularizers.adversarial.fgsm:FGSM",
        params=FgsmParams,
        summary="Trains on clean inputs and on inputs moved along the sign of the loss's gradient.",
        formula="c * J(x) + (1 - c) * J(x + radius * sign(dJ/dx))",
        tags=("adversarial",),
        felt=Felt(values="radius=0.3"),
        source="Goodfellow et al. 2015, Explaining and Harnessing Adversarial Examples",
    ),
    Regularizer(
        name="pgd",
        target="regplug_regularizers.adversarial.pgd:PGD",
        params=PgdParams,
        summary="Trains on the worst inputs within a radius, found in several steps.",
        formula="J(x'), x' <- clip(x' + step_share * radius * sign(dJ/dx'), x +- radius), repeated",
        tags=("stochastic", "adversarial"),
        felt=Felt(values="radius=0.3,steps=2"),
        source="Madry et al. 2018, Towards Deep Learning Models Resistant to Adversarial Attacks",
    ),
    Regularizer(
        name="vat",
        target="regplug_regularizers.adversarial.vat:VAT",
        params=VatParams,
        summary="Penalises the change of the outputs when the input moves a little in the worst direction.",
        formula="loss + strength * KL(p(x) || p(x + r)), |r| = radius, r the worst",
        tasks=("classification",),
        tags=("stochastic", "adversarial"),
        source="Miyato et al. 2018, Virtual Adversarial Training",
    ),
)

"""Mixing: training on blends of samples."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge

from regplug.api import Parameters, Regularizer, Search, Stackable


class CutMixParams(Parameters):
    """Parameters of `cutmix`."""

    alpha: Annotated[float, Ge(0), Stackable(off=0), Search(low=0.1, high=2.0, log=True)] = 1.0
    "Both parameters of the beta distribution of the share outside the box; 0 cuts nothing."


class ManifoldMixupParams(Parameters):
    """Parameters of `manifold_mixup`."""

    alpha: Annotated[float, Ge(0), Stackable(off=0), Search(low=0.05, high=4.0, log=True)] = 2.0
    "Both parameters of the beta distribution of the share; 0 mixes nothing."
    at: str | tuple[str, ...] = ()
    "Globs of module names to mix behind, besides the input; without it behind each activation."


class MixupParams(Parameters):
    """Parameters of `mixup`."""

    alpha: Annotated[float, Ge(0), Stackable(off=0), Search(low=0.05, high=2.0, log=True)] = 0.2
    "Both parameters of the beta distribution of the share; 0 mixes nothing."


REGULARIZERS = (
    Regularizer(
        name="cutmix",
        target="regplug_regularizers.mixing.cutmix:CutMix",
        params=CutMixParams,
        summary="Pastes a random box of another image and mixes the targets by its area.",
        formula="box of x_j pasted into x_i, y by its area",
        tags=("stochastic", "mixing"),
        inputs=("image",),
        one_of="mixing",
        source="Yun et al. 2019, CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
    ),
    Regularizer(
        name="manifold_mixup",
        target="regplug_regularizers.mixing.manifold_mixup:ManifoldMixup",
        params=ManifoldMixupParams,
        summary="Blends two samples at a random layer of the network, and their targets.",
        formula="h = s * h_i + (1 - s) * h_j at a random layer, y alike, s ~ Beta(alpha, alpha)",
        conflicts=("mixing",),
        tags=("stochastic", "mixing"),
        source="Verma et al. 2019, Manifold Mixup: Better Representations by Interpolating Hidden States",
    ),
    Regularizer(
        name="mixup",
        target="regplug_regularizers.mixing.mixup:Mixup",
        params=MixupParams,
        summary="Trains on random blends of two samples and of their targets.",
        formula="x = s * x_i + (1 - s) * x_j, y alike, s ~ Beta(alpha, alpha)",
        tags=("stochastic", "mixing"),
        one_of="mixing",
        source="Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization",
    ),
)

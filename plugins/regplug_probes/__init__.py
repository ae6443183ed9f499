"""First-party probes: descriptors and parameters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from regplug.api import Parameters, Probe, hookimpl


class GradientsParams(Parameters):
    """Parameters of `gradients`."""

    of: Literal["loss", "objective"] = "loss"
    "Gradient of the data loss, or of the objective, which includes the penalties."
    biases: bool = False
    "Whether a layer's biases count as well as its weights."


class WeightStatisticsParams(Parameters):
    """Parameters of `weight_statistics`."""

    below: Annotated[float, Gt(0)] = 0.01
    "A weight of smaller size counts as small."


class SharpnessParams(Parameters):
    """Parameters of `sharpness`."""

    iterations: Annotated[int, Ge(1)] = 30
    "Most Lanczos steps; each costs about three gradients of the sample."
    tolerance: Annotated[float, Gt(0)] = 1e-3
    "Relative error bound at which it stops earlier."


class CalibrationParams(Parameters):
    """Parameters of `calibration`."""

    bins: Annotated[int, Ge(1)] = 15
    "Bins of equal width."


class NoiseScaleParams(Parameters):
    """Parameters of `gradient_noise_scale`."""

    parts: Annotated[int, Ge(2)] = 16
    "Parts of the sample whose gradients are compared; at most one for each row."


@hookimpl
def regplug_probes() -> Iterator[Probe]:
    """Yields the first-party probes."""
    yield Probe(
        name="weight_norm",
        target="regplug_probes.norms:WeightNorm",
        summary="Euclidean norm of all weights together; biases and normalization parameters left out.",
    )
    yield Probe(
        name="weight_statistics",
        target="regplug_probes.weights:WeightStatistics",
        params=WeightStatisticsParams,
        summary="Norm, standard deviation and fraction of small weights of each layer, with histograms.",
    )
    yield Probe(
        name="effective_rank",
        target="regplug_probes.weights:EffectiveRank",
        summary="Effective rank of each layer's weight matrix: exp of the entropy of its singular values.",
        source="Roy & Vetterli 2007",
    )
    yield Probe(
        name="gradients",
        target="regplug_probes.gradients:GradientSizes",
        params=GradientsParams,
        summary="Mean size, standard deviation and norm of the gradient of each layer, in the order of the forward "
        "pass.",
        source="Glorot & Bengio 2010, section 4.2",
    )
    yield Probe(
        name="update_ratio",
        target="regplug_probes.gradients:UpdateRatio",
        summary="Norm of the last update over the norm of the weights, of each layer.",
    )
    yield Probe(
        name="gradient_noise_scale",
        target="regplug_probes.gradients:NoiseScale",
        params=NoiseScaleParams,
        summary="Variance of a row's gradient over the squared mean gradient: the batch size at which noise and signal "
        "are equal.",
        source="McCandlish et al. 2018, appendix A.1",
    )
    yield Probe(
        name="activation_statistics",
        target="regplug_probes.activations:ActivationStatistics",
        summary="Mean, standard deviation, mean square and variance ratio of each activation's outputs, with "
        "histograms.",
        source="Glorot & Bengio 2010, section 4.2",
    )
    yield Probe(
        name="dead_units",
        target="regplug_probes.activations:DeadUnits",
        summary="Fraction of units that are exactly zero on every row of the sample, and fraction of exact zeros.",
        source="Lu et al. 2019",
    )
    yield Probe(
        name="sharpness",
        target="regplug_probes.curvature:Sharpness",
        params=SharpnessParams,
        summary="Largest eigenvalue of the Hessian of the data loss, by the Lanczos method.",
        source="Lanczos 1950",
    )
    yield Probe(
        name="calibration",
        target="regplug_probes.calibration:Calibration",
        params=CalibrationParams,
        summary="Expected calibration error and overconfidence on the validation rows, or the test rows if there are "
        "none.",
        source="Guo et al. 2017, section 2",
    )

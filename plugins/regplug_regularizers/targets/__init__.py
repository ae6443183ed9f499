"""Targets and losses: what the network is trained to predict, and the cost of an error."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le, Lt

from regplug.api import Felt, Needed, Parameters, Regularizer, Schedulable, Search, Stackable

Share = Annotated[float, Gt(0), Le(1)]


class CurriculumParams(Parameters):
    """Parameters of `curriculum`."""

    threshold: Annotated[float, Gt(0), Schedulable(), Stackable(), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Loss below which a row counts in the first epoch."
    growth: Annotated[float, Ge(1), Stackable(), Search(low=1.0, high=2.0)] = 1.2
    "Factor of the threshold after each epoch."


class FocalParams(Parameters):
    """Parameters of `focal`."""

    gamma: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.0, high=5.0)] = 2.0
    "How strongly well-classified rows are down-weighted; 0 is cross entropy."


class GeneralizedCrossEntropyParams(Parameters):
    """Parameters of `generalized_cross_entropy`."""

    q: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=1.0)] = 0.7
    "From 0, cross entropy, to 1, one minus the probability of the class, which tolerates wrong labels best."


class LabelNoiseCorrectionParams(Parameters):
    """Parameters of `label_noise_correction`."""

    flip_probability: Annotated[float, Ge(0), Lt(1), Stackable(off=0), Search(low=0.0, high=0.4)] = 0.2
    "Probability that a label is wrong, equal for each wrong class; a matrix replaces it."
    matrix: tuple[Annotated[float, Ge(0), Le(1)], ...] = ()
    "Probability of each label: first for the first true class, then for the second, and so on."


class LabelSmoothingParams(Parameters):
    """Parameters of `label_smoothing`."""

    strength: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(off=0), Search(low=0.0, high=0.3)] = 0.1
    "Share of the probability that is spread over all classes."


class MeanTeacherParams(Parameters):
    """Parameters of `mean_teacher`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(), Search(low=0.1, high=100.0, log=True)] = 1.0
    "Final factor of the distance to the teacher."
    decay: Annotated[float, Ge(0), Lt(1), Schedulable(), Stackable(), Search(low=0.9, high=0.999)] = 0.99
    "Share of the teacher that is kept at each step."
    ramp: Share = 0.25
    "Share of the run over which the strength rises."


class PolyParams(Parameters):
    """Parameters of `poly`."""

    epsilon: Annotated[float, Ge(-1), Schedulable(), Stackable(off=0), Search(low=-1.0, high=6.0)] = 2.0
    "Added to the factor 1 of the first term; below 0 the term counts less."


class RDropParams(Parameters):
    """Parameters of `r_drop`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Factor of the divergence: alpha in the paper."


class SelfDistillationParams(Parameters):
    """Parameters of `self_distillation`."""

    teacher: Annotated[str, Needed("bundles/teacher", artifact="bundle")] = ""
    "The trained network: folder of its bundle, or id or name of its run."
    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.1, high=10.0, log=True)] = 1.0
    "Factor of the cross entropy with the teacher."


class TemporalEnsemblingParams(Parameters):
    """Parameters of `temporal_ensembling`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=0.1, high=100.0, log=True)] = 1.0
    "Final factor of the distance to the average."
    momentum: Annotated[float, Ge(0), Lt(1), Stackable(), Search(low=0.1, high=0.9)] = 0.6
    "Share of a row's average that is kept in each epoch."
    ramp: Share = 0.25
    "Share of the run over which the strength rises."


REGULARIZERS = (
    Regularizer(
        name="curriculum",
        target="regplug_regularizers.targets.curriculum:Curriculum",
        params=CurriculumParams,
        summary="Trains on easy rows first: those with a loss below a threshold that grows.",
        formula="mean of loss_i * [loss_i < threshold * growth^epoch]",
        after=("loss-form",),
        felt=Felt(values="threshold=0.8"),
        source="Kumar et al. 2010, Self-Paced Learning for Latent Variable Models",
    ),
    Regularizer(
        name="focal",
        target="regplug_regularizers.targets.focal:Focal",
        params=FocalParams,
        summary="Down-weights rows that are already classified well, so that hard rows count more.",
        formula="-(1 - p)^gamma * log(p), p the probability of the class",
        conflicts=("loss-form",),
        tasks=("classification",),
        tags=("loss-form",),
        source="Lin et al. 2017, Focal Loss for Dense Object Detection",
    ),
    Regularizer(
        name="generalized_cross_entropy",
        target="regplug_regularizers.targets.generalized_cross_entropy:GeneralizedCrossEntropy",
        params=GeneralizedCrossEntropyParams,
        summary="A loss between cross entropy and mean absolute error, for data with some wrong labels.",
        formula="(1 - p^q) / q, p the probability of the class",
        conflicts=("loss-form",),
        tasks=("classification",),
        tags=("loss-form",),
        source="Zhang and Sabuncu 2018, Generalized Cross Entropy Loss for Training Deep Networks with Noisy Labels",
    ),
    Regularizer(
        name="label_noise_correction",
        target="regplug_regularizers.targets.label_noise_correction:LabelNoiseCorrection",
        params=LabelNoiseCorrectionParams,
        summary="Applies the label noise to the predicted probabilities before comparing them with the labels.",
        formula="-log(sum_i p_i * T_iy), T_ij = P(label j | class i)",
        conflicts=("loss-form",),
        tasks=("classification",),
        tags=("loss-form",),
        source="Patrini et al. 2017, Making Deep Neural Networks Robust to Label Noise: A Loss Correction Approach",
    ),
    Regularizer(
        name="label_smoothing",
        target="regplug_regularizers.targets.label_smoothing:LabelSmoothing",
        params=LabelSmoothingParams,
        summary="Spreads a share of the target's probability over all classes.",
        formula="(1 - strength) * y + strength / classes",
        # The other order moves targets: a smoothed pair is not a pair smoothed.
        after=("mixing",),
        tasks=("classification",),
        tags=("soft-targets",),
        source="Szegedy et al. 2016, Rethinking the Inception Architecture",
    ),
    Regularizer(
        name="mean_teacher",
        target="regplug_regularizers.targets.mean_teacher:MeanTeacher",
        params=MeanTeacherParams,
        summary="Keeps the outputs close to those of averaged weights, which the run ends with.",
        formula="loss + strength * ramp * |f(x; w) - f(x; teacher)|^2, teacher <- decay * teacher + (1 - decay) * w",
        conflicts=("averaging",),
        tags=("averaging",),
        felt=Felt(values="strength=5"),
        source="Tarvainen and Valpola 2017, Mean teachers are better role models",
    ),
    Regularizer(
        name="poly",
        target="regplug_regularizers.targets.poly:Poly",
        params=PolyParams,
        summary="Changes the first term of the cross entropy's expansion in the probability of a wrong answer.",
        formula="-log(p) + epsilon * (1 - p), p the probability of the class",
        conflicts=("loss-form",),
        tasks=("classification",),
        tags=("loss-form",),
        source="Leng et al. 2022, PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions",
    ),
    Regularizer(
        name="r_drop",
        target="regplug_regularizers.targets.r_drop:RDrop",
        params=RDropParams,
        summary="Keeps the outputs of two passes with different dropout masks close; twice the cost.",
        formula="(J_1 + J_2) / 2 + strength * (KL(p_1 || p_2) + KL(p_2 || p_1)) / 2",
        tasks=("classification",),
        example="--reg r_drop --reg dropout",
        felt=Felt(companions=("dropout",)),
        source="Wu et al. 2021, R-Drop: Regularized Dropout for Neural Networks",
    ),
    Regularizer(
        name="self_distillation",
        target="regplug_regularizers.targets.self_distillation:SelfDistillation",
        params=SelfDistillationParams,
        summary="Trains on the labels and on the predictions of a trained network of the same kind.",
        formula="loss - strength * sum_k t_k * log(p_k), t the teacher's probabilities of the row",
        # The teacher answers to each row by itself.
        conflicts=("mixing",),
        tasks=("classification",),
        stackable=False,
        source="Furlanello et al. 2018, Born-Again Neural Networks",
    ),
    Regularizer(
        name="temporal_ensembling",
        target="regplug_regularizers.targets.temporal_ensembling:TemporalEnsembling",
        params=TemporalEnsemblingParams,
        summary="Keeps each row's outputs close to the average of its outputs in earlier epochs.",
        formula="loss + strength * ramp * mean (p - P)^2, P the average of the row's probabilities p in earlier epochs",
        # A blend of rows has no earlier outputs of its own.
        conflicts=("mixing",),
        felt=Felt(values="strength=5"),
        source="Laine and Aila 2017, Temporal Ensembling for Semi-Supervised Learning",
    ),
)

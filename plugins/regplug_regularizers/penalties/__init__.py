"""Terms that are added to the loss.

Use a penalty if you know what a good solution looks like: small weights (l2), few weights (l1, l0,
variational_dropout) or few units (group_lasso), weights that keep lengths (orthogonal, spectral_penalty), quiet or
sparse activations (activity_l1, activity_l2, kl_sparsity), outputs that change little with the inputs
(gradient_penalty, jacobian) or outputs that are not overconfident (confidence_penalty). Start with l2, which costs
nothing.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from regplug.api import Felt, Parameters, Regularizer, Schedulable, Search, Stackable

Nonnegative = Annotated[float, Ge(0)]
Strength = Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-6, high=1e-1, log=True)]
Strengths = Annotated[
    Nonnegative | tuple[Nonnegative, ...],
    Schedulable(),
    Stackable(off=0),
    Search(low=1e-6, high=1e-1, log=True),
]
Globs = str | tuple[str, ...]


class WeightPenaltyParams(Parameters):
    """Parameters of a penalty on weight matrices."""

    strength: Strengths = 1e-4
    "What the term is multiplied with: one number, or one for each weight in the order of the model."
    at: Globs = ()
    "Globs of names of modules whose weights are penalised; without it all of them."


class PenaltyParams(WeightPenaltyParams):
    """Parameters of a penalty on each entry of the weights."""

    everything: bool = False
    "Whether biases and normalization parameters are penalised too."


class ElasticNetParams(PenaltyParams):
    """Parameters of `elastic_net`."""

    l1_share: Annotated[float, Ge(0), Le(1), Schedulable(), Stackable(), Search(low=0.0, high=1.0)] = 0.5
    "Share of the L1 penalty in the sum: 1 is l1, 0 is l2."


class GroupLassoParams(WeightPenaltyParams):
    """Parameters of `group_lasso`."""

    groups: Literal["units", "inputs"] = "units"
    "What goes to zero together: the weights into a unit, or the weights that leave an input."


class ActivityParams(Parameters):
    """Parameters of `activity_l1` and `activity_l2`."""

    strength: Strengths = 1e-4
    "What the term is multiplied with: one number, or one for each place in the order of the forward pass."
    at: Globs = ()
    "Globs of names of modules whose outputs are penalised; without it each activation."


class KLSparsityParams(ActivityParams):
    """Parameters of `kl_sparsity`."""

    target: Annotated[float, Gt(0), Lt(1), Schedulable(), Stackable(), Search(low=0.01, high=0.3, log=True)] = 0.05
    "The mean activation that each unit is pulled towards."


class ConfidencePenaltyParams(Parameters):
    """Parameters of `confidence_penalty`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-3, high=5.0, log=True)] = 0.1
    "Factor of the term: beta in the paper."


class GradientPenaltyParams(Parameters):
    """Parameters of `gradient_penalty`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-4, high=10.0, log=True)] = 0.1
    "Factor of the mean squared gradient."


class JacobianParams(Parameters):
    """Parameters of `jacobian`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(off=0), Search(low=1e-4, high=1.0, log=True)] = 0.01
    "Twice the factor of the mean squared norm: lambda in the paper."
    projections: Annotated[int, Ge(1)] = 1
    "Random directions per row; each costs a backward pass, and more of them reduce the estimate's variance."


class L0Params(Parameters):
    """Parameters of `l0`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(), Search(low=1e-7, high=1e-2, log=True)] = 1e-5
    "Factor of the expected number of weights."
    drop_probability: Annotated[float, Gt(0), Lt(1)] = 0.3
    "Initial state of the gates: the probability that the concrete distribution is below one half."
    at: Globs = ()
    "Globs of names of modules whose weights are gated; without it all of them."


class VariationalDropoutParams(Parameters):
    """Parameters of `variational_dropout`."""

    strength: Annotated[float, Ge(0), Schedulable(), Stackable(), Search(low=1e-3, high=1.0, log=True)] = 1.0
    "Factor of the divergence over the training rows; 1 is the evidence lower bound."
    threshold: Annotated[float, Stackable()] = 3.0
    "Weights whose log alpha is greater are 0 in evaluation."
    at: Globs = ()
    "Globs of names of modules whose weights get noise; without it all of them."


_PACKAGE = "regplug_regularizers.penalties"

REGULARIZERS = (
    Regularizer(
        name="activity_l1",
        target=f"{_PACKAGE}.activity:ActivityL1",
        params=ActivityParams,
        summary="Adds the mean over rows of sum |h| of the activations: sparse activations.",
        formula="loss + strength * sum |h| / B",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        source="Glorot, Bordes and Bengio 2011, Deep Sparse Rectifier Neural Networks, section 3.2",
    ),
    Regularizer(
        name="activity_l2",
        target=f"{_PACKAGE}.activity:ActivityL2",
        params=ActivityParams,
        summary="Adds the mean over rows of sum h^2 of the activations: quiet activations.",
        formula="loss + strength * sum h^2 / B",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        source="Merity, McCann and Socher 2017, Revisiting Activation Regularization for Language RNNs",
    ),
    Regularizer(
        name="confidence_penalty",
        target=f"{_PACKAGE}.confidence_penalty:ConfidencePenalty",
        params=ConfidencePenaltyParams,
        summary="Rewards outputs with high entropy, so that the network is not overconfident.",
        formula="loss + strength * (log K - H(p))",
        felt=Felt(values="strength=1"),
        tasks=("classification",),
        tags=("penalty",),
        source="Pereyra et al. 2017, Regularizing Neural Networks by Penalizing Confident Output Distributions",
    ),
    Regularizer(
        name="elastic_net",
        target=f"{_PACKAGE}.elastic_net:ElasticNet",
        params=ElasticNetParams,
        summary="Adds a mixture of the L1 and the L2 penalty: sparse, and stable where features are correlated.",
        formula="loss + strength * (l1_share * sum |w| + (1 - l1_share) / 2 * sum w^2)",
        felt=Felt(values="strength=0.1"),
        tags=("penalty", "coupled-decay"),
        needs_weights=True,
        source="Zou and Hastie 2005, Regularization and Variable Selection via the Elastic Net",
    ),
    Regularizer(
        name="gradient_penalty",
        target=f"{_PACKAGE}.gradient_penalty:GradientPenalty",
        params=GradientPenaltyParams,
        summary="Adds the squared gradient of each row's loss by its inputs; about twice the cost.",
        formula="loss + strength * mean_B |d loss_b / d x_b|^2",
        felt=Felt(values="strength=1"),
        tags=("penalty",),
        source="Drucker and Le Cun 1992, Improving Generalization Performance Using Double Backpropagation",
    ),
    Regularizer(
        name="group_lasso",
        target=f"{_PACKAGE}.group_lasso:GroupLasso",
        params=GroupLassoParams,
        summary="Adds the norms of groups of weights: whole units, or inputs, go to zero together.",
        formula="loss + strength * sum_g sqrt(|g|) * ||w_g||",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        needs_weights=True,
        source="Yuan and Lin 2006, Model Selection and Estimation in Regression with Grouped Variables; "
        "Scardapane et al. 2017",
    ),
    Regularizer(
        name="jacobian",
        target=f"{_PACKAGE}.jacobian:Jacobian",
        params=JacobianParams,
        summary="Adds the squared norm of the outputs' derivative by the inputs, from random projections.",
        formula="loss + strength / 2 * mean_B ||d outputs_b / d x_b||_F^2",
        felt=Felt(values="strength=1"),
        tags=("penalty", "stochastic"),
        source="Hoffman, Roberts and Yaida 2019, Robust Learning with Jacobian Regularization",
    ),
    Regularizer(
        name="kl_sparsity",
        target=f"{_PACKAGE}.activity:KLSparsity",
        params=KLSparsityParams,
        summary="Pulls each unit's mean activation towards a small target; for activations between 0 and 1.",
        formula="loss + strength * sum_units KL(target || mean_B h)",
        felt=Felt(values="strength=0.1", activation="sigmoid"),
        tags=("penalty",),
        source="Ng 2011, CS294A Lecture Notes: Sparse Autoencoder",
    ),
    Regularizer(
        name="l0",
        target=f"{_PACKAGE}.l0:L0",
        params=L0Params,
        summary="Learns a gate for each weight and adds the expected number of open ones: exact zeros.",
        formula="loss(w * z) + strength * sum P(z != 0), z hard concrete",
        felt=Felt(values="strength=0.01"),
        after=("reparametrization",),
        conflicts=("weight-gates",),
        tags=("penalty", "weight-gates"),
        source="Louizos, Welling and Kingma 2018, Learning Sparse Neural Networks through L0 Regularization",
    ),
    Regularizer(
        name="l1",
        target=f"{_PACKAGE}.norms:L1",
        params=PenaltyParams,
        summary="Adds strength * sum |w| to the loss; drives weights towards zero.",
        formula="loss + strength * sum |w|",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        needs_weights=True,
        source="Tibshirani 1996, Regression Shrinkage and Selection via the Lasso",
    ),
    Regularizer(
        name="l2",
        target=f"{_PACKAGE}.norms:L2",
        params=PenaltyParams,
        summary="Adds strength/2 * sum w^2 to the loss: what torch's SGD calls weight_decay.",
        formula="loss + strength / 2 * sum w^2",
        felt=Felt(values="strength=0.1"),
        tags=("penalty", "coupled-decay"),
        needs_weights=True,
        source="Hoerl and Kennard 1970, Ridge Regression; Krogh and Hertz 1991",
    ),
    Regularizer(
        name="orthogonal",
        target=f"{_PACKAGE}.orthogonal:Orthogonal",
        params=WeightPenaltyParams,
        summary="Pulls the weights into the units of a layer towards orthonormal vectors.",
        formula="loss + strength * ||W W^T - I||_F^2",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        needs_weights=True,
        source="Bansal, Chen and Wang 2018, Can We Gain More from Orthogonality Regularizations",
    ),
    Regularizer(
        name="spectral_penalty",
        target=f"{_PACKAGE}.spectral_penalty:SpectralPenalty",
        params=WeightPenaltyParams,
        summary="Adds the squared largest singular value of each weight: outputs change less with the inputs.",
        formula="loss + strength / 2 * sum sigma_max(W)^2",
        felt=Felt(values="strength=0.1"),
        tags=("penalty",),
        needs_weights=True,
        source="Yoshida and Miyato 2017, Spectral Norm Regularization for Improving the Generalizability",
    ),
    Regularizer(
        name="variational_dropout",
        target=f"{_PACKAGE}.variational_dropout:VariationalDropout",
        params=VariationalDropoutParams,
        summary="Learns a noise for each weight and drops the weights that are mostly noise.",
        formula="loss(w + sigma * N(0, 1)) + strength / N * KL(q || log-uniform)",
        felt=Felt(values="strength=0.1"),
        after=("reparametrization",),
        conflicts=("weight-gates",),
        tags=("penalty", "stochastic", "weight-gates"),
        source="Molchanov, Ashukha and Vetrov 2017, Variational Dropout Sparsifies Deep Neural Networks",
    ),
)

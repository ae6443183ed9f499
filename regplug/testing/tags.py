"""The tags that the kit reads: each is a promise, and what the kit does about it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

STOCHASTIC = "stochastic"
KEEPS_MEAN = "keeps-mean"
BATCH_STATISTICS = "batch-statistics"
PENALISES_BIASES = "penalises-biases"
DETERMINISTIC = "deterministic"
OTHER_GRADIENT = "other-gradient"

TAGS: Mapping[str, str] = {
    STOCHASTIC: "It draws noise: another seed must give another mask or batch, and each pass of a step its own. A "
    "layer must act in training, be the identity in evaluation unless it overrides `evaluate`, and accept batches of "
    "zero rows and of one.",
    KEEPS_MEAN: "The mean over its noise equals its input, within five standard errors.",
    BATCH_STATISTICS: "A training step must change a buffer.",
    PENALISES_BIASES: "It may penalise or decay biases and normalization parameters; without the tag that is a "
    "failure.",
    OTHER_GRADIENT: "Its backward pass may differ from the derivative of its forward pass; without the tag that is a "
    "failure.",
    DETERMINISTIC: "For an initializer: two generators may give the same weights; without the tag that is a failure.",
}
"""What the kit does for a component that has the tag."""


_SPELLING = 0.9
"""Likeness of two tags above which one is taken for a slip of the other; `nondeterministic` is below."""


def meant(tag: str) -> str:
    """Returns the tag of the kit that this is another spelling of; empty if it is none.

    >>> meant("keeps_mean"), meant("Penalizes-Biases"), meant("keeps-mean"), meant("nondeterministic")
    ('keeps-mean', 'penalises-biases', '', '')
    """
    spelt = tag.lower().replace("_", "-").replace(" ", "-")
    near = difflib.get_close_matches(spelt, TAGS, n=1, cutoff=_SPELLING)
    return near[0] if near and tag not in TAGS else ""

"""What the layers of this family share: their places, and one strength for all places or one for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor

from regplug.errors import CompositionError
from regplug.regularizer import Notice, RunContext
from regplug.sites import Site, Sites


def at_place(value: Tensor, index: int) -> Tensor:
    """A setting at one place: the number itself, or the place's entry where there is one for each."""
    return value[index] if value.ndim else value


def weights_of(sites: Sites, at: str | Sequence[str]) -> list[Site]:
    """The modules with a weight that `at` names, or all of them; a module that is called twice is there once."""
    return [site for site in sites.chosen(at, Sites.weighted) if site.call == 0]


def require_one_each(sites: Sites, name: str, value: Any, chosen: Sequence[Site]) -> None:
    """Refuses a list of strengths that is longer or shorter than the list of places.

    Raises:
        CompositionError: It is.
    """
    if isinstance(value, tuple) and len(value) != len(chosen):
        places = ", ".join(site.key for site in chosen)
        raise CompositionError(
            f"{sites.owner}: {name} has {len(value)} numbers for {len(chosen)} places ({places}).",
            hint="Give one number for all places, or one for each.",
        )


def doubt_before_batch_norm(context: RunContext, name: str) -> Iterator[Notice]:
    """Warns of noise on activations that a batch normalization measures in training."""
    if context.batch_norm_after:
        yield Notice(
            "warn",
            f"{name} stands before a batch normalization, whose running variance then is that of the scaled-up "
            "activations in training and not that of evaluation (Li et al. 2019).",
            "Put it behind the last normalization with at=.",
        )

"""What penalties on weights share: which weights, and one strength for all of them or one for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor

from regplug.errors import some_of
from regplug.regularizer import Notice, RunContext, Step, Tensors
from regplug.sites import Site


def effective_weight(site: Site) -> Tensor:
    """The weight with which a module computes, without a graph."""
    weight: Any = site.module.weight
    return weight.detach()  # type: ignore[no-any-return] # a tensor


def chosen_weights(step: Step, weights: Tensors, params: Any) -> list[Tensor]:
    """The weights that `at` and `everything` choose, in the order of the model's parameters."""
    selected = step.select(weights, everything=getattr(params, "everything", False))
    return [weight for name, weight in selected.items() if _is_meant(name, params)]


def total(strength: Tensor, weights: Iterable[Tensor], term: Callable[[Tensor], Tensor]) -> Tensor:
    """The sum of `strength * term(weight)`; a strength with an axis has one entry for each weight."""
    terms = [term(weight) for weight in weights]
    if not strength.ndim:
        return strength * sum(terms)
    return sum((own * each for own, each in zip(strength, terms, strict=True)), strength.new_zeros(()))


def check_places(context: RunContext, name: str, params: Any) -> Iterator[Notice]:
    """Refuses globs that name no weight, and a list of strengths that is longer or shorter than the list of weights."""
    for glob in _globs(params):
        if not any(fnmatchcase(_module_of(each), glob) for each in context.weights):
            modules = some_of(dict.fromkeys(map(_module_of, context.weights)))
            yield Notice("refuse", f"{name}: at={glob} names no module with a weight.", f"There are: {modules}.")
    chosen = [each for each in context.weights if _is_meant(each, params)]
    if isinstance(params.strength, tuple) and context.weights and len(params.strength) != len(chosen):
        yield Notice(
            "refuse",
            f"{name}: strength has {len(params.strength)} numbers for {len(chosen)} weights ({', '.join(chosen)}).",
            "Give one number for all weights, or one for each.",
        )


def _is_meant(name: str, params: Any) -> bool:
    globs = _globs(params)
    return not globs or any(fnmatchcase(_module_of(name), glob) for glob in globs)


def _globs(params: Any) -> tuple[str, ...]:
    at = getattr(params, "at", ())
    return (at,) if isinstance(at, str) else tuple(at)


def _module_of(name: str) -> str:
    return name.rpartition(".")[0]

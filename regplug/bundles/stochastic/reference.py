"""The model with live dropout in torch: its active layers, other randomness, and its outputs."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from regplug.bundles.capture import EXAMPLE_ROWS
from regplug.bundles.cases import REAL
from regplug.bundles.formats import Array
from regplug.bundles.isolate import Deployed
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.stochastic.layers import NO_DROPOUT, NO_DROPOUT_HINT, Call, LiveDropout, Noise
from regplug.bundles.stochastic.record import COPIES, KIND, PASSES, ROWS, RUNS, Draws, as_passes, asked_rows
from regplug.bundles.stochastic.uniforms import given_uniforms, symbolic_mask
from regplug.bundles.tolerance import references
from regplug.errors import ExportError, RequestError

_SEED = 0
_MOST_ALIKE = 0.96
"""Largest share of equal outputs: then the probability that all of 448 draws are equal is below 2e-8."""


@contextmanager
def slow_attention() -> Iterator[None]:
    """Disables torch's fused attention, which in evaluation never calls the dropout of a transformer's layers."""
    was_on = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_on)


def live_preflight(deployed: Deployed, noise: Noise, real: Array) -> tuple[Draws, dict[str, Any], list[Check]]:
    """Returns the model's outputs with live dropout, their part of the manifest, and the checks of both.

    Args:
        deployed: The model.
        noise: Its noise.
        real: Real raw rows `(64, ...)`.

    Raises:
        ExportError: The dropout cannot be described, or varies too little to be verified.
    """
    raw = torch.from_numpy(real[:EXAMPLE_ROWS])
    layers, others = live_layers(deployed, noise, raw), other_noise(deployed, raw)
    draws = model_draws(deployed, noise, layers, real)
    checks = [layers_check(layers), others_check(others), *draws_checks(draws)]
    return draws, {"kind": KIND, "layers": layers, "not_live": others, "passes": PASSES}, checks


def live_layers(deployed: Deployed, noise: Noise, raw: Tensor) -> list[dict[str, Any]]:
    """Returns the manifest's description of each call of a dropout layer, in the order of the forward pass.

    Args:
        deployed: The model.
        noise: Its noise.
        raw: Three or more raw rows.

    Raises:
        RequestError: No layer is called.
        ExportError: The calls, or the shape of a mask, depend on the batch in a way that a file cannot represent.
    """
    two, three = (_calls(deployed, noise, raw[:size]) for size in (2, 3))
    if not two:
        raise RequestError(NO_DROPOUT, hint=NO_DROPOUT_HINT)
    if [call.name for call in two] != [call.name for call in three]:
        raise ExportError(
            "Which dropout layers are called depends on the batch.", hint="Call every layer in each forward pass."
        )
    return [_described(one, other) for one, other in zip(two, three, strict=True)]


def _calls(deployed: Deployed, noise: Noise, raw: Tensor) -> list[Call]:
    with torch.no_grad(), noise.watched() as calls:
        deployed(raw)
    return list(calls)


def _described(two: Call, three: Call) -> dict[str, Any]:
    mask = symbolic_mask(two.mask, three.mask)
    if mask is None or not any(isinstance(axis, str) for axis in mask):
        raise ExportError(
            f"The mask of module '{two.name}' ({two.kind}) has shape {two.mask} for two rows and {three.mask} for "
            "three: it is not drawn separately for each row.",
            hint="Give the dropout a tensor with a batch axis.",
        )
    return {"name": two.name, "kind": two.kind, "rate": two.rate, "mask": mask}


def layers_check(layers: Sequence[dict[str, Any]]) -> Check:
    """Returns the check that lists the live dropout."""
    named = ", ".join(f"{layer['name']} (p={layer['rate']:g})" for layer in layers)
    return Check(name="model.live_dropout", passed=True, figure=float(len(layers)), detail=f"live: {named}")


def other_noise(deployed: Deployed, raw: Tensor) -> list[str]:
    """Returns modules that are random in training without a dropout module; they act as in evaluation.

    Examples are attention and recurrent layers with `dropout=`, stochastic depth, and `F.dropout` in a forward.

    Args:
        deployed: The model; not changed.
        raw: A few raw rows.
    """
    copied = copy.deepcopy(deployed)
    parts = [(n, m) for n, m in copied.named_modules() if m is not copied and not isinstance(m, LiveDropout)]
    if not _is_random(copied, [part for _, part in parts], raw):
        return []
    return [name.removeprefix("network.") for name, part in parts if _is_random(copied, [part], raw)]


def _is_random(model: nn.Module, parts: Sequence[nn.Module], raw: Tensor) -> bool:
    """Returns whether anything draws random numbers if only these parts are in training mode."""
    for part in parts:
        part.training = True
    try:
        watch = _RandomWatch()
        with torch.no_grad(), watch:
            model(raw)
        return watch.seen
    except Exception:
        # The whole model may fail in training mode, while its parts can be tested.
        return len(parts) > 1
    finally:
        for part in parts:
            part.training = False


class _RandomWatch(TorchDispatchMode):  # type: ignore[no-untyped-call] # of torch
    """Detects operators that draw random numbers."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # of torch
        self.seen = False

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if torch.Tag.nondeterministic_seeded in function.tags:
            named = {argument.name: argument.default_value for argument in function._schema.arguments}
            # Attention has one operator, with and without dropout.
            self.seen |= {**named, **dict(zip(named, args, strict=False)), **given}.get("dropout_p", 1.0) > 0
        return function(*args, **given)


def others_check(names: Sequence[str]) -> Check:
    """Returns the check that lists randomness of training that is not in the file; it always passes."""
    if not names:
        return holds("model.other_noise", True, "nothing else is random in training")
    return holds("model.other_noise", True, f"not live, because it is not a dropout module: {', '.join(names)}")


def model_draws(deployed: Deployed, noise: Noise, layers: Sequence[dict[str, Any]], real: Array) -> Draws:
    """Returns the model's outputs with supplied numbers, and in random passes.

    Args:
        deployed: The model.
        noise: Its noise.
        layers: See `live_layers`.
        real: Real raw rows `(64, ...)`.
    """
    given = [torch.from_numpy(numbers) for numbers in given_uniforms(layers, len(real))]
    with noise.live(given):
        reference = references(deployed, {REAL: real})[0]
    asked = torch.from_numpy(asked_rows(real))
    with torch.no_grad(), torch.random.fork_rng(devices=[]), noise.live():
        torch.manual_seed(_SEED)
        passes = np.concatenate([as_passes(deployed(asked).numpy()) for _ in range(RUNS)])
    return Draws(given=reference, passes=passes)


def draws_checks(draws: Draws) -> list[Check]:
    """Checks that the model's own random outputs are finite, and vary enough to verify a file.

    Raises:
        ExportError: They are not, or do not.
    """
    if not np.isfinite(draws.passes).all():
        raise ExportError(
            "With live dropout the model returns NaN or infinity.",
            hint="A layer overflows for values that dropout scales up: inspect the layers after it.",
        )
    alike = min(_most_alike(draws.passes[:, row]) for row in range(ROWS))
    if alike > _MOST_ALIKE:
        raise ExportError(
            f"With its dropout live {100 * alike:.1f} % of {PASSES} outputs for one row are equal, which is "
            "too little noise to verify.",
            hint="Raise the rates, or export it without --stochastic. A last layer of zeros hides it too.",
        )
    detail = f"share of the most frequent among {PASSES} random outputs for one row ({RUNS} runs, {COPIES} copies each)"
    return [at_most("model.live_repeats_differ", alike, _MOST_ALIKE, detail)]


def _most_alike(answers: Array) -> float:
    _, counts = np.unique(answers, axis=0, return_counts=True)
    return float(counts.max()) / len(answers)

"""Step 1: an own copy of the model, on the CPU, in float32, in evaluation mode, without hooks."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from regplug.bundles.blame import STOCHASTIC_HINT, title
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.stochastic.layers import KINDS, Noise, make_live
from regplug.errors import ExportError

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_HOOK_FLAGS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


class Deployed(nn.Module):
    """Raw input to output: preprocessing, the trained network and, on request, softmax.

    Args:
        preprocess: Raw `(B, ...)` to normalised `(B, ...)`.
        network: Normalised `(B, ...)` to logits or values `(B, K)`.
        probabilities: Whether to end in a softmax over K.

    Its `noise` is what its dropout draws from, where that shall act in inference; it is off until it is asked for.
    """

    noise: Noise | None = None

    def __init__(self, preprocess: nn.Module, network: nn.Module, probabilities: bool) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network
        self.probabilities = probabilities

    def forward(self, raw: Tensor) -> Tensor:
        """Raw `(B, ...)` to logits, probabilities or values `(B, K)`."""
        output: Tensor = self.network(self.preprocess(raw))
        return output.softmax(1) if self.probabilities else output


def isolate(
    preprocess: nn.Module, network: nn.Module, probabilities: bool, *, stochastic: bool = False
) -> tuple[Deployed, list[Check]]:
    """Makes the copy that is exported.

    Args:
        preprocess: See `Deployed`.
        network: See `Deployed`.
        probabilities: See `Deployed`.
        stochastic: Whether its dropout shall act in inference.

    Raises:
        RequestError: Dropout shall act, and there is none.
        ExportError: It cannot be copied, or a submodule stays in training mode.
    """
    deployed = Deployed(_copied(preprocess), _copied(network), probabilities)
    if stochastic:
        deployed.noise = make_live(deployed)
    deployed.to("cpu").float().eval().requires_grad_(False)
    return deployed, [evaluation_mode(deployed)]


def _copied(module: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(module)
    except Exception as error:
        raise ExportError(
            f"{type(module).__module__}.{type(module).__qualname__} cannot be copied: {error}",
            hint="A tensor with a history, or an open resource, is kept as an attribute. Register tensors as buffers; "
            "use torch.nn.utils.parametrizations in place of the old weight_norm and spectral_norm.",
        ) from error


def evaluation_mode(deployed: nn.Module) -> Check:
    """No submodule is left in training mode after `.eval()`.

    Raises:
        ExportError: One is; it is named.
    """
    for name, module in deployed.named_modules():
        if module.training:
            raise ExportError(
                f"{title(name, module)} stays in training mode after `.eval()`.",
                hint="Its train() or eval() does not call super().train(mode), or its forward sets `training`."
                + (f" {STOCHASTIC_HINT}" if isinstance(module, KINDS) else ""),
            )
    return holds("model.evaluation_mode", True, "every submodule is in evaluation mode")


def remove_hooks(deployed: Deployed, raw: Tensor) -> Check:
    """Takes every hook off, and shows that none of them changed the output.

    Args:
        deployed: The copy; changed in place.
        raw: A few raw rows `(B, ...)` that it takes.

    Raises:
        ExportError: The output with hooks is another one than without; the hooks are named.
    """
    left = [f"{title(name, module)}: {_hook_name(hook)}" for name, module, hook in _hooks(deployed)]
    if not left:
        return holds("model.hooks", True, "no hook was left on a module")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        with_hooks = deployed(raw)
        _clear_hooks(deployed)
        deployed.eval()
        without = deployed(raw)
    error = float((with_hooks - without).abs().max()) if with_hooks.shape == without.shape else float("inf")
    if not error <= 0:
        raise ExportError(
            f"Hooks change what the model puts out, by {error:.3g}: {'; '.join(left)}.",
            hint="No file can hold a hook. Remove it (`handle.remove()`), or write what it does as a module.",
        )
    return at_most("model.hooks", error, 0.0, f"{len(left)} hooks removed that changed nothing")


def _hooks(module: nn.Module) -> Iterator[tuple[str, nn.Module, object]]:
    for name, child in module.named_modules():
        for kind in _HOOKS:
            for hook in getattr(child, kind).values():
                yield name, child, hook


def _hook_name(hook: object) -> str:
    return str(getattr(hook, "__qualname__", type(hook).__qualname__))


def _clear_hooks(module: nn.Module) -> None:
    for child in module.modules():
        for attribute in _HOOKS + _HOOK_FLAGS:
            getattr(child, attribute).clear()

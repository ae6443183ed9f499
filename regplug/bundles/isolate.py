"""Step 1: copies the model to the CPU, in float32, in evaluation mode, without hooks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from regplug.bundles.blame import STOCHASTIC_HINT, title
from regplug.bundles.causes import cause
from regplug.bundles.copying import bake_weights, own_copy
from regplug.bundles.report import Check, at_most, holds
from regplug.bundles.stochastic.layers import KINDS, Noise, make_live
from regplug.errors import ExportError

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_OTHER_FLOATS = (torch.bfloat16, torch.float16, torch.float64)
_HOOK_FLAGS = ("_forward_hooks_with_kwargs", "_forward_hooks_always_called", "_forward_pre_hooks_with_kwargs")


Ending = Literal["", "softmax", "sigmoid"]
"""What a graph does with the network's output."""


class Deployed(nn.Module):
    """Raw input to output: preprocessing, the trained network and, on request, a temperature, softmax or sigmoid.

    Args:
        preprocess: Raw `(B, ...)` to normalised `(B, ...)`.
        network: Normalised `(B, ...)` to logits or values `(B, K)`.
        ending: `softmax` over K or `sigmoid`, which give probabilities; empty to return the network's output.

    `noise` is the source of live dropout's draws; it is off by default. The output is float32, whatever the network's
    floating type. `temperature`, by default none, divides the logits. If
    `writes_input` is true, the network changes its input in place and therefore receives a copy.
    """

    noise: Noise | None = None
    writes_input = False
    temperature: Tensor | None

    def __init__(self, preprocess: nn.Module, network: nn.Module, ending: Ending) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.network = network
        self.ending = ending
        self.register_buffer("temperature", None)

    def forward(self, raw: Tensor) -> Any:
        """Maps raw `(B, ...)` to logits, probabilities or values `(B, K)`; other results are left to the checks."""
        output = self.uncalibrated(raw)
        return self.ended(output) if isinstance(output, Tensor) else output

    def uncalibrated(self, raw: Tensor) -> Any:
        """Returns the network's own logits or values."""
        output = self.network(self.preprocess(raw.clone() if self.writes_input else raw))
        if not isinstance(output, Tensor):
            return output
        return output.float() if output.dtype in _OTHER_FLOATS else output

    def exact(self, raw: Tensor) -> Tensor:
        """Returns the output in float64, for a model whose parameters are float64."""
        # Always a copy, because the network may change it.
        wide = raw.double() if raw.is_floating_point() else raw.clone()
        output: Tensor = self.network(self.preprocess(wide).double())
        return self.ended(output)

    def ended(self, output: Tensor) -> Tensor:
        """Returns the network's output divided by the temperature, or its probabilities."""
        if self.temperature is not None:
            output = output / self.temperature
        if self.ending == "sigmoid":
            return output.sigmoid()
        return output.softmax(1) if self.ending else output


def isolate(
    preprocess: nn.Module, network: nn.Module, ending: Ending, *, stochastic: bool = False
) -> tuple[Deployed, list[Check]]:
    """Returns the copy that is exported.

    Args:
        preprocess: See `Deployed`.
        network: See `Deployed`.
        ending: See `Deployed`.
        stochastic: Whether its dropout stays live in inference.

    Raises:
        RequestError: Live dropout was requested, but there is none.
        ExportError: It cannot be copied, or a submodule stays in training mode.
    """
    deployed = Deployed(own_copy(preprocess), own_copy(network), ending)
    if stochastic:
        deployed.noise = make_live(deployed)
    deployed.to("cpu").float().requires_grad_(False)
    try:
        deployed.eval()
    except Exception as error:
        raise ExportError(
            f"{title('', network)} cannot be put into evaluation mode: {cause(error)}",
            hint="If it was exported or compiled before, export the original module.",
        ) from error
    return deployed, [evaluation_mode(deployed)]


def evaluation_mode(deployed: nn.Module) -> Check:
    """Checks that no submodule stays in training mode after `.eval()`.

    Raises:
        ExportError: One does; the message names it.
    """
    for name, module in deployed.named_modules():
        if module.training:
            raise ExportError(
                f"{title(name, module)} stays in training mode after `.eval()`.",
                hint="Its train() or eval() does not call super().train(mode), or its forward sets `training`."
                + (f" {STOCHASTIC_HINT}" if isinstance(module, KINDS) else ""),
            )
    return holds("model.evaluation_mode", True, "every submodule is in evaluation mode")


def guard_input(deployed: Deployed, raw: Tensor) -> None:
    """Detects whether the network changes its input in place; if so, it receives a copy from now on.

    Args:
        deployed: The copy; changed in place.
        raw: A few raw rows `(B, ...)`; not changed.
    """
    given = raw.clone()
    version = given._version
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            deployed(given)
    except Exception:  # noqa: S110 - later checks report whether it can run
        pass
    deployed.writes_input = given._version != version


def remove_hooks(deployed: Deployed, raw: Tensor) -> Check:
    """Turns computed weights into plain ones, removes every hook, and checks that the output does not change.

    Args:
        deployed: The copy; changed in place.
        raw: A few raw rows `(B, ...)`.

    Raises:
        ExportError: The output changes; the message names the hooks.
    """
    if not any(_hooks(deployed)) and not any(map(is_parametrized, deployed.modules())):
        return holds("model.hooks", True, "no module has a hook")
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        before = _seeded_answer(deployed, raw)
        baked = bake_weights(deployed)
        left = [f"{title(name, module)}: {_hook_name(hook)}" for name, module, hook in _hooks(deployed)]
        if not left and not baked:
            return holds("model.hooks", True, "no module has a hook")
        _clear_hooks(deployed)
        deployed.eval()
        error = largest_gap(before, _seeded_answer(deployed, raw))
    if not error <= 0 and not left:
        raise ExportError(
            f"The model does not use its computed weights ({'; '.join(baked)}): with them as plain tensors, its "
            f"outputs differ by {error:.3g}.",
            hint="Remove the parametrization but keep the weight: torch.nn.utils.parametrize.remove_parametrizations.",
        )
    if not error <= 0:
        raise ExportError(
            f"Hooks change the model's outputs by {error:.3g}: {'; '.join(left)}.",
            hint="A file cannot contain a hook. Remove it (`handle.remove()`), or write it as a module.",
        )
    return at_most("model.hooks", error, 0.0, f"removed {len(left)} hooks without effect")


def _seeded_answer(deployed: Deployed, raw: Tensor) -> Tensor:
    """Returns the output for a fixed seed, so that randomness is not attributed to a hook."""
    torch.manual_seed(0)
    output: Tensor = deployed(raw)
    return output


def largest_gap(one: Tensor, other: Tensor) -> float:
    """Returns the largest difference of two outputs; 0 for equal NaN or infinity, infinite for different shapes."""
    if one.shape != other.shape:
        return float("inf")
    same = (one == other) | (one.isnan() & other.isnan())
    return float(torch.where(same, 0.0, (one - other).abs().nan_to_num(nan=float("inf"))).max()) if one.numel() else 0.0


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

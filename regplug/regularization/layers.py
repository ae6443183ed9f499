"""Layers that use a run's settings and noise, and the wrapper that holds them."""

from __future__ import annotations

import contextvars
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

from regplug.errors import PluginError
from regplug.noise import pass_key
from regplug.regularization.step import Step

Changed = Tensor | tuple[Tensor, Mapping[str, Tensor]]
"""What a layer returns: a tensor, or with it new values of its own buffers by name."""


class Pass:
    """One forward pass of the host: the step, the number of the pass, and the taps."""

    __slots__ = ("number", "step", "taps")

    def __init__(self, step: Step, number: int) -> None:
        self.step, self.number = step, number
        self.taps: dict[str, Tensor] = {}


current_pass: contextvars.ContextVar[Pass | None] = contextvars.ContextVar("regplug_pass", default=None)


class ActingLayer(nn.Module):
    """A layer that reads the step in training and, where `evaluate` is overridden, the settings in evaluation.

    Abstract: see `SiteLayer` and `WeightLayer`.
    """

    owner: str = ""
    key: str = ""
    index: int = 0

    def act(self, step: Step, noise: Any, x: Tensor) -> Changed:
        """Computes the layer in training: a pure function of one run.

        Args:
            step: The step as the owner sees it: settings, noise, state, batch.
            noise: What the owner drew under this place's key in this pass, or `None`.
            x: Input of the layer: an activation `(B, ...)`, or a weight.

        Returns:
            A tensor of the shape of `x`; or a pair of it and new values of the layer's buffers.
        """
        raise NotImplementedError

    def evaluate(self, settings: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Computes the layer in evaluation: the identity, unless overridden. `settings` are the owner's."""
        return x

    @property
    def acts_in_evaluation(self) -> bool:
        """Whether `evaluate` is overridden."""
        return type(self).evaluate is not ActingLayer.evaluate

    def forward(self, x: Tensor) -> Tensor:
        """Acts within a pass of the host's loop."""
        if not self.training and not self.acts_in_evaluation:
            return x
        running = current_pass.get()
        if running is None:
            raise RuntimeError(
                f"The layer of {self.owner} at {self.key} reads its settings and noise from regplug's loop. Train it "
                "with regplug; the trained model that a run returns is made of ordinary modules."
            )
        step = running.step.child(self.owner)
        if not self.training:
            return self.evaluate(step.settings, x)
        changed = self._acted(step, step.noise.get(pass_key(self.key, running.number)), x)
        if isinstance(changed, Tensor):
            return changed
        value, buffers = changed
        for name, new in buffers.items():
            if name not in self._buffers:
                raise PluginError(
                    f"{self.owner}: act of {type(self).__name__} returns the buffer {name}, which it does not have.",
                    hint=f"Its buffers: {', '.join(self._buffers) or 'none; register them in __init__'}.",
                )
            self.get_buffer(name).copy_(new.detach())
        return value

    def _acted(self, step: Step, noise: Any, x: Tensor) -> Changed:
        """Calls `act` on copies of the buffers: the graph may hold the originals, which must not be written."""
        if not self._buffers:
            return self.act(step, noise, x)
        held = {name: value for name, value in self._buffers.items() if value is not None}
        copies = {name: value.clone() for name, value in held.items()}
        self._buffers.update(copies)
        try:
            changed = self.act(step, noise, x)
            written = [n for n, copy in copies.items() if self._buffers[n] is not copy or copy._version]
        finally:
            self._buffers.update(held)
        if written:
            raise PluginError(
                f"{self.owner}: act of {type(self).__name__} writes the buffer {written[0]}.",
                hint="Return it: a pair of the value and the new buffers by name.",
            )
        return changed


class SiteLayer(ActingLayer):
    """A layer before or after a module, or in its place. The host removes it from the trained model.

    One that acts in evaluation overrides `evaluate` and `settled`.
    """

    def settled(self, settings: Mapping[str, Any]) -> nn.Module | None:
        """Returns an ordinary module that acts as this layer does in evaluation; `None` for the identity.

        Args:
            settings: The owner's parameters as Python numbers, at the end of their schedules.
        """
        return None

    def in_inference(self, params: Any) -> nn.Module | None:
        """Returns the module for inference with live noise (`regplug export --stochastic`).

        Args:
            params: The owner's parameters; `None` for a model's own dropout.

        Returns:
            One of torch's dropout modules that does the same; `None` where this layer acts in training only.
        """
        return None


class WeightLayer(ActingLayer):
    """A parametrization of one weight: the module computes with what `act` returns for the trained tensor.

    In evaluation it computes with what `evaluate` returns, by default the trained tensor itself; penalties and
    probes see the same. The trained model holds the value as an ordinary parameter.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Acts within a pass of the host's loop."""
        try:
            return super().forward(x)
        except AttributeError as error:
            # The module's property for the weight would report that the module has no weight.
            raise PluginError(f"{self.owner}: {type(self).__name__} failed at {self.key}: {error}.") from error

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Returns the trained tensor for which `evaluate` returns `weight`; decay and projections need it.

        Override it where `evaluate` is overridden and has an inverse.
        """
        if self.acts_in_evaluation:
            raise NotImplementedError
        return weight


class Tap(SiteLayer):
    """Records the activation at its site as `outputs.taps["owner/place"]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Records `x`; changes nothing."""
        running = current_pass.get()
        if running is not None:
            running.taps[f"{self.owner}/{self.key}"] = x
        return x


class Augmented(nn.Module):
    """A module with layers put before and after each call of it. Other attributes are the module's own.

    In training the module keeps its own name: a layer does not change the names of the model's parameters, which
    regularizers use to tell them apart and to draw noise.
    """

    def __init__(self, module: nn.Module, calls: int) -> None:
        super().__init__()
        self.module = module
        self.before = nn.ModuleList(nn.ModuleList() for _ in range(calls))
        self.after = nn.ModuleList(nn.ModuleList() for _ in range(calls))
        self.calls, self.call = calls, 0
        self.is_hidden = True

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """As for any module, but the wrapped one has no name of its own while this one is hidden."""
        own = f"{prefix}.module" if prefix else "module"
        for name, module in super().named_modules(memo, prefix, remove_duplicate):
            is_within = self.is_hidden and (name == own or name.startswith(f"{own}."))
            yield f"{prefix}{name.removeprefix(own)}" if is_within else name, module

    def __getattr__(self, name: str) -> Any:
        """Falls back to the wrapped module: a model may read `self.fc.weight` of its layer."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Layers before, the module, layers after."""
        call = self.call
        if self.calls > 1:
            self.call = (call + 1) % self.calls
        for layer in self.before[call]:  # type: ignore[attr-defined] # a ModuleList of ModuleLists
            x = layer(x)
        x = self.module(x, *args, **kwargs)
        for layer in self.after[call]:  # type: ignore[attr-defined]
            x = layer(x)
        return x


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Replaces `old` by `new` everywhere in the model: a module may be registered under two names."""
    for parent in model.modules():
        if parent is not new:
            # named_children() would skip the second name.
            for name, child in list(parent._modules.items()):
                if child is old:
                    setattr(parent, name, new)

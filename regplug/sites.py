"""Where a structural regularizer can act, and the layers that it puts there.

A site is a module of the model and the how-manieth call of it in one forward pass. Sites are found by running the model
once on an example with hooks, so they serve any model: regplug's, torchvision's, the user's own.
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from regplug.errors import CompositionError, some_of
from regplug.noise import pass_key
from regplug.regularizer import Role, Step

NORMALIZATIONS: tuple[type[nn.Module], ...] = (
    nn.modules.batchnorm._NormBase,
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.LocalResponseNorm,
)
_NO_ACTIVATIONS = ("MultiheadAttention", "Softmax", "Softmax2d", "LogSoftmax", "Softmin")
ACTIVATIONS: tuple[type[nn.Module], ...] = tuple(
    getattr(nn.modules.activation, name) for name in nn.modules.activation.__all__ if name not in _NO_ACTIVATIONS
)


@dataclass(frozen=True, kw_only=True)
class Site:
    """One call of one module.

    Args:
        name: The module's name in the model.
        call: How many calls of it came before, in one forward pass.
        module: The module.
        input_shape: Shape of its first input, the batch first.
        output_shape: Shape of its output, the batch first.
    """

    name: str
    call: int
    module: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def key(self) -> str:
        """Name and call, the key of what is drawn for it."""
        return f"{self.name}#{self.call}"

    @property
    def is_activation(self) -> bool:
        """Whether the module is an activation: one of torch's, or marked `is_activation`."""
        return isinstance(self.module, ACTIVATIONS) or getattr(self.module, "is_activation", False) is True


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a regularizer put a layer.

    Args:
        key: The key of its draws.
        index: The how-manieth of this regularizer's places, in the order of the forward pass.
        shape: Shape of what reaches it, the batch first; the batch is the example's.
    """

    key: str
    index: int
    shape: tuple[int, ...]


class Pass:
    """One forward pass in training, for the layers that act in it: the step, the number of the pass, and the taps."""

    __slots__ = ("number", "step", "taps")

    def __init__(self, step: Step, number: int) -> None:
        self.step, self.number = step, number
        self.taps: dict[str, Tensor] = {}


current_pass: contextvars.ContextVar[Pass | None] = contextvars.ContextVar("regplug_pass", default=None)


class SiteLayer(nn.Module):
    """A layer that acts in training, by the step's settings and noise, and is the identity in evaluation.

    Abstract: a subclass overrides `act`. The host removes it from the trained model.
    """

    owner: str = ""
    key: str = ""
    index: int = 0

    def act(self, settings: Any, noise: Any, x: Tensor) -> Tensor:
        """The pure function of one run.

        Args:
            settings: Parameter -> tensor.
            noise: What the owner drew under this place's key, or `None`.
            x: What reaches the place, the batch first.
        """
        raise NotImplementedError

    def in_inference(self, params: Any) -> nn.Module | None:
        """What stands here where noise is to stay live in inference (`regplug export --stochastic`).

        Args:
            params: The owner's parameters; `None` for a model's own dropout.

        Returns:
            One of torch's dropout modules that does the same; `None` where this layer acts in training only.
        """
        return None

    def forward(self, x: Tensor) -> Tensor:
        """Acts in training within a pass of the host's loop."""
        if not self.training:
            return x
        running = current_pass.get()
        if running is None:
            raise RuntimeError(
                f"The layer of {self.owner} at {self.key} reads its rate and noise from regplug's loop. Call the model "
                "in evaluation mode, or train it with regplug."
            )
        step = running.step.child(self.owner)
        return self.act(step.settings, step.noise.get(pass_key(self.key, running.number)), x)


class Tap(SiteLayer):
    """Shows what passes here to the owner's `penalty`, as `outputs.taps[key]`."""

    def forward(self, x: Tensor) -> Tensor:
        """Records `x` in training; changes nothing."""
        running = current_pass.get()
        if self.training and running is not None:
            running.taps[f"{self.owner}/{self.key}"] = x
        return x


class Augmented(nn.Module):
    """A module with layers put before and after each call of it. Other attributes are the module's own."""

    def __init__(self, module: nn.Module, calls: int) -> None:
        super().__init__()
        self.module = module
        self.before = nn.ModuleList(nn.ModuleList() for _ in range(calls))
        self.after = nn.ModuleList(nn.ModuleList() for _ in range(calls))
        self.calls, self.call = calls, 0

    def __getattr__(self, name: str) -> Any:
        """Looks at the wrapped module: a model may read `self.fc.weight` of its layer."""
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


class Sites:
    """The sites of a model, and one regularizer's hand in them.

    Args:
        model: The model; layers are put into it.
        found: All sites in the order of the forward pass (`find_sites`).
        owner: The regularizer's key.
    """

    def __init__(self, model: nn.Module, found: Sequence[Site], owner: str) -> None:
        self.model, self.owner = model, owner
        self.all = tuple(found)
        self.places: list[Place] = []

    def __iter__(self) -> Iterator[Site]:
        return iter(self.all)

    def activations(self) -> list[Site]:
        """The sites of activation modules. A functional activation has no site."""
        return [site for site in self.all if site.is_activation]

    def matching(self, globs: Sequence[str]) -> list[Site]:
        """The sites whose module name matches one of the globs.

        Raises:
            CompositionError: If a glob matches no module.
        """
        names = [site.name for site in self.all]
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise CompositionError(
                    f"{self.owner}: at={glob} names no module of the model.",
                    hint=f"Its modules, in the order of the forward pass: {some_of(dict.fromkeys(names))}.",
                )
        return [site for site in self.all if any(fnmatchcase(site.name, glob) for glob in globs)]

    def chosen(self, globs: Sequence[str], default: Callable[[Sites], list[Site]]) -> list[Site]:
        """The sites that `at=` names, or the default ones.

        Raises:
            CompositionError: If there is none: a regularizer that acts nowhere is an error, not silence.
        """
        chosen = self.matching(globs) if globs else default(self)
        if not chosen:
            names = ", ".join(dict.fromkeys(site.name for site in self.all)) or "none"
            raise CompositionError(
                f"{self.owner} found no place in the model: it has no activation module.",
                hint=f"Name modules with at=, for example {self.owner}:at=NAME. Modules: {names}. A functional "
                "activation, such as torch.relu in forward, is no module: use nn.ReLU.",
            )
        return chosen

    def after(self, site: Site, layer: nn.Module) -> Place:
        """Puts a layer after a call of a module."""
        return self._put(site, layer, "after", site.output_shape)

    def before(self, site: Site, layer: nn.Module) -> Place:
        """Puts a layer before a call of a module."""
        return self._put(site, layer, "before", site.input_shape)

    def _put(self, site: Site, layer: nn.Module, side: str, shape: tuple[int, ...]) -> Place:
        augmented = self._augmented(site)
        getattr(augmented, side)[site.call].append(layer)
        place = Place(key=site.key, index=len(self.places), shape=shape)
        if isinstance(layer, SiteLayer):
            layer.owner, layer.key, layer.index = self.owner, place.key, place.index
        layer.train(site.module.training)
        self.places.append(place)
        return place

    def _augmented(self, site: Site) -> Augmented:
        for module in self.model.modules():
            if isinstance(module, Augmented) and module.module is site.module:
                return module
        augmented = Augmented(site.module, 1 + max(s.call for s in self.all if s.name == site.name))
        _replace(self.model, site.module, augmented)
        return augmented


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts `new` wherever the model refers to `old`: a module may be registered under two names."""
    for parent in model.modules():
        if parent is not new:
            # named_children() would skip the second name.
            for name, child in list(parent._modules.items()):
                if child is old:
                    setattr(parent, name, new)


@torch.no_grad()
def find_sites(model: nn.Module, example: Tensor) -> list[Site]:
    """Runs the model once in evaluation mode and lists its sites in the order of the forward pass.

    Args:
        model: The model; its modes are restored.
        example: Inputs `(batch, ...)`.

    Returns:
        One site for each call of each named module that takes and returns a tensor; what was put around a module is no
        site of its own.
    """
    sites: list[Site] = []
    calls: dict[str, int] = {}

    def record(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                call = calls.get(name, 0)
                calls[name] = call + 1
                shapes = tuple(inputs[0].shape), tuple(output.shape)
                sites.append(Site(name=name, call=call, module=module, input_shape=shapes[0], output_shape=shapes[1]))

        return hook

    modes = {module: module.training for module in model.modules()}
    augmented = [module for module in model.modules() if isinstance(module, Augmented)]
    inside = {part for module in augmented for part in module.modules() if part is not module}
    named = [(name, module) for name, module in model.named_modules() if name and module not in inside]
    hooks = [module.register_forward_hook(record(name)) for name, module in named]
    try:
        model.eval()
        model(example)
    finally:
        for handle in hooks:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return sites


def find_roles(model: nn.Module) -> dict[str, Role]:
    """Says what each parameter is for.

    Returns:
        Name -> `norm` for parameters of normalization modules (torch's, or marked `is_normalization`), `bias` for
        others named so or with fewer than two axes, else `weight`. A parametrized weight stands under its own name.
    """
    roles: dict[str, Role] = {}
    for prefix, module in model.named_modules():
        is_norm = isinstance(module, NORMALIZATIONS) or getattr(module, "is_normalization", False) is True
        for name, tensor in module.named_parameters(prefix, recurse=False):
            is_bias = name.rpartition(".")[2].startswith("bias") or tensor.ndim < 2
            roles[name] = "norm" if is_norm else "bias" if is_bias else "weight"
    for prefix, module in model.named_modules():
        for name in getattr(module, "parametrizations", {}):
            path = f"{prefix}.{name}" if prefix else name
            roles[path] = "bias" if name.startswith("bias") else "weight"
    return roles


def without_site_layers(
    model: nn.Module, instead: Callable[[SiteLayer], nn.Module | None] = lambda _: None
) -> nn.Module:
    """Takes the layers that act only in training out of a trained model, and the wrappers that then hold nothing.

    The result computes in evaluation what the model computed, and is made of ordinary modules.

    Args:
        model: Changed in place.
        instead: The ordinary module that takes a layer's place, or `None` for none.
    """
    for module in reversed(list(model.modules())):
        if isinstance(module, Augmented):
            module.before, module.after = _kept(module.before, instead), _kept(module.after, instead)
            _replace(model, module, _simplest(module))
    return model


def _kept(side: nn.ModuleList, instead: Callable[[SiteLayer], nn.Module | None]) -> nn.ModuleList:
    calls: list[Any] = list(side)
    kept = [[instead(layer) if isinstance(layer, SiteLayer) else layer for layer in call] for call in calls]
    return nn.ModuleList(nn.ModuleList(layer for layer in call if layer is not None) for call in kept)


def _simplest(module: Augmented) -> nn.Module:
    if module.calls == 1:
        stack = [*module.before[0], module.module, *module.after[0]]  # type: ignore[misc]
        return stack[0] if len(stack) == 1 else nn.Sequential(*stack)
    is_empty = not any(len(call) for side in (module.before, module.after) for call in side)  # type: ignore[arg-type]
    return module.module if is_empty else module

"""The sites at which a structural regularizer can act, and the functions that change the model there.

A site is a module of the model and which call of it in one forward pass. Sites are found by running the model once on
an example with hooks, so they work for any model: regplug's, torchvision's or the user's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import Tensor, nn
from torch.nn.utils import parametrize

from regplug.errors import CompositionError, PluginError, some_of
from regplug.regularization.layers import (
    ActingLayer,
    Augmented,
    Pass,
    SiteLayer,
    Tap,
    WeightLayer,
    current_pass,
    replace_module,
)
from regplug.regularization.signatures import require_layer_signatures

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


def is_activation(module: nn.Module) -> bool:
    """Whether a module is an activation: one of torch's, or marked `is_activation`."""
    return isinstance(module, ACTIVATIONS) or getattr(module, "is_activation", False) is True


@dataclass(frozen=True, kw_only=True)
class Site:
    """One call of one module.

    Args:
        name: The module's name in the model.
        call: Number of earlier calls of the module in one forward pass.
        module: The module.
        input_shape: Shape of its first input, the batch axis first.
        output_shape: Shape of its output, the batch axis first.
    """

    name: str
    call: int
    module: nn.Module
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]

    @property
    def key(self) -> str:
        """Name and call: the key of the noise drawn for it."""
        return f"{self.name}#{self.call}"

    @property
    def is_activation(self) -> bool:
        """Whether the module is an activation: one of torch's, or marked `is_activation`."""
        return is_activation(self.module)

    @property
    def is_branch(self) -> bool:
        """Whether the module declares, by its attribute `is_branch`, that it is the branch of a residual connection."""
        return getattr(self.module, "is_branch", False) is True

    @property
    def has_weight(self) -> bool:
        """Whether the module itself has a weight with at least two axes and is not a normalization."""
        weight = getattr(self.module, "weight", None)
        return isinstance(weight, Tensor) and weight.ndim > 1 and not isinstance(self.module, NORMALIZATIONS)


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place where a regularizer put a layer.

    Args:
        key: The key of its noise.
        index: Index of the place among this regularizer's places, from 0, in the order of their creation.
        shape: Shape of the layer's input: of an activation, the batch axis first, or of a weight.
        is_weight: Whether the layer is on a weight.
    """

    key: str
    index: int
    shape: tuple[int, ...]
    is_weight: bool = False


class Sites:
    """The sites of a model, through which one regularizer changes it.

    Args:
        model: The model; layers are inserted into it.
        found: All sites in the order of the forward pass (`find_sites`).
        owner: The regularizer's key.
        replaced: Module -> its replacement, shared by the regularizers of a run.
    """

    def __init__(
        self,
        model: nn.Module,
        found: Sequence[Site],
        owner: str,
        replaced: dict[nn.Module, nn.Module] | None = None,
    ) -> None:
        self.model, self.owner = model, owner
        self.all = tuple(found)
        self.places: list[Place] = []
        self._replaced = {} if replaced is None else replaced

    def __iter__(self) -> Iterator[Site]:
        return iter(self.all)

    def activations(self) -> list[Site]:
        """The sites of activation modules. A functional activation has no site."""
        return [site for site in self.all if site.is_activation]

    def weighted(self) -> list[Site]:
        """The first site of each module that has a weight with at least two axes and is not a normalization."""
        return [site for site in self.all if site.has_weight and site.call == 0]

    def branches(self) -> list[Site]:
        """The sites of modules that declare that they are the branch of a residual connection."""
        return [site for site in self.all if site.is_branch]

    def matching(self, globs: str | Sequence[str]) -> list[Site]:
        """The sites whose module name matches one of the globs.

        Raises:
            CompositionError: A glob matches no module.
        """
        globs = (globs,) if isinstance(globs, str) else globs
        names = [site.name for site in self.all]
        for glob in globs:
            if not any(fnmatchcase(name, glob) for name in names):
                raise CompositionError(
                    f"{self.owner}: at={glob} matches no module of the model.",
                    hint=f"Its modules, in the order of the forward pass: {some_of(dict.fromkeys(names))}.",
                )
        return [site for site in self.all if any(fnmatchcase(site.name, glob) for glob in globs)]

    def chosen(self, globs: str | Sequence[str], default: Callable[[Sites], list[Site]]) -> list[Site]:
        """The sites that `at=` names, or the default ones.

        Raises:
            CompositionError: There is none. A regularizer that acts nowhere is an error.
        """
        chosen = self.matching(globs) if globs else default(self)
        if not chosen:
            names = ", ".join(dict.fromkeys(site.name for site in self.all)) or "none"
            reason, remedy = _NOTHING.get(getattr(default, "__name__", ""), ("", ""))
            raise CompositionError(
                f"{self.owner} found no site in the model{reason}.",
                hint=f"Name modules with at=, for example {self.owner}:at=NAME. Modules: {names}.{remedy}",
            )
        return chosen

    def after(self, site: Site, layer: nn.Module) -> Place:
        """Puts a layer after a call of a module."""
        return self._put(site, layer, "after", site.output_shape)

    def before(self, site: Site, layer: nn.Module) -> Place:
        """Puts a layer before a call of a module."""
        return self._put(site, layer, "before", site.input_shape)

    def on_weight(self, site: Site, layer: WeightLayer, name: str = "weight") -> Place:
        """Puts a parametrization on a weight of a module: the module computes with what the layer returns.

        Args:
            site: A call of the module; all its calls share the weight.
            layer: Takes and returns a tensor of the weight's shape.
            name: The parameter's name in the module.

        Raises:
            CompositionError: The module has no such parameter.
        """
        module = self.module_of(site)
        weight = getattr(module, name, None)
        if not isinstance(weight, Tensor):
            own = ", ".join(each for each, _ in module.named_parameters(recurse=False)) or "none"
            raise CompositionError(
                f"{self.owner}: {site.name} ({type(module).__name__}) has no parameter {name}.",
                hint=f"Its parameters: {own}.",
            )
        place = Place(key=f"{site.name}.{name}", index=len(self.places), shape=tuple(weight.shape), is_weight=True)
        self._settle_in(layer, place, training=module.training)
        parametrize.register_parametrization(module, name, layer, unsafe=True)
        self.places.append(place)
        return place

    def replace(self, site: Site, module: nn.Module) -> Place:
        """Replaces a site's module wherever the model refers to it, for all its calls."""
        old = self.module_of(site)
        place = Place(key=site.key, index=len(self.places), shape=site.input_shape)
        self._settle_in(module, place, training=old.training)
        replace_module(self.model, old, module)
        self._replaced[site.module] = module
        self.places.append(place)
        return place

    def module_of(self, site: Site) -> nn.Module:
        """The module that is now at the site.

        Raises:
            CompositionError: Another regularizer replaced the module around it.
        """
        module = self._replaced.get(site.module, site.module)
        if not any(each is module for each in self.model.modules()):
            raise CompositionError(
                f"{self.owner}: {site.name} is no longer in the model, because the module around it was replaced.",
                hint="Name other modules with at=, or remove the regularizer that replaces it.",
            )
        return module

    def _put(self, site: Site, layer: nn.Module, side: str, shape: tuple[int, ...]) -> Place:
        augmented = self._augmented(site)
        getattr(augmented, side)[site.call].append(layer)
        place = Place(key=site.key, index=len(self.places), shape=shape)
        self._settle_in(layer, place, training=site.module.training)
        self.places.append(place)
        return place

    def _settle_in(self, layer: nn.Module, place: Place, *, training: bool) -> None:
        layer.train(training)
        if not isinstance(layer, ActingLayer):
            return
        layer.owner, layer.key, layer.index = self.owner, place.key, place.index
        require_layer_signatures(layer)
        settles = not isinstance(layer, SiteLayer) or type(layer).settled is not SiteLayer.settled
        if layer.acts_in_evaluation and not settles:
            raise PluginError(
                f"{self.owner}: {type(layer).__name__} acts in evaluation but does not define settled.",
                hint="Override settled(settings) to return an ordinary module that does the same.",
            )

    def _augmented(self, site: Site) -> Augmented:
        inner = self.module_of(site)
        for module in self.model.modules():
            if isinstance(module, Augmented) and module.module is inner:
                return module
        augmented = Augmented(inner, 1 + max(s.call for s in self.all if s.name == site.name))
        replace_module(self.model, inner, augmented)
        return augmented


_NOTHING = {
    "activations": (
        ": it has no activation module",
        " A functional activation, such as torch.relu in forward, is not a module: use nn.ReLU.",
    ),
    "weighted": (": no module has a weight with at least two axes", ""),
    "branches": (
        ": no module declares that it is the branch of a residual connection",
        " A `+` inside forward has no site: put the branch into a separate module with the attribute is_branch = True.",
    ),
}
"""Kind of site -> why a model may have none, and what to do."""

__all__ = [
    "ACTIVATIONS",
    "NORMALIZATIONS",
    "Pass",
    "Place",
    "Site",
    "SiteLayer",
    "Sites",
    "Tap",
    "WeightLayer",
    "current_pass",
]

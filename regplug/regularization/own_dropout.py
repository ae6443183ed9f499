"""A model's own dropout modules: the host replaces them, so that the run draws their masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from torch import Tensor, nn

from regplug.noise import Draw, bits, keep_mask
from regplug.regularization.layers import Augmented
from regplug.regularization.step import Step
from regplug.regularizer import RegularizerFunctions, Shapes
from regplug.sites import SiteLayer, Sites

KEY = "model's own"
"""Under this key the composition holds a model's own dropout; no alias can be spelled so."""

_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KINDS = (nn.Dropout, *_WHOLE_CHANNELS)


def has_own_dropout(model: nn.Module) -> bool:
    """Whether the model has dropout modules of its own with a rate above 0."""
    return any(isinstance(module, _KINDS) and module.p > 0 for module in model.modules())


@final
class _Layer(SiteLayer):
    """Dropout at the rate that the model's author wrote; `1` keeps nothing, as in torch."""

    def __init__(self, module: nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Dropout3d) -> None:
        super().__init__()
        self.rate, self.kind = module.p, type(module)

    def in_inference(self, params: Any) -> nn.Module:
        """Returns the module that was replaced."""
        return self.kind(self.rate)

    def act(self, step: Step, noise: Any, x: Tensor) -> Tensor:
        """Zeroes entries with probability `rate` and scales up the others; see torch.nn.Dropout."""
        if self.rate >= 1:
            return x * 0
        mask, scale = keep_mask(noise, x.new_tensor(self.rate))
        return x * (mask * scale)


@final
class OwnDropout(RegularizerFunctions):
    """Replaces nn.Dropout and nn.Dropout1d to 3d by layers that read their masks from the run's noise."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: set[str] = set()

    def restructure(self, model: nn.Module, sites: Sites) -> None:
        """Replaces each call of each dropout module by a layer."""
        for site in sites:
            if isinstance(site.module, _KINDS):
                place = sites.after(site, _Layer(site.module))
                if isinstance(site.module, _WHOLE_CHANNELS):
                    self._whole.add(place.key)
        for module in model.modules():
            if isinstance(module, Augmented) and isinstance(module.module, _KINDS):
                module.module = nn.Identity()

    def noise(self, shapes: Shapes, settings: Mapping[str, Any]) -> Mapping[str, Draw]:
        """One mask for each call; of Dropout1d to 3d one entry for each channel."""
        return {place.key: bits(self._mask_shape(place.key, place.shape)) for place in shapes.places}

    def _mask_shape(self, key: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:2], *[1] * (len(shape) - 2)) if key in self._whole else shape

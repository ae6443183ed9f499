"""Bugs of layers: each class is dropout or a normalization with one thing wrong."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from kit_mutants import DROPPING, Dropping, Layers, RightLayer, bug
from torch import nn

from regplug.noise import keep_mask
from regplug.regularizer import RegularizerFunctions
from regplug.sites import SiteLayer, Sites, current_pass


@bug("mean_is_kept", **DROPPING)
class WithoutScaling(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            return x * keep_mask(noise, step.settings["rate"])[0]


@bug("mean_is_kept", **DROPPING)
class ScaledByTheWrongShare(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask, _ = keep_mask(noise, step.settings["rate"])
            return x * mask / (1 - 0.9 * step.settings["rate"])


@bug("evaluation_is_the_identity", **DROPPING)
class ScaledInEvaluation(Dropping):
    """The textbook's other dropout: evaluation multiplies with 1 - p."""

    class Layer(SiteLayer):
        def forward(self, x):
            return super().forward(x) if self.training else 0.5 * x

        def act(self, step, noise, x):
            return x * keep_mask(noise, step.settings["rate"])[0]


@bug("tags_are_spelt_as_the_kit_reads_them", **{**DROPPING, "tags": ("stochastic", "keeps_mean")})
class ScaledTwiceUnderAnotherTag(Dropping):
    """A wrong mean that no check looks at, because the promise is misspelt."""

    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask, scale = keep_mask(noise, step.settings["rate"])
            return x * (mask * scale * scale)


@bug("evaluation_is_repeatable", **DROPPING)
class AlwaysOn(Dropping):
    class Layer(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, training=True)


@bug("training_differs_from_evaluation", **DROPPING)
class AlwaysOff(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            return x


@bug("inputs_are_not_written", **DROPPING)
class InPlace(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask, scale = keep_mask(noise, step.settings["rate"])
            return x.mul_(mask * scale.to(x.dtype))


@bug("training_draws_nothing_itself", **DROPPING)
class ReseedsTheGlobalGenerator(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            torch.manual_seed(0)
            return super().act(step, noise, x)


@bug("same_seed_same_mask", **DROPPING)
class MaskFromNumpy(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask = torch.from_numpy(np.random.rand(*x.shape) >= 0.5)  # noqa: NPY002 - the bug
            return x * mask * 2


@bug("training_draws_nothing_itself", **DROPPING)
class MaskFromTheGlobalGenerator(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            return F.dropout(x, 0.5)


@bug("other_noise_other_output", **DROPPING)
class OneMaskForEver(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            generator = torch.Generator().manual_seed(0)
            return x * 2 * (torch.rand(x.shape, generator=generator) > 0.5)


@bug("each_pass_has_its_own_mask", **DROPPING)
class OneMaskForTwoPasses(Dropping):
    class Layer(RightLayer):
        def forward(self, x):
            if not self.training:
                return x
            step = current_pass.get().step.child(self.owner)
            return self.act(step, step.noise[self.key], x)


@bug("nan_is_not_hidden", **DROPPING)
class HidesNaN(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask, scale = keep_mask(noise, step.settings["rate"])
            return torch.where(mask, x * scale, 0.0)


@bug("gradient_flows", **DROPPING)
class CutsTheGraph(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            return super().act(step, noise, x).detach()


class _WrongBackward(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x, mask):
        return x * mask

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[1])

    @staticmethod
    def backward(ctx, grad):
        return 0.5 * grad * ctx.saved_tensors[0], None


@bug("gradient_is_true", **DROPPING)
class WrongBackward(Dropping):
    class Layer(SiteLayer):
        def act(self, step, noise, x):
            mask, scale = keep_mask(noise, step.settings["rate"])
            return _WrongBackward.apply(x, mask * scale.to(x.dtype))


@bug("shapes_and_dtypes_are_kept", **DROPPING)
class BackToFloat32(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            return super().act(step, noise, x).float()


@bug("shapes_and_dtypes_are_kept", **DROPPING)
class FailsOnAnEmptyBatch(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            return super().act(step, noise, x) + 0 * x[0]


@bug("network_is_changed", **DROPPING)
class FindsNoPlace(Dropping):
    def restructure(self, model, sites):
        for site in sites:
            if isinstance(site.module, nn.Hardtanh):
                sites.after(site, RightLayer())


@bug("new_weights_follow_the_seed")
class SeedsItsWeights(RegularizerFunctions):
    """New weights that are the same for every seed of a run."""

    def restructure(self, model, sites):
        torch.manual_seed(1)
        for site in sites.chosen((), Sites.activations):
            if len(site.output_shape) == 2:
                sites.after(site, nn.Linear(site.output_shape[1], site.output_shape[1]))
            else:
                sites.after(site, nn.Conv2d(site.output_shape[1], site.output_shape[1], 1))


@bug("exports_to_onnx")
class DropoutInTheFile(Layers):
    """Random in the exported file, as a layer that looks at nothing but a constant is."""

    class Layer(nn.Module):
        def forward(self, x):
            return F.dropout(x, 0.5, training=True)


@bug("trains_and_repeats", **DROPPING)
class NumpyNoiseInTraining(Dropping):
    class Layer(RightLayer):
        def act(self, step, noise, x):
            return super().act(step, noise, x) * (1 + 0.1 * float(np.random.rand()))  # noqa: NPY002 - the bug

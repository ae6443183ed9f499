"""Methods on weights, layers and whole networks, by hand."""

import copy
import math

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, parametrize

from methods.loop import BATCH, Loop
from regplug.noise import beta, bits, normal, permutation, uniform


class SpectralNorm(Loop):
    """With torch's own spectral_norm, and a factor behind it."""

    name = "spectral_norm"

    def start(self):
        for module in self.linears().values():
            weight = module.weight.detach()
            parametrizations.spectral_norm(module)
            parametrize.register_parametrization(module, "weight", Scaled(self.strength))
            norm = module.parametrizations.weight[0]
            norm._u.copy_(F.normalize(torch.ones_like(norm._u), dim=0))
            norm._v.copy_(F.normalize(weight.T @ norm._u, dim=0))
            norm._power_method(weight, 15)

    def weights(self):
        self.net.eval()
        weights = {f"{name}.weight": module.weight for name, module in self.linears().items()}
        self.net.train()
        others = {name: value for name, value in self.net.named_parameters() if "parametrizations" not in name}
        return {**weights, **others}

    def tensors(self):
        return {name.replace("._", "."): value for name, value in super().tensors().items()}


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


class NoisyLinear(nn.Module):
    """A linear layer that computes with what `change` makes of its weight."""

    def __init__(self, linear, change):
        super().__init__()
        self.weight, self.bias, self.change = linear.weight, linear.bias, change

    def forward(self, x):
        return F.linear(x, self.change(self), self.bias)


class DropConnect(Loop):
    name = "dropconnect"

    def start(self):
        self.shapes = {}
        for name, module in self.linears().items():
            self.shapes[f"{name}.weight"] = module.weight.shape
            self.net.set_submodule(name, NoisyLinear(module, lambda own, name=name: self.dropped(name, own.weight)))

    def draws(self):
        return {name: bits(shape, per_sample=False) for name, shape in self.shapes.items()}

    def dropped(self, name, weight):
        kept = self.noise[f"{name}.weight"] >= self.strength * 65536 - 32768
        return torch.where(kept, weight / (1 - self.strength), 0.0)


class VariationalDropout(Loop):
    name = "VariationalDropout"

    def start(self):
        self.layers = {}
        for name, module in self.linears().items():
            self.layers[name] = NoisyLinear(module, lambda own, name=name: self.noisy(name, own))
            self.layers[name].log_alpha = nn.Parameter(torch.full_like(module.weight, -3.0))
            self.net.set_submodule(name, self.layers[name])

    def draws(self):
        return {f"{name}.weight": normal(own.weight.shape, per_sample=False) for name, own in self.layers.items()}

    def noisy(self, name, own):
        return own.weight + own.log_alpha.exp().sqrt() * own.weight * self.noise[f"{name}.weight"]

    def loss(self, x, y):
        loss = super().loss(x, y)
        for own in self.layers.values():
            a = own.log_alpha
            negative = 0.63576 * torch.sigmoid(1.87320 + 1.48695 * a) - 0.5 * torch.log1p(1 / a.exp()) - 0.63576
            loss = loss - self.strength * negative.sum()
        return loss

    def tensors(self):
        return {
            name.replace(".log_alpha", ".parametrizations.weight.0.log_alpha"): value
            for name, value in super().tensors().items()
        }


class GradientNoise(Loop):
    name = "gradient_noise"

    def draws(self):
        return {name: normal(value.shape, per_sample=False) for name, value in self.net.named_parameters()}

    def after_backward(self):
        for name, param in self.net.named_parameters():
            if param.grad is None:
                continue  # a bias that a batch norm cancels is not trained
            param.grad += math.sqrt(self.strength / (1 + self.index) ** 0.55) * self.noise[name]


class Pruning(Loop):
    name = "pruning"

    def start(self):
        self.masks = {module: torch.ones_like(module.weight) for module in self.linears().values()}

    @torch.no_grad()
    def after_step(self):
        for module, mask in self.masks.items():
            if (self.index + 1) % 4 == 0:
                share = self.strength * (1 - (1 - (self.index + 1) / 20) ** 3)
                mask.fill_(1.0)
                smallest = module.weight.abs().flatten().topk(round(share * mask.numel()), largest=False).indices
                mask.view(-1)[smallest] = 0.0
            module.weight *= mask


class ManifoldMixup(Loop):
    name = "manifold_mixup"

    def start(self):
        for number, drop in enumerate((self.net.drop1, self.net.drop2), start=1):
            drop.register_forward_hook(lambda module, inputs, output, number=number: self.mixed(output, number))

    def draws(self):
        return {"share": beta(self.strength), "partner": permutation(BATCH), "place": uniform((), per_sample=False)}

    def mixed(self, values, place):
        if int(3 * self.noise["place"]) != place:
            return values
        share = float(self.noise["share"])
        return share * values + (1 - share) * values[self.noise["partner"]]

    def loss(self, x, y):
        logits, share = self.net(self.mixed(x, 0)), float(self.noise["share"])
        return share * F.cross_entropy(logits, y) + (1 - share) * F.cross_entropy(logits, y[self.noise["partner"]])


class Shaken(torch.autograd.Function):
    """One factor forward and another one backward."""

    @staticmethod
    def forward(ctx, x, forward, backward):
        ctx.save_for_backward(backward)
        return forward * x

    @staticmethod
    def backward(ctx, gradient):
        return ctx.saved_tensors[0] * gradient, None, None


class ShakeDrop(Loop):
    name = "shake_drop"

    def start(self):
        for number, branch in enumerate((self.net.branch1, self.net.branch2), start=1):
            branch.register_forward_hook(lambda module, inputs, output, number=number: self.shaken(output, number))

    def draws(self):
        return {f"branch{number}#0": uniform((BATCH, 3)) for number in (1, 2)}

    def shaken(self, x, number):
        kept = 1 - self.strength * number / 2
        if not self.net.training:
            return kept * x
        coin, forward, backward = self.noise[f"branch{number}#0"].split(1, dim=1)
        b = (coin < kept).to(x.dtype)
        alpha = 2 * forward - 1
        return Shaken.apply(x, b + alpha - b * alpha, b + backward - b * backward)


class SnapshotEnsemble(Loop):
    name, epochs = "snapshot_ensemble", 6

    def after_epoch(self, epoch):
        if epoch % 2 == 0:
            self.members.append(copy.deepcopy(self.net.state_dict()))
        share = (1 + math.cos(math.pi * (epoch % 2) / 2)) / 2
        self.optimizer.param_groups[0]["lr"] = self.rate * (self.strength + (1 - self.strength) * share)

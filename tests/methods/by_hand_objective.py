"""Adversarial training, teachers and weighted losses, by hand."""

import math

import torch
import torch.nn.functional as F
from torch.func import functional_call
from torch.optim.swa_utils import update_bn

from methods.loop import BATCH, Loop
from regplug.noise import normal, uniform


class FGSM(Loop):
    name = "FGSM"

    def loss(self, x, y):
        gradient = self.gradient(lambda x: F.cross_entropy(self.net(x), y), x)
        clean = F.cross_entropy(self.net(x), y)
        with self.statistics_kept():
            attacked = F.cross_entropy(self.net(x + self.strength * gradient.sign()), y)
        return (clean + attacked) / 2


class PGD(Loop):
    name = "pgd"

    def draws(self):
        return {"start": uniform((BATCH, 8))}

    def loss(self, x, y):
        moved = x + self.strength * (2 * self.noise["start"] - 1)
        for _ in range(3):
            gradient = self.gradient(lambda x: F.cross_entropy(self.net(x), y), moved)
            moved = moved + self.strength / 2 * gradient.sign()
            moved = torch.minimum(torch.maximum(moved, x - self.strength), x + self.strength)
        return F.cross_entropy(self.net(moved), y)


class VAT(Loop):
    name = "vat"

    def draws(self):
        return {"direction": normal((BATCH, 8))}

    def loss(self, x, y):
        logits = self.net(x)
        clean = logits.detach().softmax(1)

        def divergence(change):
            return (clean * (clean.log() - self.net(x + change).log_softmax(1))).sum(1).mean()

        direction = self.noise["direction"]
        gradient = self.gradient(divergence, 1e-3 * direction / direction.norm(dim=1, keepdim=True))
        with self.statistics_kept():
            worst = divergence(self.strength * gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-12))
        return F.cross_entropy(logits, y) + worst


class GradientPenalty(Loop):
    name = "GradientPenalty"

    def loss(self, x, y):
        loss = F.cross_entropy(self.net(x), y)
        gradient = self.gradient(lambda x: F.cross_entropy(self.net(x), y, reduction="sum"), x, create_graph=True)
        return loss + self.strength * gradient.square().sum(1).mean()


class MeanTeacher(Loop):
    name, passes = "MeanTeacher", 2

    def start(self):
        self.teacher = {name: value.detach().clone() for name, value in self.net.named_parameters()}

    def loss(self, x, y):
        logits = self.net(x)
        self.use_pass(1)
        with torch.no_grad(), self.statistics_kept():
            target = functional_call(self.net, self.teacher, (x,)).softmax(1)
        self.use_pass(0)
        ramp = math.exp(-5 * (1 - self.index / 20) ** 2)
        return F.cross_entropy(logits, y) + self.strength * ramp * F.mse_loss(logits.softmax(1), target)

    def after_step(self):
        for name, value in self.net.named_parameters():
            self.teacher[name] = 0.9 * self.teacher[name] + 0.1 * value.detach()

    def finish(self):
        self.net.load_state_dict(self.teacher, strict=False)
        update_bn((self.x[rows] for rows in self.batches("finish")), self.net)


class TemporalEnsembling(Loop):
    name = "TemporalEnsembling"

    def start(self):
        self.average, self.seen = torch.zeros(len(self.x), 3, dtype=self.x.dtype), None

    def loss(self, x, y):
        logits = self.net(x)
        seen = logits.softmax(1)
        loss = F.cross_entropy(logits, y)
        if self.epoch:
            target = self.average[self.rows] / (1 - 0.6**self.epoch)
            ramp = math.exp(-5 * (1 - self.epoch / self.epochs) ** 2)
            loss = loss + self.strength * ramp * F.mse_loss(seen, target)
        self.average[self.rows] = 0.6 * self.average[self.rows] + 0.4 * seen.detach()
        return loss


class Focal(Loop):
    name = "Focal"

    def loss(self, x, y):
        log_probability = self.net(x).log_softmax(1)[torch.arange(len(y)), y]
        return (-((1 - log_probability.exp()) ** self.strength) * log_probability).mean()


class SelfPaced(Loop):
    name, threshold = "SelfPaced", 1.0

    def loss(self, x, y):
        losses = F.cross_entropy(self.net(x), y, reduction="none")
        return losses[losses < self.strength * self.threshold].sum() / len(y)

    def after_epoch(self, epoch):
        self.threshold *= 1.2

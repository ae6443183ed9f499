"""A training loop by hand: torch's modules, torch.optim and torch.autograd; a method overrides a step of it."""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from methods.networks import MaskedDropout
from regplug.data import order
from regplug.noise import NoiseStream, at_step, bits

BATCH = 32


class Loop:
    """Trains one network by hand.

    Args:
        network: A module of torch's alone, at its start.
        data: The training split, `x` and `y`.
        strength: The number of the method.
        seed: Of the order of the rows and of the noise.
        l2: Strength of the penalty.
        drop: Chance of dropout; 0 for none.
    """

    epochs, rate, passes = 5, 0.2, 1
    name = ""
    """What the noise of the method is keyed by."""

    def __init__(self, network, data, *, strength, seed, l2=0.0, drop=0.0):
        self.net, self.x, self.y = network, data.x, data.y
        self.strength, self.seed, self.l2 = strength, seed, l2
        self.drops = self.put_dropout(drop) if drop else {}
        self.start()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=self.rate)
        self.members = []

    # What a method overrides.

    def start(self):
        """Prepares the network and what the method remembers."""

    def draws(self):
        """What the method draws at each step, by key."""
        return {}

    def loss(self, x, y):
        """The loss of one step; `self.rows` and `self.noise` are those of the step."""
        return F.cross_entropy(self.net(x), y)

    def after_backward(self):
        """Changes the gradients."""

    def after_step(self):
        """Changes the weights."""

    def after_epoch(self, epoch):
        """Acts after so many epochs."""

    def finish(self):
        """Changes what the run ends with."""

    def weights(self):
        """Name -> the weights that the network computes with."""
        return dict(self.net.named_parameters())

    def tensors(self):
        """Everything that was learned, under regplug's names."""
        return {**self.weights(), **dict(self.net.named_buffers())}

    # The loop.

    def train(self):
        self.net.train()
        for epoch in range(self.epochs):
            for rows in self.batches(epoch):
                self.optimizer.zero_grad()
                loss = self.loss(self.x[rows], self.y[rows])
                penalised = [weight for name, weight in self.weights().items() if name.endswith("weight")]
                (loss + self.l2 / 2 * sum(w.square().sum() for w in penalised if w.ndim > 1)).backward()
                self.after_backward()
                self.optimizer.step()
                self.after_step()
                self.index += 1
            self.after_epoch(epoch + 1)
        self.finish()
        return self

    index = 0

    def batches(self, epoch):
        """The rows of each step of an epoch; sets `rows`, `noise` and the masks of dropout."""
        self.epoch = epoch
        parts = order(len(self.x), self.seed, epoch).split(BATCH)
        draws = {(self.name, key): draw for key, draw in self.draws().items()}
        for drop, (_, shape) in self.drops.items():
            draws |= {("dropout", f"{drop}@{n}" if n else drop): bits(shape) for n in range(self.passes)}
        stream = NoiseStream(self.seed, draws, length=len(parts), dtype=self.x.dtype, device=self.x.device)
        block = stream.block(epoch, 0)
        for number, rows in enumerate(parts):
            noise = at_step(block, draws, number, len(rows), 0)
            for drop, (module, _) in self.drops.items():
                module.bits = [noise["dropout"][f"{drop}@{n}" if n else drop] for n in range(self.passes)]
            self.rows, self.noise = rows, noise.get(self.name, {})
            yield rows

    def put_dropout(self, probability):
        """Puts dropout behind each activation; returns the key of each with the shape of its mask."""
        found = {}
        for name, module in list(self.net.named_modules()):
            for drop in [child for child, _ in module.named_children() if child.startswith("drop")]:
                setattr(module, drop, MaskedDropout(probability))
                act = f"{name}.{drop}".strip(".").replace("drop", "act")
                width = {"act1": 9, "act2": 7}.get(act, 6)
                found[f"{act}#0"] = getattr(module, drop), (BATCH, width)
        return found

    @contextmanager
    def statistics_kept(self):
        """The buffers of the network are the same afterwards: the passes within do not count."""
        kept = {module: dict(module._buffers) for module in self.net.modules() if module._buffers}
        for module, buffers in kept.items():
            module._buffers.update({name: value.clone() for name, value in buffers.items()})
        try:
            yield
        finally:
            for module, buffers in kept.items():
                module._buffers.update(buffers)

    def gradient(self, function, x, **more):
        """The gradient of a function of the inputs."""
        x = x.detach().requires_grad_()
        with self.statistics_kept():
            (gradient,) = torch.autograd.grad(function(x), x, **more)
        return gradient

    def linears(self):
        """The linear layers by name."""
        return {name: module for name, module in self.net.named_modules() if isinstance(module, nn.Linear)}

    def use_pass(self, number):
        """Chooses the masks of a pass."""
        for module, _ in self.drops.values():
            module.number = number

"""The small networks on which the methods are compared; a loop by hand puts its dropout where they hold `Identity`."""

import torch
from torch import nn


class Plain(nn.Module):
    """Two hidden layers, with or without batch normalization."""

    def __init__(self, *, has_norm=False):
        super().__init__()
        self.first, self.second, self.output = nn.Linear(8, 9), nn.Linear(9, 7), nn.Linear(7, 3)
        self.norm1, self.norm2 = (nn.BatchNorm1d(n) if has_norm else nn.Identity() for n in (9, 7))
        self.act1, self.act2 = nn.Tanh(), nn.ReLU()
        self.drop1, self.drop2 = nn.Identity(), nn.Identity()

    def forward(self, x):
        x = self.drop1(self.act1(self.norm1(self.first(x))))
        return self.output(self.drop2(self.act2(self.norm2(self.second(x)))))


class Branch(nn.Module):
    """What a residual connection adds."""

    is_branch = True

    def __init__(self, *, has_norm):
        super().__init__()
        self.first, self.second = nn.Linear(7, 6), nn.Linear(6, 7)
        self.norm = nn.BatchNorm1d(6) if has_norm else nn.Identity()
        self.act, self.drop = nn.Tanh(), nn.Identity()

    def forward(self, x):
        return self.second(self.drop(self.act(self.norm(self.first(x)))))


class Residual(nn.Module):
    """Two residual connections."""

    def __init__(self, *, has_norm=False):
        super().__init__()
        self.stem, self.output = nn.Linear(8, 7), nn.Linear(7, 3)
        self.branch1, self.branch2 = Branch(has_norm=has_norm), Branch(has_norm=has_norm)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.branch1(x)
        return self.output(x + self.branch2(x))


class MaskedDropout(nn.Module):
    """Dropout whose bits are set from outside; one set for each pass of a step."""

    def __init__(self, probability):
        super().__init__()
        self.probability, self.bits, self.number = probability, (), 0

    def forward(self, x):
        if not self.training:
            return x
        kept = self.bits[self.number] >= self.probability * 65536 - 32768
        return torch.where(kept, x / (1 - self.probability), 0.0)

"""A textbook's training loop: a DataLoader that converts images one by one, and counters in Python."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import ToTensor

from regplug.data.raw import Split


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Like torchvision.datasets.MNIST: an image from its array, transformed on access."""

    def __init__(self, split: Split) -> None:
        self.data, self.targets = np.asarray(split.x)[:, 0], np.asarray(split.y)
        self.transform = ToTensor()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.data[row], mode="L")), int(self.targets[row])


def train_epoch(net: nn.Module, train: Pictures, test: Pictures, *, batch_size: int, lr: float) -> dict[str, float]:
    """Trains one epoch with evaluation. Source: Zhang et al., Dive into Deep Learning, sections 3.5 and 3.6."""
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    net.train()
    loss_sum = hits = 0.0
    for x, y in DataLoader(train, batch_size, shuffle=True):
        logits = net(x)
        loss = F.cross_entropy(logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(y)
        hits += float((logits.argmax(1) == y).sum())
    net.eval()
    test_hits = 0.0
    with torch.no_grad():
        for x, y in DataLoader(test, batch_size):
            test_hits += float((net(x).argmax(1) == y).sum())
    return {"loss": loss_sum / len(train), "accuracy": hits / len(train), "test/accuracy": test_hits / len(test)}

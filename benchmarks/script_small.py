"""One run of linear_regression as a separate script with torch and a hand-written loop, without regplug."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from benchmarks.by_hand import train_regression


def main() -> None:
    """Trains the model."""
    splits = {"train": 20, "valid": 100, "test": 100}
    inputs = {name: torch.randn(rows, 200) for name, rows in splits.items()}
    data = SimpleNamespace(
        **{
            name: SimpleNamespace(x=x, y=0.01 * x.sum(1, keepdim=True) + 0.05 + 0.01 * torch.randn(len(x), 1))
            for name, x in inputs.items()
        }
    )
    net = nn.Linear(200, 1)
    nn.init.normal_(net.weight)
    nn.init.zeros_(net.bias)
    train_regression(net, data, epochs=100, batch_size=5, lr=0.003, strength=3.0)


if __name__ == "__main__":
    main()

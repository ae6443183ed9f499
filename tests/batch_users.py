"""Ways in which a row's answer can depend on its batch, on (B, 16) hidden numbers."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


def places(x: Tensor) -> Tensor:
    """The place of each row in its batch `(B, 1)`."""
    return torch.arange(x.shape[0])[:, None]


BATCH_USERS: dict[str, Callable[[Tensor], Tensor]] = {
    "adds the row before": lambda x: x + 0.1 * x.roll(1, 0),
    "subtracts the row behind": lambda x: x - x.roll(-1, 0),
    "adds the first row": lambda x: x + x[:1],
    "adds the last row": lambda x: x + 0.01 * x[-1:],
    "repeats the first row": lambda x: x[:1].expand(x.shape[0], -1),
    "attends to all rows": lambda x: (x @ x.T).softmax(1) @ x,
    "multiplies by the covariance": lambda x: x @ (x.T @ x) / 64,
    "subtracts the mean": lambda x: x - x.mean(0),
    "divides by the spread": lambda x: x / (x.std(0, correction=0) + 1e-3),
    "divides by the norm of all": lambda x: x / (x.norm() + 1),
    "subtracts the largest": lambda x: x - x.amax(0),
    "softmax over the rows": lambda x: x.softmax(0),
    "turned round": lambda x: x.flip(0),
    "a little turned round": lambda x: x + 1e-3 * x.flip(0),
    "sums up": lambda x: x.cumsum(0),
    "sorts": lambda x: x.sort(0).values,
    "zeros from row 64 on": lambda x: x * (places(x) < 64),
    "zeros from row 500 on": lambda x: x * (places(x) < 500),
    "zeros in the last row": lambda x: x * (places(x) < x.shape[0] - 1),
    "every other row negative": lambda x: x * (1 - 2 * (places(x) % 2)),
    "adds the place": lambda x: x + 0.001 * places(x),
    "divides by the size": lambda x: x / x.shape[0],
}
"""What is done to the rows, by name."""


class BatchUser(nn.Module):
    """Does one of `BATCH_USERS`."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.use = BATCH_USERS[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.use(x)

"""Hand-written training loops for one run, with tensors in memory and torch's own modules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:  # a script that imports this module must import only torch
    from regplug.data import Prepared, TensorSplit

Part = Callable[[nn.Module], object]
Records = list[dict[str, float]]


def perceptron(widths: Sequence[int], drop: Sequence[float] = (), *, norm: bool = False) -> nn.Sequential:
    """Linear layers with batch norm, ReLU and dropout between them."""
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (width, units) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(width, units))
        if number < len(widths) - 2:
            layers += [nn.BatchNorm1d(units)] if norm else []
            layers.append(nn.ReLU())
            layers += [nn.Dropout(drop[number])] if drop else []
    return nn.Sequential(*layers)


def train_classifier(
    net: nn.Module,
    data: Prepared,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    penalty: Callable[[nn.Module], Tensor] | None = None,
    before_step: Part | None = None,
    after_step: Part | None = None,
    clean_every: int = 5,
) -> Records:
    """Trains with cross entropy and SGD; evaluates validation and test rows after each epoch.

    Args:
        net: The network.
        data: Normalised, in memory.
        epochs: Passes over the training rows.
        batch_size: Rows per batch.
        lr: Learning rate.
        penalty: Added to the loss.
        before_step: Called after the backward pass, for example to clip gradients.
        after_step: Called after the optimizer's step, for example to project weights.
        clean_every: Epochs between two evaluations of the training rows; the last epoch is always evaluated; 0 for
            none.
    """
    optimizer = torch.optim.SGD(net.parameters(), lr=lr)
    x, y, records = data.train.x, data.train.y, Records()
    for epoch in range(1, epochs + 1):
        net.train()
        total, loss_sum, hits = torch.zeros(()), torch.zeros(()), torch.zeros((), dtype=torch.int64)
        for rows in torch.randperm(len(x)).split(batch_size):
            x_b, y_b = x.index_select(0, rows), y.index_select(0, rows)
            logits = net(x_b)
            loss = F.cross_entropy(logits, y_b)
            objective = loss if penalty is None else loss + penalty(net)
            optimizer.zero_grad()
            objective.backward()
            if before_step is not None:
                before_step(net)
            optimizer.step()
            if after_step is not None:
                after_step(net)
            with torch.no_grad():
                total += objective * len(rows)
                loss_sum += loss * len(rows)
                hits += (logits.argmax(1) == y_b).sum()
        record = {"objective": float(total) / len(x), "loss": float(loss_sum) / len(x), "accuracy": int(hits) / len(x)}
        records.append(record | _evaluations(data, _is_due(epoch, epochs, clean_every), net, F.cross_entropy))
    return records


def train_regression(
    net: nn.Module,
    data: Prepared,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    strength: float = 0.0,
    weight_decay: float = 0.0,
    clean_every: int = 5,
) -> Records:
    """Trains `nn.Linear` with half the squared error and SGD; an l2 penalty in the loss, or as the optimizer's.

    Args:
        net: One linear layer.
        data: Normalised, in memory.
        epochs: Passes over the training rows.
        batch_size: Rows per batch.
        lr: Learning rate.
        strength: Strength of the penalty in the loss; 0 for none.
        weight_decay: `weight_decay` of torch.optim.SGD, on the weight only.
        clean_every: Epochs between two evaluations of the training rows; the last epoch is always evaluated; 0 for
            none.
    """
    groups = [{"params": [net.weight], "weight_decay": weight_decay}, {"params": [net.bias]}]
    optimizer = torch.optim.SGD(groups, lr=lr)
    x, y, records = data.train.x, data.train.y, Records()
    for epoch in range(1, epochs + 1):
        total, loss_sum = torch.zeros(()), torch.zeros(())
        for rows in torch.randperm(len(x)).split(batch_size):
            loss = half_squared_error(net(x[rows]), y[rows])
            objective = loss + strength / 2 * net.weight.square().sum() if strength else loss
            optimizer.zero_grad()
            objective.backward()
            optimizer.step()
            total += objective.detach() * len(rows)
            loss_sum += loss.detach() * len(rows)
        record = {"objective": float(total) / len(x), "loss": float(loss_sum) / len(x)}
        records.append(record | _evaluations(data, _is_due(epoch, epochs, clean_every), net, half_squared_error))
    return records


def half_squared_error(values: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared error."""
    return F.mse_loss(values, targets) / 2


def _is_due(epoch: int, epochs: int, every: int) -> bool:
    return bool(every) and (epoch == epochs or epoch % every == 0)


@torch.no_grad()
def _evaluations(
    data: Prepared, is_clean: bool, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]
) -> dict[str, float]:
    net.eval()
    splits = {"valid": data.valid, "test": data.test, "train": data.train if is_clean else None}
    values: dict[str, float] = {}
    for name, split in splits.items():
        if split is not None:
            values |= {f"{name}/{key}": value for key, value in _evaluation(split, net, loss).items()}
    return values


def _evaluation(
    split: TensorSplit, net: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], size: int = 8192
) -> dict[str, float]:
    outputs = torch.cat([net(part) for part in split.x.split(size)])
    values = {"loss": float(loss(outputs, split.y))}
    if not split.y.is_floating_point():
        values["accuracy"] = float((outputs.argmax(1) == split.y).float().mean())
    return values


def clip(max_norm: float) -> Part:
    """Clips the norm of the gradients with torch's function."""
    return lambda net: nn.utils.clip_grad_norm_(net.parameters(), max_norm)


@torch.no_grad()
def bound_rows(net: nn.Module, max_norm: float) -> None:
    """Bounds the norm of each unit's incoming weights."""
    for module in net.modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(torch.renorm(module.weight, 2, 0, max_norm))


def l2_penalty(strength: float) -> Callable[[nn.Module], Tensor]:
    """`strength / 2 * sum w^2` over the weights of linear layers."""

    def penalty(net: nn.Module) -> Tensor:
        weights = [module.weight for module in net.modules() if isinstance(module, nn.Linear)]
        return strength / 2 * sum((w.square().sum() for w in weights), torch.zeros(()))

    return penalty

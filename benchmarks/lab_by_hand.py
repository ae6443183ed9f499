"""Rows of the lab in plain torch, without regplug, over more seeds than the ranges of the lecture's reference rest on.

    python -m benchmarks.lab_by_hand d4 --seeds 60 --data ../shared/data

It prints one line for each quantity: seeds, least and greatest value, mean, standard deviation. The studies of
`regplug_lab` hold these figures (`regplug_lab/by_hand.py`) where the reference's ranges come from few seeds.

Ten networks train at once, each with its own weights, order and masks: S is the number of networks.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torchvision.datasets import ImageFolder
from torchvision.transforms import ToTensor

AT_ONCE = 10
PASSES = 100

Values = Mapping[str, Sequence[float]]


class Perceptrons:
    """S perceptrons with ReLU, whose weights `(S, in, out)` are drawn as nn.Linear does.

    Args:
        widths: Inputs, hidden units, classes.
        seed: Seed of the weights, of the order of the rows, and of the masks.
        dropout: Drop probability after each hidden layer.
        std: Standard deviation of the weights; None is nn.Linear's default.
    """

    def __init__(
        self, widths: Sequence[int], seed: int, *, dropout: Sequence[float] = (), std: float | None = None
    ) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.layers = [self._layer(*sizes, std) for sizes in pairwise(widths)]
        self.dropout = dropout

    def _layer(self, inputs: int, outputs: int, std: float | None) -> tuple[Tensor, Tensor]:
        bound = inputs**-0.5
        if std is None:
            weight = (2 * torch.rand(AT_ONCE, inputs, outputs, generator=self.generator) - 1) * bound
        else:
            weight = std * torch.randn(AT_ONCE, inputs, outputs, generator=self.generator)
        bias = (2 * torch.rand(AT_ONCE, 1, outputs, generator=self.generator) - 1) * bound
        return weight.requires_grad_(), bias.requires_grad_()

    def hidden(self, h_SBF: Tensor, *, drops: bool, first: int = 0) -> Iterator[Tensor]:
        """Yields the outputs `(S, B, units)` of each hidden layer from `first` on, before dropout."""
        for number, (weight, bias) in enumerate(self.layers[first:-1], start=first):
            if drops and number > first:
                h_SBF = self.dropped(h_SBF, number - 1)
            h_SBF = torch.relu(torch.baddbmm(bias, h_SBF, weight))
            yield h_SBF

    def dropped(self, h_SBH: Tensor, layer: int) -> Tensor:
        """Applies the dropout of a hidden layer."""
        if not self.dropout:
            return h_SBH
        rate = self.dropout[layer]
        return h_SBH * (torch.rand(h_SBH.shape, generator=self.generator) >= rate) / (1 - rate)

    def logits(self, h_SBF: Tensor, *, drops: bool = False, first: int = 0) -> Tensor:
        """Returns the logits `(S, B, classes)`."""
        *_, last = self.hidden(h_SBF, drops=drops, first=first)
        last = self.dropped(last, len(self.layers) - 2) if drops else last
        weight, bias = self.layers[-1]
        return torch.baddbmm(bias, last, weight)

    def train(self, x_NF: Tensor, y_N: Tensor, *, lr: float, epochs: int, batch: int) -> Tensor:
        """Trains with plain SGD; returns the running accuracy `(S,)` of the last epoch."""
        params = [tensor for layer in self.layers for tensor in layer]
        hits = torch.zeros(AT_ONCE)
        for _ in range(epochs):
            hits.zero_()
            order = torch.stack([torch.randperm(len(y_N), generator=self.generator) for _ in range(AT_ONCE)])
            for rows_SB in order.split(batch, 1):
                logits, y_SB = self.logits(x_NF[rows_SB], drops=True), y_N[rows_SB]
                loss = F.cross_entropy(logits.flatten(0, 1), y_SB.flatten()) * AT_ONCE
                grads = torch.autograd.grad(loss, params)
                with torch.no_grad():
                    for param, grad in zip(params, grads, strict=True):
                        param -= lr * grad
                hits += (logits.argmax(2) == y_SB).sum(1)
        return hits / len(y_N)

    @torch.no_grad()
    def accuracy(self, x_NF: Tensor, y_N: Tensor) -> Tensor:
        """Returns the accuracy `(S,)` in evaluation mode."""
        return (self.logits(x_NF.expand(AT_ONCE, -1, -1)).argmax(2) == y_N).float().mean(1)


class Images:
    """The images of a dataset as rows in [0, 1], and their classes.

    Args:
        folder: The folder with `MNIST/raw` and `FashionMNIST/raw`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, split: str) -> tuple[Tensor, Tensor]:
        """Returns rows `(N, 784)` and classes `(N,)`; `split` is "train" or "t10k"."""
        raw = self.folder / name / "raw"
        x = self._bytes(raw / f"{split}-images-idx3-ubyte.gz", 16).reshape(-1, 784).astype(np.float32) / 255
        return torch.from_numpy(x), torch.from_numpy(self._bytes(raw / f"{split}-labels-idx1-ubyte.gz", 8).astype(int))

    def read_folders(self, name: str, split: str) -> tuple[Tensor, Tensor]:
        """Returns images `(N, 3, H, W)` in [0, 1] and classes `(N,)` of a folder for each class."""
        folder = ImageFolder(self.folder / name / split, ToTensor())
        return torch.stack([image for image, _ in folder]), torch.tensor(folder.targets)

    @staticmethod
    def _bytes(path: Path, header: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
        with gzip.open(path) as file:
            return np.frombuffer(file.read(), np.uint8, offset=header)


def d1(images: Images, seed: int) -> Values:
    """Dropout of 0.1 and 0.6 on Fashion-MNIST from N(0, 0.01), five epochs."""
    return _fashion(images, seed, dropout=(0.1, 0.6), std=0.01, lr=0.390625, epochs=5)


def d2(images: Images, seed: int) -> Values:
    """Dropout on Fashion-MNIST, and Monte Carlo dropout."""
    return _fashion(images, seed, dropout=(0.2, 0.5), mc=True)


def d3(images: Images, seed: int) -> Values:
    """The same from N(0, 0.01)."""
    return _fashion(images, seed, dropout=(0.2, 0.5), std=0.01)


def d4(images: Images, seed: int) -> Values:
    """The same without dropout."""
    return _fashion(images, seed)


def _fashion(
    images: Images,
    seed: int,
    *,
    dropout: Sequence[float] = (),
    std: float | None = None,
    lr: float = 0.5,
    epochs: int = 10,
    mc: bool = False,
) -> Values:
    nets = Perceptrons((784, 256, 256, 10), seed, dropout=dropout, std=std)
    running = nets.train(*images.read("FashionMNIST", "train"), lr=lr, epochs=epochs, batch=256)
    test = images.read("FashionMNIST", "t10k")
    found = {"test": nets.accuracy(*test).tolist(), "running": running.tolist()}
    return {**found, **(_mc_dropout(nets, *test, images.read("MNIST", "t10k")[0]) if mc else {})}


@torch.no_grad()
def _mc_dropout(nets: Perceptrons, x_NF: Tensor, y_N: Tensor, other_NF: Tensor) -> Values:
    rows = {name: [_uncertainty(nets, part) for part in each.split(1000)] for name, each in
            {"in": x_NF, "out": other_NF}.items()}  # fmt: skip
    joined = {name: [torch.cat(parts, 1) for parts in zip(*each, strict=True)] for name, each in rows.items()}
    plain, mean, *inside = joined["in"]
    found = {"nll/plain": _likelihood(plain, y_N), "nll/mc": _likelihood(mean, y_N)}
    is_other = np.repeat([0, 1], [len(x_NF), len(other_NF)])
    for name, ours, theirs in zip(("plain", "entropy", "mutual_information"), inside, joined["out"][2:], strict=True):
        both = torch.cat([ours, theirs], 1).numpy()
        found[f"auroc/{name}"] = [float(roc_auc_score(is_other, each)) for each in both]
    return {**found, "nll/plain_minus_mc": [a - b for a, b in zip(found["nll/plain"], found["nll/mc"], strict=True)]}


def _likelihood(p_SNK: Tensor, y_N: Tensor) -> list[float]:
    return [float(each) for each in -p_SNK[:, torch.arange(len(y_N)), y_N].log().mean(1)]


def _uncertainty(nets: Perceptrons, x_BF: Tensor) -> tuple[Tensor, ...]:
    """Returns probabilities without dropout and their mean with it, and three uncertainties `(S, B)` in nats."""
    first_SBH = next(iter(nets.hidden(x_BF.expand(AT_ONCE, -1, -1), drops=False)))
    plain = nets.logits(first_SBH, first=1).double().softmax(2)
    mean, entropies = torch.zeros_like(plain), torch.zeros(plain.shape[:2], dtype=torch.float64)
    for _ in range(PASSES):
        each = nets.logits(nets.dropped(first_SBH, 0), drops=True, first=1).double().softmax(2)
        mean += each / PASSES
        entropies += _entropy(each) / PASSES
    return plain, mean, _entropy(plain), _entropy(mean), _entropy(mean) - entropies


def _entropy(p_SBK: Tensor) -> Tensor:
    return -torch.xlogy(p_SBK, p_SBK).sum(2)


def learning(images: Images, seed: int) -> Values:
    """ReLU at learning rate 0.001 on standardized MNIST; the layer from the pixels is not counted as hidden."""
    x, y = images.read("MNIST", "train")
    nets = Perceptrons((784, 100, 100, 100, 10), seed)
    return {"running": nets.train((x - 0.1307) / 0.3081, y, lr=0.001, epochs=5, batch=64).tolist()}


def dead(images: Images, seed: int) -> Values:
    """Share of the first layer's units that are zero on every training image, by learning rate."""
    x, y = images.read("MNIST", "train")
    found = {}
    for lr in (0.1, 0.5, 1.0, 2.0):
        nets = Perceptrons((784, 100, 100, 10), seed)
        nets.train(x, y, lr=lr, epochs=5, batch=64)
        found[f"lr {lr:g}"] = _dead_units(nets, x).tolist()
    return found


@torch.no_grad()
def _dead_units(nets: Perceptrons, x_NF: Tensor) -> Tensor:
    parts = (next(iter(nets.hidden(part.expand(AT_ONCE, -1, -1), drops=False))) for part in x_NF.split(5000))
    alive_SH = torch.stack([(part_SBH != 0).any(1) for part_SBH in parts]).any(0)
    return 1 - alive_SH.float().mean(1)


def gradients(images: Images, seed: int) -> Values:
    """Mean |gradient| of the first over the last of 20 hidden layers, tanh, Xavier's weights; see `learning`."""
    x, y = images.read("MNIST", "train")
    found = []
    for one in range(seed * AT_ONCE, (seed + 1) * AT_ONCE):
        torch.manual_seed(one)
        layers = [nn.Linear(*sizes) for sizes in pairwise([784, *[100] * 21, 10])]
        for layer in layers:
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        rows = torch.randperm(len(y))[:64]
        h = (x[rows] - 0.1307) / 0.3081
        for layer in layers[:-1]:
            h = torch.tanh(layer(h))
        F.cross_entropy(layers[-1](h), y[rows]).backward()
        first, last = (_mean_size(layers[number].weight.grad) for number in (1, 20))
        found.append(first / last)
    return {"ratio": found}


def lenet(images: Images, seed: int) -> Values:
    """LeNet with batch norm on airplanes and automobiles, one network after the other; max pooling, as in the study."""
    (x, y), (test_x, test_y) = (images.read_folders("cifar2", split) for split in ("train", "test"))
    mean, std = x.mean((0, 2, 3), keepdim=True), x.std((0, 2, 3), keepdim=True)
    x, test_x = (x - mean) / std, (test_x - mean) / std
    return {"test": [_lenet_accuracy(x, y, test_x, test_y, one) for one in range(seed * AT_ONCE, (seed + 1) * AT_ONCE)]}


def _lenet_accuracy(x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor, seed: int) -> float:
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(3, 6, 5, padding=2), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(576, 120), nn.BatchNorm1d(120), nn.ReLU(), nn.Linear(120, 84), nn.BatchNorm1d(84), nn.ReLU(),
        nn.Linear(84, 2),
    )  # fmt: skip
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for _ in range(10):
        for rows in torch.randperm(len(y)).split(16):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
    with torch.no_grad():
        return float((net.eval()(test_x).argmax(1) == test_y).float().mean())


def _mean_size(grad: Tensor | None) -> float:
    return math.nan if grad is None else float(grad.abs().mean())


ROWS = {each.__name__: each for each in (d1, d2, d3, d4, learning, dead, gradients, lenet)}


def main() -> None:
    """Prints the figures of one row."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab_by_hand", description=__doc__)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--seeds", type=int, default=60, help="a multiple of ten")
    parser.add_argument(
        "--data", type=Path, required=True, help="the folder with MNIST/raw, FashionMNIST/raw and cifar2"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, values = Images(given.data), defaultdict[str, list[float]](list)
    for seed in range(given.seeds // AT_ONCE):
        for name, each in ROWS[given.row](images, seed).items():
            values[name] += each
    for name, each in values.items():
        figures = {"least": min(each), "greatest": max(each), "mean": np.mean(each), "sd": np.std(each, ddof=1)}
        told = ", ".join(f"{what} {figure:.4f}" for what, figure in figures.items())
        print(f"{given.row} {name}: {len(each)} seeds, {told}")
        print(json.dumps([round(one, 4) for one in each]))


if __name__ == "__main__":
    main()

"""Double descent: the test error by width, through the width at which the training data are fitted exactly."""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regplug.api import DataContext, Dataset, Model, ModelContext, Task
from regplug.data import InputSpec, RawData, Split
from regplug.lab import Claim, Findings, Lab, Runs, bounded, greater, series
from regplug_lab import WidthParams

Array = NDArray[np.float32]

ROWS, CLASSES, WRONG = 60, 10, 0.2
WIDTHS = (10, 30, 45, 60, 80, 120, 400)
THRESHOLD = ROWS
NARROW, PEAK, TWICE, WIDE = (WIDTHS.index(width) for width in (THRESHOLD // 2, THRESHOLD, 2 * THRESHOLD, 400))
STRENGTHS = (0.0, 0.0003, 0.003)
BEST = 0.0003

TEXT = f"""
A network with one layer of fixed random ReLU features and a trained output layer fits {ROWS} digits, {WRONG:.0%} of
them with a wrong label. With fewer features than rows the test error rises with the width. (That it falls at first, as
the textbooks draw it, is not seen here: ten features are already too many for so few rows with so many wrong labels.)
At {ROWS} features, as many as rows, the training data can just be fitted, by one solution only, which has huge weights
where the labels are wrong: the test error peaks. Beyond it there are many solutions, gradient descent from zero finds
the smallest, and the test error falls again. An L2 penalty removes the peak: it is a lack of regularization, not of
data. The error is the squared error to the classes as zeros and ones.
"""


def double_descent(lab: Lab) -> Findings:
    """The widths with and without L2, trained to the end from zero output weights."""
    epochs = lab.pick(1000, 500)
    runs = lab.sweep(
        model=MODEL, dataset=DIGITS, loss="mse", lr=20.0, momentum=0.95, init="zeros", epochs=epochs, batch_size=ROWS,
        evaluate_every=epochs, probe=(),
        grid=[f"model.width={','.join(map(str, WIDTHS))}", f"reg.l2.strength={','.join(map(str, STRENGTHS))}"],
    )  # fmt: skip
    test = {strength: _by_width(runs, strength, "test/loss") for strength in STRENGTHS}
    train = _by_width(runs, 0.0, "train/loss")
    return Findings(
        claims=_claims(test, train),
        values={f"test/{strength:g}/{width}": list(test[strength][:, number])
                for strength in STRENGTHS for number, width in enumerate(WIDTHS)},
        text=TEXT,
        figures=[
            series("test", "Test loss by width",
                   f"{ROWS} rows, {WRONG:.0%} of the labels wrong; mean and range of the seeds.",
                   WIDTHS, {"test loss": {f"λ = {strength:g}": test[strength] for strength in STRENGTHS}},
                   x_name="number of random features", log_x=True, log_y=True),
            series("train", "Training loss by width", "The final training loss without L2.", WIDTHS,
                   {"train loss": {"λ = 0": train}}, x_name="number of random features", log_x=True),
        ],
    )  # fmt: skip


def _by_width(runs: Runs, strength: float, metric: str) -> NDArray[np.float64]:
    """Values (seeds, widths) of one strength."""
    return np.array([runs[f"model.width={width}, l2.strength={strength:g}"].values(metric) for width in WIDTHS]).T


def _claims(test: dict[float, NDArray[np.float64]], train: NDArray[np.float64]) -> list[Claim]:
    plain, penalized = test[0.0], test[BEST]
    peak, least_below = plain[:, PEAK], plain[:, :PEAK].min(axis=1)
    belkin, nakkiran = "Belkin et al. 2019", "Nakkiran et al. 2021, Optimal Regularization"
    return [
        bounded("fitted", "From twice the threshold on, the training data are fitted exactly, wrong labels included.",
                list(train[:, TWICE:].ravel()), high=1e-3, source=belkin),
        greater("rise", "Up to the threshold the test error rises: it is higher there than at the best smaller width.",
                list(peak), list(least_below), source=belkin),
        greater("fall", "Beyond the threshold it falls again.", list(peak), list(plain[:, WIDE]), source=belkin),
        greater("second", "The widest network is better than the best one below the threshold.", list(least_below),
                list(plain[:, WIDE]), source=belkin),
        greater("mitigated", "At the threshold an L2 penalty lowers the test error.", list(peak),
                list(penalized[:, PEAK]), source=nakkiran),
        greater("no_peak", "With the penalty the threshold is no worse than half its width: there is no peak.",
                list(penalized[:, NARROW]), list(penalized[:, PEAK]), source=nakkiran),
        greater("wider", "With the penalty the widest network is better than that at the threshold.",
                list(penalized[:, PEAK]), list(penalized[:, WIDE]), source=nakkiran),
    ]  # fmt: skip


class RandomFeatures(nn.Module):
    """A trained linear layer on fixed random ReLU features, which are centred as a normal input's are.

    Args:
        inputs: Number of inputs.
        width: Number of features.
        outputs: Number of outputs.
    """

    _features: Tensor

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("_features", torch.randn(inputs, width) * (2 / inputs) ** 0.5)
        self.output = nn.Linear(width, outputs, bias=False)

    def forward(self, x_BF: Tensor) -> Tensor:
        """Returns the outputs (B, K)."""
        h_BH = (x_BF @ self._features).relu() - 0.5642
        return self.output(h_BH / h_BH.shape[1] ** 0.5)  # type: ignore[no-any-return] # a tensor


def random_features(params: WidthParams, context: ModelContext) -> nn.Module:
    """Returns a network with `width` random features."""
    return RandomFeatures(context.input_shape[0], params.width, context.task.num_outputs)


def noisy_digits(params: object, context: DataContext) -> RawData:  # noqa: ARG001 - no parameters
    """Returns 60 digits with a fifth of the labels wrong, and 1,000 with the right ones; targets are one-hot."""
    x_BF, labels_B = _digits()
    generator = np.random.default_rng(context.data_seed)
    order_B = generator.permutation(len(x_BF))
    train_B, test_B = order_B[:ROWS], order_B[ROWS : ROWS + 1000]
    given_B = labels_B[train_B].copy()
    wrong = generator.permutation(ROWS)[: round(WRONG * ROWS)]
    given_B[wrong] = (given_B[wrong] + generator.integers(1, CLASSES, len(wrong))) % CLASSES
    mean_F = x_BF[train_B].mean(axis=0)
    return RawData(
        name="noisy_digits",
        train=_split(x_BF[train_B] - mean_F, given_B),
        test=_split(x_BF[test_B] - mean_F, labels_B[test_B]),
        task=Task(kind="regression", num_outputs=CLASSES),
        inputs=InputSpec(layout="row", shape=(x_BF.shape[1],), dtype="float32"),
    )


@cache
def _digits() -> tuple[Array, NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    x_BF, labels_B = load_digits(return_X_y=True)
    return (x_BF / 8).astype(np.float32), labels_B


def _split(x_BF: Array, labels_B: NDArray[np.int64]) -> Split:
    return Split(x=x_BF.astype(np.float32), y=np.eye(CLASSES, dtype=np.float32)[labels_B])


DIGITS = Dataset(
    name="noisy_digits", target="regplug_lab.double_descent:noisy_digits", task="regression",
    summary="60 digits, a fifth of them with a wrong label.",
)  # fmt: skip
MODEL = Model(
    name="random_features", target="regplug_lab.double_descent:random_features", params=WidthParams,
    summary="A trained linear layer on fixed random ReLU features.",
)  # fmt: skip

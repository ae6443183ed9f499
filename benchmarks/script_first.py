"""A script by hand for `regplug run --reg dropout --model mlp`: a tracked training, two exports and one check.

It draws no figures and makes one check where regplug makes sixty-seven.
"""

from __future__ import annotations

import mlflow
import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

SPLITS = ("train", "valid", "test")


def main() -> None:
    """Trains, tracks and exports the model in the current folder."""
    torch.manual_seed(0)
    data = load_splits()
    net = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(64, 256), nn.ReLU(), nn.Dropout(0.5)),
        *(nn.Linear(256, 128), nn.ReLU(), nn.Dropout(0.5)),
        nn.Linear(128, 10),
    )
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    with mlflow.start_run():
        mlflow.log_params({"hidden": [256, 128], "drop_probability": 0.5, "lr": 0.2, "epochs": 30, "batch_size": 32})
        train(net, data)
        export(net.eval(), data["test"][0])
        for file in ("model.onnx", "model.ts"):
            mlflow.log_artifact(file)


def load_splits() -> dict[str, tuple[Tensor, Tensor]]:
    """Returns inputs and labels of each split."""
    bunch = load_digits()
    x, y = torch.tensor(bunch.images / 16, dtype=torch.float32)[:, None], torch.tensor(bunch.target)
    rest, test = train_test_split(np.arange(len(x)), test_size=0.2, stratify=y, random_state=0)
    train, valid = train_test_split(rest, test_size=0.25, stratify=y[rest], random_state=0)
    return {name: (x[rows], y[rows]) for name, rows in zip(SPLITS, (train, valid, test), strict=True)}


def train(net: nn.Module, data: dict[str, tuple[Tensor, Tensor]]) -> None:
    """Trains for 30 epochs, and logs loss and accuracy of the training and validation rows after each."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.2)
    x, y = data["train"]
    for epoch in range(1, 31):
        net.train()
        for rows in torch.randperm(len(x)).split(32):
            optimizer.zero_grad()
            F.cross_entropy(net(x[rows]), y[rows]).backward()
            optimizer.step()
        mlflow.log_metrics(evaluate(net, data, SPLITS[:2]), step=epoch)
    mlflow.log_metrics(evaluate(net, data, SPLITS[2:]), step=30)


@torch.no_grad()
def evaluate(net: nn.Module, data: dict[str, tuple[Tensor, Tensor]], names: tuple[str, ...]) -> dict[str, float]:
    """Returns loss and accuracy of the splits with these names."""
    net.eval()
    values = {}
    for name in names:
        x, y = data[name]
        logits = net(x)
        values[f"{name}/loss"] = float(F.cross_entropy(logits, y))
        values[f"{name}/accuracy"] = float((logits.argmax(1) == y).float().mean())
    return values


def export(net: nn.Module, x: Tensor) -> None:
    """Writes the model in both formats, and compares the ONNX file's outputs with the model's.

    Raises:
        RuntimeError: They differ.
    """
    shapes = ({0: torch.export.Dim("batch")},)
    torch.onnx.export(net, (x[:3],), "model.onnx", dynamo=True, dynamic_shapes=shapes, verbose=False)
    torch.jit.trace(net, x[:3]).save("model.ts")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    with torch.no_grad():
        if not np.allclose(outputs, net(x).numpy(), atol=1e-5):
            raise RuntimeError("The file differs from the model.")


if __name__ == "__main__":
    main()

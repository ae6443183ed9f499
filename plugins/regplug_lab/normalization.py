"""Studies of normalization: what the layers compute, and a LeNet that trains only with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regplug.api import Task
from regplug.data import InputSpec, RawData, Split
from regplug.lab import Claim, Drawing, Findings, Lab, Runs, bounded, curves, exact, series, spreads
from regplug_lab.by_hand import LENET_BATCH_NORM, as_by_hand

TOLERANCE = 1e-10
EPSILON = 1e-5

TEXT = """
In training batch norm divides by the *biased* standard deviation of the batch (n in the denominator), and its running
variance averages the *unbiased* one (n - 1): r = 0.9 r + 0.1 v. With momentum=None it is the cumulative average. At
test time it uses the running statistics, not the "current" ones: a row's output does not depend on the other rows;
only with track_running_stats=False does evaluation use the batch. Group norm with one group is layer norm over (C, H,
W); with as many groups as channels it is instance norm (one of the notes has the two swapped). Layer norm scales each
element, group norm each channel. Batch norm on a single image is instance norm.
"""


def normalizations(lab: Lab) -> Findings:
    """Equivalences of batch, layer, instance and group norm, and the running statistics."""
    generator = torch.Generator().manual_seed(0)
    # Each channel with a mean and a size of its own, and so each image.
    shift = 3 * torch.randn(1, 6, 1, 1, generator=generator, dtype=torch.float64)
    scale = torch.rand(16, 1, 1, 1, generator=generator, dtype=torch.float64) + 0.5
    x_NCHW = scale * torch.randn(16, 6, 5, 4, generator=generator, dtype=torch.float64) + shift
    claims = [*_batch_claims(x_NCHW), *_equal_claims(x_NCHW), *_shape_claims(), _host_claim(lab)]
    return Findings(
        claims=claims,
        values={"batch_norm/biased_over_unbiased": 319 / 320},
        figures=[_running_figure(), _means_figure(x_NCHW)],
        text=TEXT,
    )


def _of(norm: nn.Module, x: Tensor) -> Tensor:
    output: Tensor = norm.double()(x)
    return output.detach()


def _batch_claims(x: Tensor) -> list[Claim]:
    axes = (0, 2, 3)
    mean, biased, unbiased = (of.view(1, -1, 1, 1) for of in (x.mean(axes), x.var(axes, correction=0), x.var(axes)))
    norm = nn.BatchNorm2d(6).double()
    trained = _of(norm, x)
    cumulative = nn.BatchNorm2d(6, momentum=None).double()
    parts = torch.split(x, 4)
    for part in parts:
        cumulative(part)
    batchwise = nn.BatchNorm2d(6, track_running_stats=False)
    in_training, in_evaluation = _of(batchwise, x), _of(batchwise.eval(), x)
    norm.eval()
    running_var, running_mean = norm.running_var, norm.running_mean
    assert running_var is not None  # noqa: S101 - it tracks them
    assert running_mean is not None  # noqa: S101
    stacked = torch.stack([part.mean(axes) for part in parts]).mean(0)
    source = "FACTS F"
    return [
        exact("biased", "In training the output uses the biased variance of the batch.", trained.numpy(),
              ((x - mean) / (biased + EPSILON).sqrt()).numpy(), TOLERANCE, source=source),
        exact("unbiased", "running_var averages the unbiased variance: 0.9 * 1 + 0.1 * v.", running_var.numpy(),
              (0.9 + 0.1 * unbiased.flatten()).numpy(), TOLERANCE, source=source),
        exact("running_mean", "running_mean is 0.9 * 0 + 0.1 * mean.", running_mean.numpy(),
              (0.1 * mean.flatten()).numpy(), TOLERANCE, source=source),
        exact("cumulative", "With momentum=None the running mean is that of the batches' means.",
              _array(cumulative.running_mean), stacked.numpy(), TOLERANCE, source=source),
        exact("untracked", "With track_running_stats=False evaluation uses the batch.", in_evaluation.numpy(),
              in_training.numpy(), TOLERANCE, source=source),
        exact("rows", "In evaluation a row's output does not depend on the other rows.", _of(norm, x[:1]).numpy(),
              _of(norm, x)[:1].numpy(), TOLERANCE, source=source),
    ]  # fmt: skip


def _equal_claims(x: Tensor) -> list[Claim]:
    one = nn.InstanceNorm2d(6)
    single = torch.cat([_of(nn.BatchNorm2d(6), image[None]) for image in x])
    pairs = {
        "one_group": ("GroupNorm with 1 group is LayerNorm over (C, H, W).", _of(nn.GroupNorm(1, 6), x),
                      _of(nn.LayerNorm([6, 5, 4]), x)),
        "each_channel": ("GroupNorm with C groups is InstanceNorm.", _of(nn.GroupNorm(6, 6), x), _of(one, x)),
        "one_image": ("BatchNorm on one image in training is InstanceNorm.", single, _of(one, x)),
    }  # fmt: skip
    found = [
        exact(name, text, left.numpy(), right.numpy(), TOLERANCE, source="FACTS F")
        for name, (text, left, right) in pairs.items()
    ]
    swapped = float((_of(nn.GroupNorm(1, 6), x) - _of(one, x)).abs().max())
    text = "The two are not interchangeable: GroupNorm with 1 group differs from InstanceNorm."
    return [*found, bounded("not_swapped", text, [swapped], low=0.1, source="FACTS F, an error in the notes")]


def _shape_claims() -> list[Claim]:
    layer, group = nn.LayerNorm([6, 5, 4]).weight.shape, nn.GroupNorm(3, 6).weight.shape
    return [
        exact("layer_affine", "LayerNorm scales each element: its weight is (C, H, W).", list(layer), [6, 5, 4], 0,
              source="FACTS F"),
        exact("group_affine", "GroupNorm scales each channel: its weight is (C,).", list(group), [6], 0,
              source="FACTS F"),
    ]  # fmt: skip


def _host_claim(lab: Lab) -> Claim:
    """One step of a run without learning: its running statistics are those of its only batch."""
    generator = np.random.default_rng(0)
    rows = Split(x=generator.standard_normal((32, 5)).astype(np.float32), y=np.zeros((32, 1), np.float32))
    data = RawData(name="one_batch", train=rows, test=rows, task=Task(kind="regression", num_outputs=1),
                   inputs=InputSpec(layout="row", shape=(5,), dtype="float32"))  # fmt: skip
    run = lab.run(model="mlp:hidden=[7]", dataset=data, reg=["batchnorm"], lr=0.0, epochs=1, batch_size=32, probe=())
    linear = next(part for part in run.model.modules() if isinstance(part, nn.Linear))
    norm = next(part for part in run.model.modules() if isinstance(part, nn.BatchNorm1d))
    hidden = linear(torch.from_numpy(rows.x)).detach()
    found = np.concatenate([_array(norm.running_mean), _array(norm.running_var)])
    expected = np.concatenate([(0.1 * hidden.mean(0)).numpy(), (0.9 + 0.1 * hidden.var(0)).numpy()])
    text = "regplug's batchnorm keeps the same running statistics after a step."
    return exact("host", text, found, expected, 1e-5, source="FACTS F")


def _array(value: Tensor | None) -> Any:
    return np.asarray(value)


def _running_figure() -> Drawing:
    """The running variance of one channel over the batches, with momentum 0.1 and cumulative."""
    generator = torch.Generator().manual_seed(1)
    norms = {"momentum 0.1": nn.BatchNorm1d(1), "momentum None (cumulative)": nn.BatchNorm1d(1, momentum=None)}
    lines: dict[str, list[float]] = {name: [] for name in norms}
    for _ in range(60):
        batch = 2 * torch.randn(16, 1, generator=generator)
        for name, norm in norms.items():
            norm(batch)
            lines[name].append(float(_array(norm.running_var)[0]))
    return series(
        "running", "Running variance over the batches", "Batches of 16 rows; the variance of the data is 4.",
        list(range(1, 61)), {"running variance": lines}, x_name="batches", levels=[("variance of the data", 4.0)],
    )  # fmt: skip


def _means_figure(x: Tensor) -> Drawing:
    norms = {
        "none": nn.Identity(), "batch norm": nn.BatchNorm2d(6), "layer norm": nn.LayerNorm([6, 5, 4]),
        "group norm, 3 groups": nn.GroupNorm(3, 6), "instance norm": nn.InstanceNorm2d(6),
    }  # fmt: skip
    outputs = {name: _of(norm, x) for name, norm in norms.items()}
    means = {
        "mean over the batch | channels": {name: each.mean((0, 2, 3)).tolist() for name, each in outputs.items()},
        "mean over the image | images": {name: each.mean((1, 2, 3)).tolist()[:6] for name, each in outputs.items()},
    }
    return series(
        "means", "What each normalization makes zero",
        "Left: mean of each channel over the batch, zero after batch norm and instance norm. Right: mean of each of "
        "six images, zero after layer, group and instance norm.",
        list(range(1, 7)), means, x_name="number of the channel or image",
    )  # fmt: skip


# LeNet.

STARTS = {
    "default": "default",
    "Xavier": "xavier_uniform",
    "N(0, 1)": "normal:std=1,at=[hidden1,hidden2,output]",
}
"""The linear layers start from N(0, 1) as one of the notes has it."""

LENET: dict[str, Any] = {
    "model": "lenet:pool=max", "grid": ["model.norm=none,batch"], "lr": 0.1, "momentum": 0.9, "batch_size": 16,
    "pair_seeds": False, "probe": (),
}  # fmt: skip
IMAGES = "normalize=standard,validation=0"
"""FACTS F names neither the pooling nor the scale of the images.

Tried by hand in plain torch, on all 2,000 training images: standardized images and max pooling give both of its values
(with batch norm 0.88 to 0.90; from N(0, 1) without it the loss is not finite in five of five runs, in the first epoch).
With images in [0, 1] most of these runs keep a finite loss, one or two of five do not; with average pooling and
standardized images four of five do not.
"""

LENET_TEXT = """
With linear layers started from N(0, 1) the outputs of LeNet are hundreds of times too large. At learning rate 0.1 and
momentum 0.9 the first steps are then so long that the loss stops being finite within the first epoch. Batch norm
divides the scale of the start out again, and the same start trains, if to a somewhat lower accuracy. What batch norm
buys first of all is that a bad start does not decide whether the network trains at all. The images are standardized,
and LeNet pools by the maximum: with images in [0, 1] the units often die before the loss overflows, and the accuracy
stays at one half.
The test set has 400 images, so one seed differs from the next by several hundredths: of 40 runs in plain torch, 9 lie
outside of FACTS' range for batch norm. The row is judged by these 40.
"""


def batchnorm_lenet(lab: Lab) -> Findings:
    """LeNet on airplanes and automobiles from three starts, with and without batch norm."""
    folder = lab.data_folder("cifar2")
    short = lab.shortened("one epoch instead of ten")
    base = {**LENET, "dataset": f"images:path={folder},{IMAGES}", "epochs": lab.pick(10, 1)}
    runs = {label: lab.sweep(_key(label), init=init, **base) for label, init in STARTS.items()}
    parts = {(label, norm): each[f"model.norm={norm}"] for label, each in runs.items() for norm in ("none", "batch")}
    accuracy = {f"{label}, {_NAMES[norm]}": part.values("test/accuracy") for (label, norm), part in parts.items()}
    wild = parts["N(0, 1)", "none"]
    return Findings(
        claims=[
            as_by_hand("batch_norm", "The test accuracy with batch norm", accuracy["default, batch norm"],
                       LENET_BATCH_NORM, short),
            bounded("wild", "Without batch norm, no run from N(0, 1) ends with a finite loss.",
                    [float(bool(error)) for error in wild.errors()], low=1, source="FACTS F", undecided=short),
            bounded("tamed", "With batch norm, every run from N(0, 1) ends with a finite loss.",
                    [float(not error) for error in parts["N(0, 1)", "batch"].errors()], low=1, source="FACTS F"),
        ],
        values={f"test_accuracy/{_key(label)}": each for label, each in accuracy.items()},
        figures=[
            _lenet_curves(parts, list(STARTS)),
            spreads("accuracy", "Test accuracy", "Each seed, the mean with its interval, and the reference's range. A "
                    "diverged run has no accuracy.", accuracy, x_name="test accuracy",
                    references={"default, batch norm": LENET_BATCH_NORM.facts}),
        ],
        text=LENET_TEXT,
    )  # fmt: skip


_NAMES = {"none": "no norm", "batch": "batch norm"}


def _lenet_curves(parts: dict[tuple[str, str], Runs], starts: list[str]) -> Drawing:
    return curves(
        "learning", "LeNet with and without batch norm", "Mean of the seeds and one standard deviation.",
        {
            f"test accuracy | {_NAMES[norm]}": {label: parts[label, norm].curves("test/accuracy") for label in starts}
            for norm in ("none", "batch")
        },
    )  # fmt: skip


def _key(label: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in label.lower()).strip("_").replace("__", "_")

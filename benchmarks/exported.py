"""The exported networks of the benchmarks: they take images as bytes and include the normalisation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from regplug.api import ModelContext, Task
from regplug.bundles.formats import Format
from regplug.bundles.isolate import Deployed
from regplug.bundles.request import BundleRequest
from regplug.config.spec import ComponentSpec
from regplug.data.tensors import Normalize
from regplug.registry import build, default_registry

TEN = Task(kind="classification", num_outputs=10, class_names=tuple("0123456789"))
SAMPLES, TEST_ROWS = 256, 1024
MODELS: Mapping[str, tuple[str, tuple[int, int, int]]] = {
    "linear": ("linear", (1, 28, 28)),
    "mlp": ("mlp", (1, 28, 28)),
    "cnn": ("cnn", (1, 28, 28)),
    "resnet18": ("torchvision:name=resnet18", (3, 32, 32)),
    "mobilenet_v3_small": ("torchvision:name=mobilenet_v3_small", (3, 32, 32)),
}
"""Name -> component, and shape of one image."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network as it is deployed.

    Args:
        name: Its name in tables.
        network: In evaluation mode, with running statistics of data.
        preprocess: Maps bytes to the unit range.
        images: Bytes `(N, C, H, W)`.
    """

    name: str
    network: nn.Module
    preprocess: nn.Module
    images: np.ndarray[Any, Any]

    def request(self, *formats: str) -> BundleRequest:
        """Returns the request for its bundle; the files are evaluated on a test set as after a run."""
        targets = np.arange(len(self.images)) % TEN.num_outputs
        return BundleRequest(
            module=self.network,
            preprocess=self.preprocess,
            samples=self.images[:SAMPLES],
            layout="image",
            task=TEN,
            formats=[named(text) for text in formats],
            value_range=(0.0, 255.0),
            test=(self.images, targets),
        )

    def deployed(self) -> Deployed:
        """Preprocessing and network in one module."""
        return Deployed(self.preprocess, self.network, "").eval().requires_grad_(False)


def subject(name: str) -> Subject:
    """Builds a network and runs one batch through it, so that its running statistics are those of data."""
    component, shape = MODELS[name]
    spec = ComponentSpec.parse(component)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (TEST_ROWS, *shape), np.uint8)
    preprocess = Normalize(torch.tensor(0.0), torch.tensor(1 / 255))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        registered = default_registry().find("model", spec)
        network = build(registered, spec.values, ModelContext(input_shape=shape, task=TEN))
    with torch.no_grad():
        network.train()(preprocess(torch.from_numpy(images[:128])))
    return Subject(name=name, network=network.eval(), preprocess=preprocess, images=images)


def named(text: str) -> tuple[str, str, Format]:
    """Name, file name and object of a format."""
    registered = default_registry().find("format", ComponentSpec.parse(text))
    form: Format = build(registered, {})
    return text, registered.component.filename, form  # type: ignore[attr-defined] # found as a format


def eager(chosen: Subject, batch: int) -> Callable[[], Any]:
    """Runs the module on the first `batch` images."""
    module, raw = chosen.deployed(), torch.from_numpy(chosen.images[:batch])

    def run() -> Any:
        with torch.inference_mode():
            return module(raw)

    return run


def latency_ratio(run: Callable[[], Any], over: Callable[[], Any], turn_s: float = 0.05, turns: int = 7) -> float:
    """Returns the ratio of the times of two calls: the median over turns that time both one after the other."""
    ratios = [_call_s(run, turn_s) / _call_s(over, turn_s) for _ in range(turns + 1)]
    return statistics.median(ratios[1:])


def _call_s(run: Callable[[], Any], least_s: float) -> float:
    calls, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < least_s or not calls:
        run()
        calls += 1
    return passed / calls

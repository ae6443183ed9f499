"""Memory and time of loading 60,000 x 784 uint8, and of the batches of an epoch.

    REGPLUG_DATA_DIR=... python benchmarks/loading_images.py [--dataset fashion_mnist]

Prints the most memory that loading added to the process, and that one epoch of batches adds to it, as multiples of the
training images' size in float32. The libraries are imported before.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from regplug.config import load_config
from regplug.data.inputs import rows_in_turn
from regplug.registry import default_registry
from regplug.registry.components import find_components
from regplug.runs.loading import load_data

BATCH = 256


def used_bytes() -> int:
    """The most memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default="fashion_mnist")
    asked = parser.parse_args()
    # What is imported once for any dataset is no part of the images' memory.
    small = load_config(None, (), {"dataset": "digits"})
    load_data(small, find_components(small, default_registry()))
    config = load_config(None, (), {"dataset": asked.dataset})
    components = find_components(config, default_registry())
    before, began = used_bytes(), time.perf_counter()
    data = load_data(config, components)
    seconds, loaded = time.perf_counter() - began, used_bytes()
    size = data.train.x.shape.numel() * 4
    print(f"inputs: {data.kept}")
    print(f"loading: {seconds:.2f} s, {(loaded - before) / size:.2f} times the float32 size")
    began = time.perf_counter()
    for _ in rows_in_turn(data.train.x, torch.randperm(len(data.train)).split(BATCH), 8):
        pass
    print(f"an epoch of batches: {time.perf_counter() - began:.2f} s, {(used_bytes() - loaded) / size:.2f} times")


if __name__ == "__main__":
    main()

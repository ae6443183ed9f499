"""A torch program with several inputs or outputs, as a function of arrays by name."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from regplug.bundles.calibration.answers import graph_outputs
from regplug.bundles.formats import Array, NamedRun
from regplug.bundles.perturbing import LastBits
from regplug_formats.torch_outputs import all_of


def named_run(run: Callable[..., Any], manifest: Mapping[str, Any], seed: int | None) -> NamedRun:
    """Arrays by name to the outputs of a program by name.

    Args:
        run: The program: tensors in the order of `inputs` to one tensor, or a tuple in the order of `outputs`,
            followed by the one that a calibration adds.
        manifest: Has `inputs`, `outputs` and `calibration`.
        seed: Of the last bits that are changed; `None` to change nothing.
    """
    given, names = ([part["name"] for part in parts] for parts in (manifest["inputs"], graph_outputs(manifest)))

    def named(arrays: Mapping[str, Array]) -> dict[str, Array]:
        tensors = [torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in given]
        with torch.no_grad(), contextlib.nullcontext() if seed is None else LastBits(seed):
            answers = all_of(run(*tensors))
        return {name: one.numpy() for name, one in zip(names, answers, strict=True)}

    return named

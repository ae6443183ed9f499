"""How far a file may be from the model: a bound from the model's own rounding, not from a constant.

tolerance = 16 * max(|torch32 - torch64|, eps * max|output|)

with the maximum over all outputs of a case and eps of float32. A fixed rtol and atol either misses faults or cries
wolf: the rounding of a model depends on its depth and on the size of what goes through it.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor

from regplug.bundles.cases import Reference
from regplug.bundles.formats import Array
from regplug.bundles.isolate import Deployed

FACTOR = 16.0
_EPS = float(np.finfo(np.float32).eps)
_PERTURBATIONS = 4


def references(deployed: Deployed, cases: dict[str, Array]) -> list[Reference]:
    """Runs the model on every case, in float32 and in float64.

    Args:
        deployed: The isolated model; not changed.
        cases: Raw rows by case.
    """
    double = _double(deployed)
    return [_reference(deployed, double, case, inputs) for case, inputs in cases.items()]


def _reference(deployed: Deployed, double: Deployed, case: str, inputs: Array) -> Reference:
    raw = torch.from_numpy(inputs)
    with torch.no_grad():
        outputs = deployed(raw)
        rounding = _rounding(deployed, double, raw, outputs)
    finite = outputs[torch.isfinite(outputs)]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = FACTOR * max(rounding, _EPS * largest)
    return Reference(case=case, inputs=inputs, outputs=outputs.numpy(), tolerance=tolerance)


def _double(deployed: Deployed) -> Deployed:
    return copy.deepcopy(deployed).double()


def _rounding(deployed: Deployed, double: Deployed, raw: Tensor, outputs: Tensor) -> float:
    try:
        exact = _run_double(double, raw)
    except Exception:
        # It ran in float32, but makes float32 tensors of its own. How it answers to the last bit of its weights tells
        # its rounding as well.
        return max(_difference(outputs, _nudged(deployed, seed)(raw)) for seed in range(_PERTURBATIONS))
    return _difference(outputs, exact)


def _run_double(double: Deployed, raw: Tensor) -> Tensor:
    wide = raw.double() if raw.is_floating_point() else raw
    output: Tensor = double.network(double.preprocess(wide).double())
    return output.softmax(1) if double.probabilities else output


def _nudged(deployed: Deployed, seed: int) -> Deployed:
    generator = torch.Generator().manual_seed(seed)
    nudged = copy.deepcopy(deployed)
    for weight in nudged.parameters():
        sign = torch.randint(0, 2, weight.shape, generator=generator) * 2 - 1
        weight.mul_(1 + _EPS * sign)
    return nudged


def _difference(one: Tensor, other: Tensor) -> float:
    gap = (one.double() - other.double()).abs()
    finite = gap[torch.isfinite(gap)]
    return float(finite.max()) if finite.numel() else 0.0

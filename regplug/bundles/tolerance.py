"""The tolerance of a file: a bound derived from the model's own rounding, not a constant.

tolerance = max(16 * max(|torch32 - torch64|, |torch64 - nudged64|, eps * max|output|), |torch32 - perturbed32|)

with the maximum over all outputs of a case and eps of float32. A fixed rtol and atol either misses faults or gives
false alarms, because a model's rounding depends on its depth and on the size of its activations. If a normalization
divides by a spread of almost zero, torch's own rounding error can be small by chance: onnxruntime's error was up to 21
times torch's. The effect of the last bit of every weight on the exact output, the backward error, shows how
ill-conditioned such a case is. If weights do not matter, as in the norm of an image of one colour, the last bits of
every operator's result show it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from regplug.bundles.batched_convolutions import BatchedConvolutions
from regplug.bundles.blame import user_line, where_it_broke
from regplug.bundles.bounds import EPS, FACTOR, SEEDS
from regplug.bundles.cases import VARIED, Reference
from regplug.bundles.causes import one_line
from regplug.bundles.formats import Array
from regplug.bundles.isolate import Deployed
from regplug.bundles.perturbing import LastBits
from regplug.errors import ExportError

_VARIED_HINT = (
    "These random inputs are like the example's rows and within the declared range: give several rows that differ, or "
    "value_range=(low, high)."
)
_NUDGES = 4
_NUDGED_ROWS = 2
_INEXPLICABLE = 1e4
"""By how much a difference between float32 and float64 exceeds the effect of last bits if it is no rounding."""
_SIGNS = 65_521
"""How many weights in a row have independent signs; a prime, so that no two filters have the same ones."""


def references(deployed: Deployed, cases: dict[str, Array]) -> list[Reference]:
    """Runs the model on every case, in float32 and in float64.

    Args:
        deployed: The isolated model; not changed.
        cases: Raw rows by case.

    Raises:
        ExportError: It raises for one of them; the message names case and module.
    """
    raws = [torch.from_numpy(inputs) for inputs in cases.values()]
    with torch.no_grad():
        outputs = [_answer(deployed, raw, case) for case, raw in zip(cases, raws, strict=True)]
        moved = _moved_by_last_bits(deployed, raws)
        rounding = _rounding(deployed, raws, outputs, moved)
    return [
        _reference(case, inputs, output, max(error, last_bits / FACTOR))
        for (case, inputs), output, error, last_bits in zip(cases.items(), outputs, rounding, moved, strict=True)
    ]


def _answer(deployed: Deployed, raw: Tensor, case: str) -> Tensor:
    try:
        output: Tensor = deployed(raw)
    except Exception as error:
        line = user_line(error)
        raise ExportError(
            f"The model fails on the inputs {case!r} (values that {raw.dtype} allows): "
            f"{where_it_broke(deployed, raw)} raises {type(error).__name__}{f' at {line}' if line else ''}: "
            f"{one_line(str(error))}",
            hint=_VARIED_HINT
            if case == VARIED
            else "A file cannot raise: return an output for every value that the input's type allows, if only NaN.",
        ) from error
    return output


def _reference(case: str, inputs: Array, outputs: Tensor, rounding: float) -> Reference:
    finite = outputs[torch.isfinite(outputs)]
    largest = float(finite.abs().max()) if finite.numel() else 0.0
    tolerance = FACTOR * max(rounding, EPS * largest)
    return Reference(case=case, inputs=inputs, outputs=outputs.numpy(), tolerance=tolerance)


def _rounding(
    deployed: Deployed, raws: Sequence[Tensor], outputs: Sequence[Tensor], moved: Sequence[float]
) -> list[float]:
    double = copy.deepcopy(deployed).double()
    try:
        exact = [_exact(double, raw) for raw in raws]
    except Exception:
        # It runs in float32, but creates its own float32 tensors.
        return _nudged_rounding(deployed, raws, outputs)
    few = torch.cat([raw[:_NUDGED_ROWS] for raw in raws])
    # Run again instead of slicing `exact`, which would be wrong for a model that depends on the batch.
    still = _by_case(_exact(double, few))
    (others,) = _nudged_outputs(double, _exact, [few])
    nudged = list(zip(*map(_by_case, others), strict=True))
    if any(map(_is_other_function, outputs, still, nudged, moved)):
        return _nudged_rounding(deployed, raws, outputs)
    return [
        max(_difference(output, truth), _worst(unmoved, others))
        for output, truth, unmoved, others in zip(outputs, exact, still, nudged, strict=True)
    ]


def _exact(double: Deployed, raw: Tensor) -> Tensor:
    with BatchedConvolutions():
        return double.exact(raw)


def _nudged_rounding(deployed: Deployed, raws: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[float]:
    """Returns the effect of the last bits of the weights, which also measures a model's rounding."""
    nudged = _nudged_outputs(deployed, Deployed.__call__, raws)
    return [_worst(output, others) for output, others in zip(outputs, nudged, strict=True)]


def _is_other_function(output: Tensor, exact: Tensor, nudged: Sequence[Tensor], moved: float) -> bool:
    """Returns whether the model computes something else in float64, which no rounding explains.

    torch's attention does for 16 or more steps with a float32 mask.

    Args:
        output: The output in float32 `(B, K)`.
        exact: The output in float64 for the first rows.
        nudged: The outputs in float64 with changed last bits of the weights, for the same rows.
        moved: The effect of the last bits of all operators' results.
    """
    few = output[: len(exact)]
    largest = float(torch.where(torch.isfinite(few), few.abs(), 0.0).max()) if few.numel() else 0.0
    return _difference(few, exact) > _INEXPLICABLE * max(_worst(exact, nudged), moved, EPS * largest)


def _moved_by_last_bits(deployed: Deployed, raws: Sequence[Tensor]) -> list[float]:
    """Returns the largest effect of the last bits of all operators' results on each case's rows of smallest spread."""
    rows = torch.cat([raw[_spread(raw).argsort(stable=True)[:_NUDGED_ROWS]] for raw in raws])
    try:
        perturbed = [deployed(rows), *(_perturbed(deployed, rows, seed) for seed in SEEDS)]
        return [_worst(first, rest) for first, *rest in zip(*map(_by_case, perturbed), strict=True)]
    except Exception:
        # It runs, but not under a dispatch mode. The effect of the weights' last bits has to be enough.
        return [0.0] * len(raws)


def _spread(raw: Tensor) -> Tensor:
    return raw.double().flatten(1).std(1, correction=0).nan_to_num(nan=torch.inf)


def _by_case(output: Tensor) -> Sequence[Tensor]:
    """Splits the output for the same few rows of every case."""
    return torch.split(output, _NUDGED_ROWS)


def _perturbed(deployed: Deployed, rows: Tensor, seed: int) -> Tensor:
    with LastBits(seed):
        output: Tensor = deployed(rows)
    return output


def _nudged_outputs(
    deployed: Deployed, run: Callable[[Deployed, Tensor], Tensor], raws: Sequence[Tensor]
) -> list[list[Tensor]]:
    """Returns the outputs for each of `raws` of several models whose weights differ in their last bits."""
    outputs: list[list[Tensor]] = [[] for _ in raws]
    nudged = copy.deepcopy(deployed)
    for seed in range(_NUDGES):
        _nudge(nudged, deployed, seed)
        for raw, others in zip(raws, outputs, strict=True):
            others.append(run(nudged, raw))
    return outputs


def _nudge(nudged: Deployed, deployed: Deployed, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    # Drawing a sign for each of ten million weights takes longer than running the model.
    factors = 1 + EPS * (torch.randint(0, 2, (_SIGNS,), generator=generator) * 2 - 1)
    for moved, weight in zip(nudged.parameters(), deployed.parameters(), strict=True):
        flat, result = weight.flatten(), torch.empty(weight.numel(), dtype=weight.dtype)
        whole = weight.numel() // _SIGNS * _SIGNS
        torch.mul(flat[:whole].view(-1, _SIGNS), factors, out=result[:whole].view(-1, _SIGNS))
        torch.mul(flat[whole:], factors[: len(flat) - whole], out=result[whole:])
        moved.copy_(result.view(weight.shape))


def _worst(output: Tensor, others: Sequence[Tensor]) -> float:
    return max(_difference(output, other) for other in others)


def _difference(one: Tensor, other: Tensor) -> float:
    gap = (one.double() - other.double()).abs()
    finite = gap[torch.isfinite(gap)]
    return float(finite.max()) if finite.numel() else 0.0

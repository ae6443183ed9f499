"""Step 2: checks in torch, before anything is written, that the model is a function of its input and its state.

Each failure is a separate error that names the module and a fix.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from regplug.api import Task
from regplug.bundles.answers import require_output
from regplug.bundles.blame import dropout_hint, title, user_line, where_it_broke, where_they_part
from regplug.bundles.cases import BATCHES, Reference
from regplug.bundles.causes import one_line
from regplug.bundles.copying import without_history
from regplug.bundles.isolate import Deployed, evaluation_mode, largest_gap
from regplug.bundles.outside_state import loose_tensors
from regplug.bundles.report import Check, at_most, holds
from regplug.errors import ExportError

_SIZE_HINT = "If the model has a fixed batch size, take it from the input: x.flatten(1), x.view(x.shape[0], -1)."
_NORM_HINT = (
    "A norm uses the statistics of the batch. Leave it in evaluation mode, and give F.batch_norm the running "
    "statistics with training=self.training."
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def weights_finite(deployed: nn.Module) -> Check:
    """Checks that no parameter is NaN or infinite, and no buffer is NaN (a mask may contain -inf).

    Raises:
        ExportError: One is; the message names the first one and the number of its bad entries.
    """
    parameters, buffers = deployed.named_parameters(), deployed.named_buffers()
    state: list[tuple[str, Tensor, Tensor]] = [(name, value, ~torch.isfinite(value)) for name, value in parameters]
    state += [(name, value, torch.isnan(value)) for name, value in buffers]
    for name, value, bad in state:
        if bad.any():
            raise ExportError(
                f"{int(bad.sum())} of {value.numel()} numbers in '{name.removeprefix('network.')}' are not finite.",
                hint="The training diverged: lower the learning rate, clip gradients (`--reg clip_norm`), train again.",
            )
    return at_most("model.weights_finite", 0.0, 0.0, f"{len(state)} tensors")


def running_statistics(deployed: nn.Module) -> Check:
    """Checks that every batch norm has running statistics.

    Raises:
        ExportError: One would normalise by batch statistics.
    """
    norms = [(name, module) for name, module in deployed.named_modules() if isinstance(module, _NORMS)]
    for name, module in norms:
        if module.running_mean is None or module.running_var is None:
            raise ExportError(
                f"{title(name, module)} has no running statistics, so its output for a row depends on the batch.",
                hint="Build it with track_running_stats=True and train again.",
            )
    return holds("model.running_statistics", True, f"{len(norms)} batch norms, all with running statistics")


def takes_every_batch(deployed: Deployed, raw: Tensor, task: Task, sizes: Sequence[int] = BATCHES) -> Check:
    """Checks that the model takes batches of 1, 2, 7, 64 and 97 rows and returns `(B, K)` floats.

    Args:
        deployed: The isolated model.
        raw: 64 raw rows `(64, ...)`, repeated for larger batches.
        task: The task, which determines K.
        sizes: Sizes to try here; `rows_alone` tries all of them.

    Raises:
        ExportError: It raises, or returns another shape or dtype.
    """
    for size in sizes:
        rows = raw[torch.arange(size) % len(raw)]
        try:
            with torch.no_grad():
                output = deployed(rows)
        except ExportError:
            raise
        except Exception as error:
            raise _broke(deployed, rows, size, error) from error
        require_output(output, size, task)
    return holds("model.batches", True, f"takes batches of {', '.join(map(str, BATCHES))} rows")


def _broke(deployed: Deployed, raw: Tensor, size: int, error: Exception) -> ExportError:
    line = user_line(error)
    at = f" at {line}" if line else ""
    return ExportError(
        f"The model cannot take a batch of {size} rows of shape {tuple(raw.shape[1:])}: "
        f"{where_it_broke(deployed, raw)} raises {type(error).__name__}{at}: {one_line(str(error))}",
        hint=_NORM_HINT if "per channel when training" in str(error) else _SIZE_HINT,
    )


def output_finite(reference: Reference) -> Check:
    """Checks that the outputs on real inputs are finite.

    Raises:
        ExportError: They are not.
    """
    bad = int((~torch.isfinite(torch.from_numpy(reference.outputs))).sum())
    if bad:
        raise ExportError(
            f"{bad} of {reference.outputs.size} outputs on real inputs are NaN or infinite.",
            hint="The weights are finite, so a layer overflows or divides by zero: inspect the layers' outputs.",
        )
    return at_most("model.output_finite", 0.0, 0.0, "on real inputs")


def repeats_equal(deployed: Deployed, reference: Reference) -> Check:
    """Checks that the same rows give bit-identical outputs again.

    Raises:
        ExportError: A module is random in evaluation mode, which the message names, or keeps values between calls.
    """
    raw, before = torch.from_numpy(reference.inputs), torch.from_numpy(reference.outputs)
    with torch.no_grad():
        error = largest_gap(deployed(raw), before)
    if not error <= 0:
        if _copies_agree(deployed, raw):
            raise ExportError(
                f"The model keeps values from one call to the next: the same input gives outputs that differ by "
                f"{error:.3g}.",
                hint="A file has no memory between calls: do not set attributes in forward in evaluation mode, or "
                "take such values as an input and return them as an output.",
            )
        raise ExportError(
            f"The model is random in evaluation mode: the same input gives outputs that differ by {error:.3g}. "
            f"It starts in {where_they_part(deployed, raw, raw, torch.equal)}.",
            hint="Make the noise depend on self.training: F.dropout(x, p, training=self.training), or nn.Dropout."
            + dropout_hint(deployed, raw),
        )
    return at_most("model.repeat", error, 0.0, "largest difference of a repeat")


def _copies_agree(deployed: Deployed, raw: Tensor) -> bool:
    """Returns whether copies of a model that have seen the same calls give the same outputs."""
    with torch.no_grad():
        first, second = (copy.deepcopy(deployed, without_history(deployed))(raw) for _ in range(2))
    return torch.equal(first, second)


def state_unchanged(deployed: Deployed, raw: Tensor) -> Check:
    """Checks that inference changes no buffer, parameter or training flag.

    Raises:
        ExportError: It does; the message names what was changed.
    """
    before, others = _copied(deployed), _others(deployed)
    with torch.no_grad():
        deployed(raw)
    evaluation_mode(deployed)
    after = _tensors(deployed)
    changed = [name for name in {**before, **after} if not _is_same(before.get(name), after.get(name))]
    if changed or _others(deployed) != others:
        names = ", ".join(name.removeprefix("network.") for name in changed)
        raise ExportError(
            f"Inference writes to {names or 'the result of get_extra_state()'}.",
            hint="Write buffers only if self.training is true; an exported graph cannot write them.",
        )
    return holds("model.state_unchanged", True, f"{len(before)} tensors, none changed")


def rebuilt_equal(
    deployed: Deployed, network: nn.Module, rebuild: Callable[[], nn.Module], reference: Reference
) -> Check:
    """Checks that a new model with the trained `state_dict` gives the same output.

    Args:
        deployed: The isolated model.
        network: The trained network with the state.
        rebuild: Returns a new, untrained network.
        reference: The model's outputs.

    Raises:
        ExportError: Something that was learned is not in the state.
    """
    fresh = rebuild()
    try:
        fresh.load_state_dict(network.state_dict())
    except RuntimeError as error:
        raise ExportError(
            f"The trained state does not fit a rebuilt model: {one_line(str(error))}",
            hint="The structure changed during training; build the model with that structure from the start.",
        ) from error
    again = Deployed(deployed.preprocess, fresh.to("cpu").float().eval(), deployed.ending)
    again.writes_input, again.temperature = deployed.writes_input, deployed.temperature
    with torch.no_grad():
        outputs = again(torch.from_numpy(reference.inputs))
    error_size = float((outputs - torch.from_numpy(reference.outputs)).abs().max())
    if not error_size <= reference.tolerance:
        raise not_in_state(deployed, error_size)
    return at_most("model.rebuilt", error_size, reference.tolerance, "rebuilt from its state")


def state_is_all(deployed: Deployed, raw: Tensor) -> Check:
    """Checks that no tensor outside the state affects the output, for models that cannot be rebuilt.

    Raises:
        ExportError: A tensor in a plain attribute affects the output; the message names it.
    """
    loose = loose_tensors(deployed)
    if loose:
        with torch.no_grad():
            before = deployed(raw)
        worst = max(_without(deployed, value, raw, before) for _, value in loose)
        if not worst <= 0:
            raise not_in_state(deployed, worst)
    return holds("model.rebuilt", True, f"{len(loose)} tensors outside the state, none affects the output")


def _tensors(deployed: nn.Module) -> dict[str, Tensor]:
    """Returns the state without the additions of `get_extra_state`."""
    return {name: value for name, value in deployed.state_dict().items() if isinstance(value, Tensor)}


def _copied(deployed: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in _tensors(deployed).items()}


def _others(deployed: nn.Module) -> dict[str, str]:
    return {name: repr(value) for name, value in deployed.state_dict().items() if not isinstance(value, Tensor)}


def _is_same(one: Tensor | None, other: Tensor | None) -> bool:
    """Returns whether two tensors are equal bit by bit, NaN included."""
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    first, second = (each.contiguous().reshape(-1).view(torch.uint8) for each in (one, other))
    return torch.equal(first, second)


def _without(deployed: Deployed, value: Tensor, raw: Tensor, before: Tensor) -> float:
    kept = value.data
    # Not zero, because statistics that were never updated are zero.
    value.data = torch.full_like(kept, 0.7311)
    try:
        with torch.no_grad():
            return largest_gap(deployed(raw), before)
    finally:
        value.data = kept


def not_in_state(deployed: nn.Module, error: float) -> ExportError:
    """Returns the error for a model whose outputs depend on tensors outside its state.

    Args:
        deployed: The model.
        error: The difference of the outputs without these tensors.
    """
    loose = sorted({where for where, _ in loose_tensors(deployed)})
    return ExportError(
        f"The outputs depend on values that are not in the state_dict: without them, the outputs differ by {error:.3g}."
        + (f" Tensors kept as plain attributes: {'; '.join(loose)}." if loose else ""),
        hint="Keep statistics and constants with self.register_buffer(name, tensor).",
    )

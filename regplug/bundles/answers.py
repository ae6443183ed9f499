"""What a model must return: one tensor of floats, `(B, K)`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from regplug.api import Task
from regplug.errors import ExportError


def require_columns(output: object) -> Tensor:
    """Returns a model's output after checking that it is one tensor of floats with two axes.

    Args:
        output: The model's result.

    Raises:
        ExportError: It is something else; the message says how to return such a tensor.
    """
    if not isinstance(output, Tensor):
        what, part = _parts(output)
        raise ExportError(
            f"The model returns {what}, where one tensor (batch, outputs) is needed.",
            hint="Name its outputs, to export all of them: outputs=('logits', ...). Or wrap it in a module that "
            f"returns one tensor{f', such as net(x){part}' if part else ''}.",
        )
    if not output.is_floating_point():
        raise ExportError(
            f"The model returns {output.dtype}, where one tensor of floats (batch, outputs) is needed.",
            hint="Return real numbers: output.abs(), or torch.view_as_real(output).flatten(1)."
            if output.is_complex()
            else "Return the logits or values themselves, not class indices.",
        )
    if output.ndim != 2:
        hint = "output.flatten(1)" if output.ndim > 2 else "output.unsqueeze(1)"
        raise ExportError(
            f"The model returns a tensor of shape {tuple(output.shape)}, where (batch, outputs) is needed.",
            hint=f"The first axis is the batch and the second the outputs: return {hint}.",
        )
    return output


def _parts(output: object) -> tuple[str, str]:
    """Describes the output, and how to access its first part."""
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} of {', '.join(map(str, output))}", f"[{next(iter(output), '')!r}]"
    if isinstance(output, tuple | list):
        return f"a {type(output).__name__} of {len(output)}", "[0]"
    return f"a {type(output).__name__}", ""


def require_output(output: object, size: int, task: Task) -> None:
    """Checks that the output fits the task.

    Args:
        output: The model's result for `size` rows.
        size: The batch size.
        task: The task, with the number of outputs.

    Raises:
        ExportError: It is not a tensor `(size, num_outputs)` of floats.
    """
    columns = require_columns(output)
    width = columns.shape[1]
    if len(columns) != size:
        raise ExportError(
            f"The model gives {tuple(columns.shape)} for {size} rows; a {task.kind} needs {(size, task.num_outputs)}.",
            hint="The first axis is the batch. If the model has a fixed batch size, take it from the input: "
            "x.flatten(1).",
        )
    if width != task.num_outputs and task.class_names:
        raise ExportError(
            f"The model gives {width} outputs for each row, but there are {len(task.class_names)} class names: "
            f"{', '.join(task.class_names)}.",
            hint="There must be one class name for each output, in the order of the outputs.",
        )
    if width != task.num_outputs:
        raise ExportError(
            f"The model gives {width} outputs for each row; this {task.kind} needs {task.num_outputs}.",
            hint="Change the model's last layer, or the task.",
        )

"""Which operators a torch file may hold: those of torch itself, because others exist only where a package adds them."""

from __future__ import annotations

from torch._ops import OpOverload
from torch.export import ExportedProgram

from regplug.bundles.capture import where
from regplug.errors import ExportError

_TORCHS = ("aten", "prim", "prims")


def require_torchs_operators(program: ExportedProgram, name: str) -> None:
    """Refuses a program with operators that torch alone does not have.

    Args:
        program: The captured program.
        name: The format.

    Raises:
        ExportError: It has one; the message names operator, module and line.
    """
    for node in program.graph.nodes:
        target = node.target
        if isinstance(target, OpOverload) and target.namespace not in _TORCHS:
            raise ExportError(
                f"{where(node)} uses the operator {target.namespace}::{target._opname}, which torch alone does not "
                f"have. Only a process that has imported its package could load a {name} file.",
                hint="Write it in torch's own operators, or leave the format out: `--format onnx`.",
            )

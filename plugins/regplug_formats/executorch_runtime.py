"""Opens `.pte` files with ExecuTorch's runtime, and reads them without running them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from regplug.bundles.causes import one_line
from regplug.errors import BundleError
from regplug_formats.quiet import quiet

FORWARD = "forward"
"""The method that runs the model."""

DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}
"""Number of a type in a file -> its name. The runtime's kernels take no other types."""

_LOGGERS = ("torch.utils._pytree", "executorch", None)


@dataclass(frozen=True, kw_only=True)
class TensorForm:
    """The form of an input or an output.

    Args:
        shape: Its largest shape, for which memory is reserved.
        dtype: Its type; an empty text for one that is not known.
    """

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An open file.

    Args:
        program: ExecuTorch's program.
        inputs: The inputs of its method `forward`.
        outputs: Its outputs.
    """

    program: Any
    inputs: tuple[TensorForm, ...]
    outputs: tuple[TensorForm, ...]

    @classmethod
    def of(cls, path: Path) -> Opened:
        """Opens a file."""
        with silenced():
            from executorch.runtime import Runtime

            program = Runtime.get().load_program(path)
            meta = program.metadata(FORWARD)
            inputs = [meta.input_tensor_meta(at) for at in range(meta.num_inputs())]
            outputs = [meta.output_tensor_meta(at) for at in range(meta.num_outputs())]
        return cls(program=program, inputs=tuple(map(_form, inputs)), outputs=tuple(map(_form, outputs)))

    @property
    def largest_batch(self) -> int:
        """Most rows that the file takes."""
        return self.inputs[0].shape[0]

    def constant(self, name: str) -> Any:
        """The value of a method that always returns the same."""
        with silenced():
            return self.program.load_method(name).execute([])[0]

    def runner(self, path: Path) -> Callable[..., Sequence[Tensor]]:
        """The method `forward` as a function from tensors to tensors.

        Args:
            path: The file, for messages.
        """
        with silenced():
            method = self.program.load_method(FORWARD)

        def run(*rows: Tensor) -> Sequence[Tensor]:
            self._require_room(path, len(rows[0]))
            with silenced():
                outputs: Sequence[Tensor] = method.execute(rows)
            return outputs

        return run

    def _require_room(self, path: Path, count: int) -> None:
        if count > self.largest_batch:
            raise BundleError(
                f"{path.name} takes at most {self.largest_batch} rows in one call, and got {count}.",
                hint=f"Split the rows, or export with `--format pte:largest_batch={count}`.",
            )


def _form(meta: Any) -> TensorForm:
    return TensorForm(shape=tuple(meta.sizes()), dtype=DTYPES.get(meta.dtype(), ""))


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a file's method `forward` consists of.

    Args:
        operators: Names of the operators that it calls itself.
        backends: Names of the backends that run parts of it.
    """

    operators: tuple[str, ...]
    backends: tuple[str, ...]

    @classmethod
    def of(cls, path: Path) -> Contents:
        """Reads a file without running it."""
        with silenced():
            # There is no public function for it.
            from executorch.exir._serialize._program import deserialize_pte_binary

            program = deserialize_pte_binary(path.read_bytes()).program
        (plan,) = (one for one in program.execution_plan if one.name == FORWARD)
        return cls(
            operators=tuple(sorted({operator.name for operator in plan.operators})),
            backends=tuple(sorted({delegate.id for delegate in plan.delegates})),
        )


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keeps the logs of ExecuTorch from the user.

    Its C++ code writes them to the standard error itself. If it fails, their first line is the reason, which Python's
    error lacks.
    """
    with quiet(*_LOGGERS), tempfile.TemporaryFile() as log, _stderr_into(log.fileno()):
        try:
            yield
        except RuntimeError as error:
            log.seek(0)
            reason = log.read(2000).decode(errors="replace").partition("\n")[0]
            raise RuntimeError(one_line(f"{error} {reason}".strip())) from error


@contextlib.contextmanager
def _stderr_into(handle: int) -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # the process has no standard error
        yield
        return
    try:
        os.dup2(handle, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)

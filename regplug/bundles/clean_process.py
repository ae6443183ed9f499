"""Step 8: runs the file in a separate process, where neither torch nor regplug is imported."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

from regplug.bundles.cases import Reference
from regplug.bundles.causes import one_line
from regplug.bundles.differences import worst_error
from regplug.bundles.formats import Array
from regplug.bundles.report import Check, at_most, holds

_TIMEOUT_S = 120.0
_GUARD = "\nimport sys\nassert 'torch' not in sys.modules and 'regplug' not in sys.modules, 'torch was imported'\n"


class CleanProcess:
    """Runs a saved file in a new interpreter, started now and checked later.

    Use it as a context manager, which ends the process if it is still running.

    Args:
        program: See `Format.standalone`.
        model: The saved file.
        samples: `sample_input.npz`.
        input_name: Name of the array in it; empty for a file with several inputs or outputs.
    """

    def __init__(self, program: str, model: Path, samples: Path, input_name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="regplug-clean-")
        self._output = Path(self._folder.name) / "output.npy"
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter with a format's own program
            [
                sys.executable,
                "-c",
                program + _GUARD,
                str(model.resolve()),
                str(samples.resolve()),
                input_name,
                str(self._output),
            ],
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> CleanProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def check(self, reference: Reference) -> Check:
        """Waits for the process and compares its outputs.

        Args:
            reference: The model's outputs for the real rows.
        """
        return self.judge(lambda outputs: _same(outputs, reference))

    def judge(self, verdict: Callable[[Array], Check]) -> Check:
        """Waits for the process and checks its outputs.

        Args:
            verdict: Returns the check of the outputs for the real rows.
        """
        try:
            _, said = self._process.communicate(timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return holds("clean_process", False, f"no result within {_TIMEOUT_S:.0f} s")
        if self._process.returncode != 0 or not self._output.is_file():
            last = (said.strip().splitlines() or ["no output"])[-1]
            return holds("clean_process", False, f"exit code {self._process.returncode}: {one_line(last)}")
        return verdict(np.load(self._output, allow_pickle=False))


def _same(outputs: Array, reference: Reference) -> Check:
    error = worst_error(outputs, reference.outputs)
    return at_most("clean_process", error, reference.tolerance, "runs where torch is not imported")

"""Reads the code inside a TorchScript file as text, before torch loads the file: loading may already run some of it."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from regplug.errors import BundleError

_EFFECT = re.compile(
    r"\b(?:torch|ops\.\w+)\.(?:save|from_file|set_num_threads|manual_seed|set_grad_enabled|rpc_\w+)\s*\("
    r"|(?<![\w.])(?:print|rpc_\w+)\s*\("
    r"|\bops\.(?:prim\.(?:Print|PythonOp|IgnoredPythonOp|rpc_\w+)|_?c10d\w*\.\w+|symm_mem\.\w+|profiler\.\w+)\s*\("
)
"""Calls that do more than compute: files, output, Python, other processes, the state of torch."""


def require_computation(path: Path) -> None:
    """Requires that the code of a TorchScript file only computes.

    Args:
        path: The file; one that is no archive is left to torch to refuse.

    Raises:
        BundleError: The code writes or reads files, prints, or changes torch's state.
    """
    if not zipfile.is_zipfile(path):
        return
    found = sorted({call.rstrip("( ") for code in _codes(path) for call in _EFFECT.findall(code)})
    if found:
        raise BundleError(
            f"{path.name} does more than compute: its code calls {', '.join(found)}.",
            hint="Do not use this file: regplug writes none with such calls.",
        )


def _codes(path: Path) -> Iterator[str]:
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.endswith(".py"):
                yield archive.read(name).decode(errors="replace")

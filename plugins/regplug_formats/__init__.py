"""First-party formats: ONNX, TorchScript and torch.export's own. Descriptors only; nothing heavy is imported here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from regplug.api import Format, hookimpl


@dataclass(frozen=True)
class OnnxParams:
    """What an ONNX file is written for."""

    opset: Literal[18, 20] = 20
    "Version of the operator set; 18 for runtimes from 2023 on, 20 for those from 2024 on."


@hookimpl
def regplug_formats() -> Iterator[Format]:
    """Yields the first-party formats."""
    yield Format(
        name="onnx",
        target="regplug_formats.onnx_format:Onnx",
        filename="model.onnx",
        params=OnnxParams,
        summary="ONNX: runs without torch, in onnxruntime and many others",
        source="onnx.ai, ONNX IR 10",
    )
    yield Format(
        name="torchscript",
        target="regplug_formats.torchscript:TorchScript",
        filename="model.ts",
        summary="TorchScript, traced and frozen: runs in libtorch, C++ and mobile (torch.jit is deprecated)",
        source="torch.jit.trace, torch.jit.freeze",
    )
    yield Format(
        name="pt2",
        target="regplug_formats.pt2:Pt2",
        filename="model.pt2",
        summary="torch.export's program: the successor of TorchScript",
        source="torch.export.save",
    )

"""First-party formats: ONNX of 32, 16 and 8 bits, TorchScript, torch.export's own, OpenVINO, ExecuTorch. Torch-free."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from annotated_types import Ge, Le

from regplug.api import Format, Parameters, hookimpl


class OnnxParams(Parameters):
    """Parameters of the ONNX formats."""

    opset: Literal[18, 20] = 20
    "Version of the operator set; 18 for runtimes from 2023 on, 20 for those from 2024 on."


class PteParams(Parameters):
    """Parameters of the ExecuTorch format."""

    largest_batch: Annotated[int, Ge(1), Le(65536)] = 64
    "Most rows that the file takes in one call; it reserves memory for that many."


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
    yield Format(
        name="onnx_fp16",
        target="regplug_formats.onnx_small:OnnxFp16",
        filename="model.fp16.onnx",
        params=OnnxParams,
        summary="ONNX with weights and arithmetic in float16: half the size, for runtimes that are fast in it",
        source="IEEE 754-2008, binary16",
    )
    yield Format(
        name="onnx_int8",
        target="regplug_formats.onnx_small:OnnxInt8",
        filename="model.int8.onnx",
        params=OnnxParams,
        summary="ONNX with linear layers in 8 bits, activations quantized at run time: a quarter of their size",
        source="Jacob et al. 2018; onnxruntime, dynamic quantization",
    )
    yield Format(
        name="openvino",
        target="regplug_formats.openvino_ir:OpenVino",
        filename="model.xml",
        params=OnnxParams,
        summary="OpenVINO IR, a graph and a file of weights: for Intel's processors; needs regplug[openvino]",
        source="docs.openvino.ai, OpenVINO IR format",
    )
    yield Format(
        name="pte",
        target="regplug_formats.executorch_pte:Pte",
        filename="model.pte",
        params=PteParams,
        summary="ExecuTorch's program, with XNNPACK: for phones and small devices; needs regplug[executorch]",
        source="docs.pytorch.org/executorch, PTE file format",
    )

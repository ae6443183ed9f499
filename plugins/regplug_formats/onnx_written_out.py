"""Layers written out in simpler operators, because torch.onnx cannot translate them or gets them wrong.

torch.onnx translates scaled_dot_product_attention only with four axes, and wrongly if a query may see no key. It
translates no LSTM with a projection (proj_size).

Shape letters: Q queries, K keys, E features; "..." stands for batch, heads and whatever else comes first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

_LSTM = torch.ops.aten.lstm.input
_ATTENTION = torch.ops.aten.scaled_dot_product_attention.default
_TRANSLATED = 4


def without_untranslated(program: ExportedProgram) -> ExportedProgram:
    """Writes out the attention and the LSTMs that torch.onnx cannot translate; without any, the program as it is."""
    nodes = list(program.graph.nodes)
    written: dict[Any, Callable[..., Any]] = {}
    if any(node.target is _ATTENTION and not _is_translated(node) for node in nodes):
        written[_ATTENTION] = attention
    if any(node.target is _LSTM and _has_projection(node) for node in nodes):
        written[_LSTM] = torch._decomp.decomposition_table[_LSTM]
    return program.run_decompositions(written) if written else program


def _is_translated(node: Node) -> bool:
    query: Any = node.args[0]
    mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
    return query.meta["val"].ndim == _TRANSLATED and mask is None


def _has_projection(lstm: Node) -> bool:
    """Returns whether a projection makes the hidden state smaller than the cell state; ONNX has only one size."""
    states: Any = lstm.args[1]
    hidden, cell = (state.meta["val"].shape[-1] for state in states)
    return bool(hidden != cell)


def attention(
    query_QE: Tensor,
    key_KE: Tensor,
    value_KE: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:
    r"""softmax(query key^T \* scale + mask) value, as `torch.nn.functional.scaled_dot_product_attention`.

    Args:
        query_QE: `(..., Q, E)`.
        key_KE: `(..., K, E)`.
        value_KE: `(..., K, E)`.
        attn_mask: Booleans `(..., Q, K)`, true where a key may be seen, or numbers that are added.
        dropout_p: 0, for the graph is one of inference.
        is_causal: Whether query i sees keys 0 to i.
        scale: 1 / sqrt(E) where it is not given.
        enable_gqa: Whether there are more heads of queries than of keys.

    Returns:
        `(..., Q, E)`, or `NotImplemented` where torch.onnx knows better.
    """
    if (query_QE.ndim == _TRANSLATED and attn_mask is None) or enable_gqa or dropout_p:
        return NotImplemented
    factor = 1 / math.sqrt(query_QE.shape[-1]) if scale is None else scale
    scores_QK = (query_QE * factor) @ key_KE.transpose(-2, -1)
    if is_causal:
        attn_mask = torch.ones(scores_QK.shape[-2:], dtype=torch.bool, device=query_QE.device).tril()
    if attn_mask is None:
        return scores_QK.softmax(-1) @ value_KE
    is_bool = attn_mask.dtype is torch.bool
    masked_QK = scores_QK.masked_fill(~attn_mask, -math.inf) if is_bool else scores_QK + attn_mask
    # A query that may see no key gets zeros.
    sees_none_Q1 = (masked_QK == -math.inf).all(-1, keepdim=True)
    return masked_QK.softmax(-1).masked_fill(sees_none_Q1, 0.0) @ value_KE

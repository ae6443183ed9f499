"""Layers that torch.onnx translates wrongly or not at all, in bundles with named inputs and symbolic lengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import regplug
from regplug_formats.onnx_written_out import attention, without_untranslated

ROWS, LENGTH, HEADS, WIDTH = 12, 9, 2, 4


class Tagger(nn.Module):
    """Embeds tokens, lets them see each other unless they are padding, and pools them by two."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, HEADS * WIDTH)
        self.head = nn.Linear(HEADS * WIDTH, 3)

    def forward(self, linear: Tensor, padding: Tensor) -> dict[str, Tensor]:
        embedded = self.tokens(linear)
        heads = embedded.unflatten(-1, (HEADS, WIDTH)).transpose(1, 2)
        seen = F.scaled_dot_product_attention(heads, heads, heads, attn_mask=~padding[:, None, None, :])
        pooled = F.max_pool1d(seen.transpose(1, 2).flatten(2).transpose(1, 2), 2, padding=1).mean(2)
        return {"logits": self.head(pooled), "embedding": pooled}


def batch(rows: int, length: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(length)
    padding = torch.rand(rows, length, generator=generator) < 0.3
    padding[:, 0] = False
    return {"linear": torch.randint(0, 20, (rows, length), generator=generator), "padding": padding}


@pytest.mark.slow
def test_the_file_answers_as_torch_where_torch_onnx_alone_would_fail_or_answer_otherwise(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Tagger().eval()
    bundle = regplug.export(
        network,
        batch(ROWS, LENGTH),
        tmp_path / "b",
        # An input and an output have the names of operators inside.
        outputs=("logits", "embedding"),
        dynamic={"linear": {1: "length"}, "padding": {1: "length"}},
        formats=["onnx"],
    ).path
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    for rows, length in ((1, 1), (5, 4), (3, 60)):
        arrays = batch(rows, length)
        arrays["padding"][0] = True
        with torch.no_grad():
            wanted = network(**arrays)
        answers = session.run(list(wanted), {name: array.numpy() for name, array in arrays.items()})
        for name, answer in zip(wanted, answers, strict=True):
            np.testing.assert_allclose(answer, wanted[name], rtol=1e-4, atol=1e-5, err_msg=f"{name} {length}")


@pytest.mark.parametrize("axes", [3, 4])
@pytest.mark.parametrize("is_bool", [True, False])
def test_a_query_that_may_see_no_key_gets_zeros_as_in_torch(axes: int, is_bool: bool) -> None:
    shape = (2, 3, 5, 4)[-axes:]
    query = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    allowed = torch.rand(5, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    allowed[2] = False
    mask = allowed if is_bool else torch.zeros(5, 5, dtype=torch.float64).masked_fill(~allowed, -torch.inf)
    answer = attention(query, query, query, mask)
    torch.testing.assert_close(answer, F.scaled_dot_product_attention(query, query, query, attn_mask=mask))
    assert not answer[..., 2, :].any()


def test_attention_with_a_mask_is_written_out_and_without_one_is_left_to_torch_onnx() -> None:
    class Attends(nn.Module):
        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            alone = F.scaled_dot_product_attention(x, x, x)
            return F.scaled_dot_product_attention(alone, x, x, attn_mask=mask)

    mask = torch.ones(3, 3, dtype=torch.bool)
    program = without_untranslated(torch.export.export(Attends(), (torch.randn(2, 2, 3, 4), mask)))
    targets = [str(node.target) for node in program.graph.nodes]
    assert targets.count("aten.scaled_dot_product_attention.default") == 1

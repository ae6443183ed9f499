"""Convolutions in float64 for the tolerance: the same numbers as torch's own."""

from __future__ import annotations

import pytest
import torch

from regplug.bundles import batched_convolutions
from regplug.bundles.batched_convolutions import BatchedConvolutions

SMALL, WIDE = (5, 3, 8, 7), (5, 3, 40, 40)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"bias": False},
        {"stride": 2, "padding": 1},
        {"stride": (2, 3), "padding": (2, 3), "dilation": (1, 2)},
        {"groups": 3},
        {"padding": "same"},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [SMALL, WIDE], ids=["small", "wide"])
def test_a_convolution_gives_the_numbers_of_torch(settings, shape):
    layer = torch.nn.Conv2d(3, 96, (3, 5), **settings).double()
    x = torch.randn(shape, dtype=torch.float64)
    with torch.no_grad():
        want = layer(x)
        with BatchedConvolutions():
            got = layer(x)
    assert got.shape == want.shape
    assert got.dtype == torch.float64
    assert torch.allclose(got, want, rtol=1e-12, atol=1e-12)


def test_only_small_images_in_float64_are_computed_by_a_matrix_product(monkeypatch):
    products = []
    real = batched_convolutions._product
    monkeypatch.setattr(batched_convolutions, "_product", lambda *args: products.append(args) or real(*args))
    layer = torch.nn.Conv2d(3, 64, 3)
    with torch.no_grad(), BatchedConvolutions():
        layer(torch.ones(SMALL))
        layer.double()(torch.ones(WIDE, dtype=torch.float64))
        assert not products
        layer(torch.ones(SMALL, dtype=torch.float64))
    assert len(products) == 1

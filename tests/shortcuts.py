"""What most tests cause and none looks at is done once: the drawing of figures, and torch's table of ONNX operators.

Drawing the two figures of a run takes longer than all else of a small run. A test that looks at figures takes
`figures_are_drawn`.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

import pytest

from regplug.reports import plots

BLANK_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
BLANK_SVG = '<svg xmlns="http://www.w3.org/2000/svg"></svg>'
_DRAW = {"_png": plots._png, "svg": plots.svg}


@contextlib.contextmanager
def _replaced(**functions: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, function in functions.items():
            patch.setattr(plots, name, function)
        yield


@pytest.fixture(scope="session", autouse=True)
def _figures_are_blank() -> Iterator[None]:
    """Figures are made as ever, but not drawn."""
    with _replaced(_png=lambda figure: BLANK_PNG, svg=lambda figure: BLANK_SVG):
        yield


def drawing() -> contextlib.AbstractContextManager[None]:
    """Inside, figures are drawn."""
    return _replaced(**_DRAW)


@pytest.fixture
def figures_are_drawn() -> Iterator[None]:
    with drawing():
        yield


@pytest.fixture(scope="session", autouse=True)
def _onnx_operators_are_read_once() -> Iterator[None]:
    """For each export, torch parses the source of 500 functions, which takes half of the time of a small export."""
    import torch.onnx

    export = torch.onnx.export

    def shortened(*args: Any, **options: Any) -> Any:
        # Not before, because most sessions that run one file export nothing.
        _keep_operators()
        return export(*args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.onnx, "export", shortened)
        yield


@functools.cache
def _keep_operators() -> None:
    # A private part of torch: where another version has none, exports only take longer.
    with contextlib.suppress(ImportError, AttributeError):
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        read = functools.cache(ONNXRegistry.from_torchlib)

        def copied(*args: Any, **options: Any) -> Any:
            registry = copy.copy(read(*args, **options))
            registry.functions = {target: list(found) for target, found in registry.functions.items()}
            return registry

        ONNXRegistry.from_torchlib = staticmethod(copied)

"""What most tests cause and none looks at is done once: the drawing of figures, and torch's table of ONNX operators.

Drawing the two figures of a run takes longer than all else of a small run. A test that looks at figures takes
`figures_are_drawn`.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import io
from collections.abc import Iterator
from typing import IO, Any

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from regplug.cli import running, studying
from regplug.runs.background_process import InlineExecutor

BLANK_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mP4DwABAQEAHLCMmQAAAABJRU5ErkJggg=="
)
_BLANK = {"png": BLANK_PNG, "svg": b'<svg xmlns="http://www.w3.org/2000/svg"></svg>', "pdf": b"%PDF-1.4"}
_DRAW, _PRINT = Figure.savefig, FigureCanvasAgg.print_png


def _save_blank(figure: Figure, place: IO[Any], *, format: str, **options: Any) -> None:  # noqa: A002 # matplotlib's
    place.write(_BLANK[format].decode() if isinstance(place, io.StringIO) else _BLANK[format])


def _print_blank(canvas: FigureCanvasAgg, place: IO[bytes], *, metadata: Any) -> None:
    place.write(BLANK_PNG)


@contextlib.contextmanager
def _saving(save: Any, print_png: Any) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save)
        patch.setattr(FigureCanvasAgg, "print_png", print_png)
        yield


def not_drawing() -> contextlib.AbstractContextManager[None]:
    """Inside, figures are made as ever, but not drawn. Processes of their own that look at no figure need it, too."""
    return _saving(_save_blank, _print_blank)


@pytest.fixture(scope="session", autouse=True)
def _figures_are_blank() -> Iterator[None]:
    with not_drawing():
        yield


def drawing() -> contextlib.AbstractContextManager[None]:
    """Inside, figures are drawn."""
    return _saving(_DRAW, _PRINT)


@pytest.fixture
def figures_are_drawn() -> Iterator[None]:
    with drawing():
        yield


@pytest.fixture(scope="session", autouse=True)
def _everything_is_computed_here() -> Iterator[None]:
    """`regplug run`, `sweep` and `cv` start a second process, whose imports take longer than the runs of tests."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (running, studying):
            patch.setattr(module, "second_process", lambda _: contextlib.nullcontext(InlineExecutor()))
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

"""A small network with two dropouts, and its bundle with both of them live."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from made_bundles import both, row_request, rows
from torch import nn

from regplug.api import NoParams
from regplug.bundles.formats import Format
from regplug.bundles.writing import write_bundle
from regplug_formats.pt2 import Pt2


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 24), nn.ReLU(), nn.Dropout(0.4), nn.Linear(24, 16), nn.Tanh(), nn.Dropout(0.25), nn.Linear(16, 3)
    )


def all_three() -> list[tuple[str, str, Format]]:
    return [*both(), ("pt2", "model.pt2", Pt2(NoParams()))]


@pytest.fixture(scope="session")
def live_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Proven once for all tests; not to be changed."""
    request = row_request(network(), stochastic=True, formats=all_three(), test=(rows(90), np.arange(90) % 3))
    return write_bundle(request, tmp_path_factory.mktemp("stochastic") / "bundle").path


@pytest.fixture
def live_copy(live_bundle: Path, tmp_path: Path) -> Path:
    """The same bundle, which a test may change."""
    return shutil.copytree(live_bundle, tmp_path / "bundle")

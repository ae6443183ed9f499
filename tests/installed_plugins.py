"""Fake distributions that the whole program sees: the registry that is loaded once is loaded anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_plugins import Site

from regplug.registry import default_registry


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder on the search path; what is written there before the first command is installed."""
    made = Site(tmp_path / "site", monkeypatch)
    default_registry.cache_clear()
    yield made
    default_registry.cache_clear()
    made.forget()

"""Fake distributions: a folder on the search path with metadata and modules, as pip would leave it."""

from __future__ import annotations

import importlib
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

HEADER = """
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge, Lt
from regplug.api import *
from regplug.api import NoParams, hookimpl
"""

OFFERS = (
    HEADER
    + """
@hookimpl
def regplug_activations():
    yield Activation(name="{name}", target="{module}_impl:make", summary="A fake.")
"""
)
"""A descriptor module that offers one activation; its target is never written unless a test does."""


class Site:
    """A folder of installed distributions, on the search path as long as the test runs."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._modules: set[str] = set()
        folder.mkdir(exist_ok=True)
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])

    def install(
        self,
        name: str,
        modules: Mapping[str, str],
        *,
        entries: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Sequence[str] = (),
        editable_from: Path | None = None,
        folder: Path | None = None,
    ) -> None:
        """Writes a distribution; without `entries` there is one for each module, named as the module."""
        folder = folder or self.folder
        self.write(modules, folder=folder)
        metadata = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
        lines += [f"Requires-Dist: {text}" for text in requires]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n")
        entries = {module: module for module in modules} if entries is None else entries
        points = "\n".join(f"{entry} = {module}" for entry, module in entries.items())
        (metadata / "entry_points.txt").write_text(f"[regplug]\n{points}\n")
        if editable_from is not None:
            record = {"url": editable_from.as_uri(), "dir_info": {"editable": True}}
            (metadata / "direct_url.json").write_text(json.dumps(record))
        importlib.invalidate_caches()

    def offer(self, distribution: str, name: str) -> None:
        """Installs a distribution that offers one activation of that name."""
        module = distribution.replace("-", "_")
        self.install(distribution, {module: OFFERS.format(name=name, module=module)})

    def write(self, modules: Mapping[str, str], *, folder: Path | None = None) -> None:
        """Writes modules without metadata."""
        for module, source in modules.items():
            ((folder or self.folder) / f"{module}.py").write_text(textwrap.dedent(source))
            self._modules.add(module)
        importlib.invalidate_caches()

    def forget(self) -> None:
        """Forgets the modules that were written, so that the next test may write its own of that name."""
        for module in self._modules:
            sys.modules.pop(module, None)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A folder of installed distributions of its own for a test."""
    made = Site(tmp_path / "site", monkeypatch)
    yield made
    made.forget()

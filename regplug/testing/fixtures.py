"""Two pytest fixtures for plugin authors. They are not loaded automatically: write in your `conftest.py`.

pytest_plugins = ["regplug.testing.fixtures"]
"""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from regplug.registry import Problem, Registered, Registry, Switches, load_registry
from regplug.testing.report import KitReport
from regplug.testing.running import check_distribution


@dataclass
class PluginMaker:
    """Writes distributions into a folder on the search path, as pip would leave them.

    Args:
        folder: The folder.
        modules: Names of the modules that were written.
    """

    folder: Path
    modules: set[str] = field(default_factory=set)

    def __call__(
        self,
        distribution: str,
        modules: Mapping[str, str],
        *,
        entries: Mapping[str, str] | None = None,
        version: str = "1.0",
        requires: Sequence[str] = (),
    ) -> Path:
        """Writes a distribution.

        Args:
            distribution: Its name.
            modules: Module -> source; the first one is its plugin.
            entries: Entry point -> module; without it, the first module under its own name.
            version: Its version.
            requires: What it requires, such as `regplug>=0.1`.

        Returns:
            The folder in which it lies.
        """
        for module, source in modules.items():
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        self.modules |= set(modules)
        metadata = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        metadata.mkdir()
        lines = ["Metadata-Version: 2.1", f"Name: {distribution}", f"Version: {version}"]
        lines += [f"Requires-Dist: {text}" for text in requires]
        (metadata / "METADATA").write_text("\n".join(lines) + "\n", encoding="utf-8")
        first = next(iter(modules))
        points = {first: first} if entries is None else entries
        text = "\n".join(f"{entry} = {module}" for entry, module in points.items())
        (metadata / "entry_points.txt").write_text(f"[regplug]\n{text}\n", encoding="utf-8")
        importlib.invalidate_caches()
        return self.folder


@dataclass(frozen=True)
class Host:
    """The host with everything that is installed now, including the distributions of `make_plugin`."""

    def registry(self, switches: Switches | None = None) -> Registry:
        """A newly loaded registry of everything that is installed."""
        return load_registry(switches)

    def find(self, kind: str, name: str) -> Registered:
        """The component that a user means by a name.

        Raises:
            UnknownComponentError: There is none.
        """
        return self.registry().find(kind, name)

    def problems(self, distribution: str) -> list[Problem]:
        """Problems of the plugins of a distribution."""
        return [problem for problem in self.registry().problems if problem.distribution == distribution]

    def check(self, distribution: str, **options: Any) -> KitReport:
        """The conformance kit on a distribution; options as of `check_distribution`."""
        return check_distribution(distribution, registry=self.registry(), **options)


@pytest.fixture
def make_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PluginMaker]:
    """Makes fake distributions in a folder of the test: `make_plugin("my-regs", {"my_regs": source})`."""
    maker = PluginMaker(tmp_path / "site")
    maker.folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(maker.folder), *sys.path])
    try:
        yield maker
    finally:
        # The next test may write other modules with these names.
        for module in maker.modules:
            sys.modules.pop(module, None)


@pytest.fixture
def host() -> Host:
    """The host, to find and check what `make_plugin` created."""
    return Host()

"""Writes a complete plugin package from regplug's templates."""

from __future__ import annotations

import importlib.resources
import importlib.util
import keyword
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template
from typing import Any

from regplug.errors import RequestError, UnknownComponentError, did_you_mean

EXAMPLES: Mapping[str, str] = {
    "regularizer": "regplug run --reg {name} --epochs 1",
    "activation": "regplug run --activation {name} --epochs 1",
    "initializer": "regplug run --init {name} --epochs 1",
    "model": "regplug run --model {name} --epochs 1",
    "dataset": "regplug run --dataset {name} --epochs 1",
    "loss": "regplug run --loss {name} --epochs 1",
    "optimizer": "regplug run --optimizer {name} --lr 0.01 --epochs 1",
    "schedule": "regplug run --schedule {name} --epochs 3",
    "probe": "regplug run --probe {name} --epochs 1",
    "study": "regplug lab run {name} --quick",
}
"""Kind of component with a template -> a command that uses the new component."""

_FILES = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "gitignore": ".gitignore",
    "ci.yml": ".github/workflows/test.yml",
    "test_conformance.py": "tests/test_conformance.py",
}
_DISTRIBUTION = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@dataclass(frozen=True, kw_only=True)
class NewPackage:
    """A plugin package that was written.

    Args:
        folder: Its folder.
        files: Its files, relative to the folder.
        distribution: Name of the distribution.
        kind: Kind of its component.
        component: Name of its component.
    """

    folder: Path
    files: tuple[str, ...]
    distribution: str
    kind: str
    component: str

    def next(self) -> list[str]:
        """Returns the next commands to run."""
        example = EXAMPLES[self.kind].format(name=self.component)
        return [
            f"cd {self.folder}",
            'pip install -e ".[test]"',
            "pytest",
            f"regplug plugins check {self.distribution}",
            example,
        ]

    def document(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {
            "folder": str(self.folder),
            "files": list(self.files),
            "distribution": self.distribution,
            "kind": self.kind,
            "component": self.component,
            "next": self.next(),
        }


def write_package(
    distribution: str, *, kind: str, component: str | None = None, folder: Path | None = None
) -> NewPackage:
    """Writes a plugin package.

    Args:
        distribution: Its name: lower case words joined by hyphens.
        kind: Kind of its component.
        component: Name of the component; by default derived from the distribution's.
        folder: Its folder; by default one with the distribution's name in the current folder.

    Raises:
        RequestError: A name cannot be used, or the folder exists or cannot be written.
    """
    if kind not in EXAMPLES:
        raise RequestError(f"There is no template for the kind {kind!r}.", hint=did_you_mean(kind, EXAMPLES))
    module = _module_name(distribution)
    name = component or component_name(distribution)
    _require_free_name(kind, name)
    folder = folder or Path(distribution)
    if os.path.lexists(folder):
        raise RequestError(f"{folder} exists already.", hint="Choose another name, or another folder with --out.")
    texts = dict(_rendered(distribution, module, kind, name))
    try:
        for file, text in texts.items():
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(
            f"{folder} cannot be written: {error.strerror}.", hint="Choose another with --out."
        ) from error
    return NewPackage(folder=folder, files=tuple(sorted(texts)), distribution=distribution, kind=kind, component=name)


def component_name(distribution: str) -> str:
    """Returns the default name of a distribution's component: without the prefix `regplug-` and a plural s.

    >>> [component_name(name) for name in ("my-regs", "regplug-dropblock", "loss", "losses", "studies")]
    ['my_reg', 'dropblock', 'loss', 'loss', 'study']
    """
    name = re.sub(r"[-_]+", "_", distribution).removeprefix("regplug_")
    if name.endswith("sses"):
        return name.removesuffix("es")
    if name.endswith("ies"):
        return f"{name.removesuffix('ies')}y"
    return name if name.endswith("ss") else name.removesuffix("s") or name


def _module_name(distribution: str) -> str:
    """Returns the package's name, which must not collide with another module.

    Raises:
        RequestError: It cannot be used.
    """
    if not _DISTRIBUTION.fullmatch(distribution):
        raise RequestError(
            f"{distribution!r} cannot name a plugin package.",
            hint="Use lower case words of letters and digits joined by hyphens, a letter first: my-regs.",
        )
    module = distribution.replace("-", "_")
    if keyword.iskeyword(module) or module in sys.stdlib_module_names:
        raise RequestError(f"{module} is a keyword or module of Python itself.", hint=f"Call it {distribution}-plugin.")
    if importlib.util.find_spec(module) is not None:
        raise RequestError(f"A module {module} is installed already.", hint=f"Call it {distribution}-plugin.")
    return module


def _require_free_name(kind: str, name: str) -> None:
    from regplug.config.spec import is_component_name
    from regplug.registry import default_registry

    if not is_component_name(name) or keyword.iskeyword(name):
        raise RequestError(
            f"{name!r} cannot name a component.",
            hint="Give --name: lower case letters, digits and underscores, a letter first.",
        )
    try:
        found = default_registry().find(kind, name)
    except UnknownComponentError:
        return
    raise RequestError(
        f"There is a {kind} {name} already, of {found.distribution}.", hint="Give another name with --name."
    )


def _rendered(distribution: str, module: str, kind: str, name: str) -> Iterator[tuple[str, str]]:
    """Yields each file of the package and its content."""
    from regplug import __version__

    words = {
        "distribution": distribution,
        "module": module,
        "kind": kind,
        "name": name,
        "Class": "".join(word.title() for word in name.split("_")),
        "example": EXAMPLES[kind].format(name=name),
        "host_version": __version__,
    }
    templates = importlib.resources.files("regplug") / "templates"
    for template, file in _FILES.items():
        yield file, _fill(templates / "package" / f"{template}.txt", words)
    for file in ("__init__.py", "impl.py"):
        yield f"src/{module}/{file}", _fill(templates / kind / f"{file}.txt", words)


def _fill(template: Traversable, words: Mapping[str, str]) -> str:
    return Template(template.read_text(encoding="utf-8")).substitute(words)

"""The house: a module imports only lower floors, guest libraries keep to their rooms, the host names no plugin."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "regplug"
PLUGINS = ROOT / "plugins"

FLOORS = (
    {"api", "errors", "hookspecs"},
    {"config"},
    {"registry"},
    {"data", "initializers", "losses", "noise", "pixels", "regularization", "regularizer", "seeds", "sites", "tables"},
    {"measuring", "optimizers", "probes", "statistics", "training"},
    {"bundles", "reports", "tracking"},
    {"exporting", "runs", "serving"},
    {"studies"},
    {"cli", "estimators", "functions", "lab", "testing"},
)
"""Modules and packages of the host by floor. A new one is entered on the lowest floor that its imports allow."""

ROOMS = {
    "mlflow": ("regplug/tracking/",),
    "onnx": ("regplug/bundles/", "plugins/regplug_formats/"),
    "onnxruntime": ("regplug/bundles/", "plugins/regplug_formats/"),
    "onnxscript": ("regplug/bundles/", "plugins/regplug_formats/"),
    "torch.jit": ("regplug/bundles/", "plugins/regplug_formats/"),
    "torch.onnx": ("regplug/bundles/", "plugins/regplug_formats/"),
    "openvino": ("plugins/regplug_formats/",),
    "executorch": ("plugins/regplug_formats/",),
    "fastapi": ("regplug/serving/",),
    "starlette": ("regplug/serving/",),
    "uvicorn": ("regplug/serving/",),
    "prometheus_client": ("regplug/serving/",),
    "matplotlib": ("regplug/reports/plots/",),
    "minisign": ("regplug/bundles/signing.py", "regplug/bundles/origin.py"),
    "typer": ("regplug/cli/",),
    "click": ("regplug/cli/",),
    "rich": ("regplug/cli/",),
    "optuna": ("regplug/studies/",),
    "ray": ("regplug/studies/",),
    "pandas": ("regplug/tables/",),
    "pyarrow": ("regplug/tables/",),
    "pydantic": ("regplug/config/params.py",),
    "pluggy": ("regplug/api/", "regplug/hookspecs.py", "regplug/registry/"),
}
"""Where a guest library may be imported."""

TORCH_FREE = ("__init__", "__main__", *FLOORS[0], *FLOORS[1], *FLOORS[2])
HEAVY = {"torch", "torchvision", "numpy", "mlflow", "onnx", "onnxruntime", "sklearn", "matplotlib", "scipy"}


@dataclass(frozen=True)
class Import:
    """One import of one module, absolute, at a line of a file."""

    file: str
    line: int
    target: str
    is_for_types: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def module_name(file: Path, root: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources(root: Path) -> list[Path]:
    return sorted(file for file in root.rglob("*.py") if "__pycache__" not in file.parts)


@cache
def modules() -> frozenset[str]:
    return frozenset(module_name(file, ROOT) for file in sources(HOST)) | frozenset(
        module_name(file, PLUGINS) for file in sources(PLUGINS)
    )


def types_only(tree: ast.Module) -> set[ast.AST]:
    guards = (node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))
    return {inner for guard in guards for statement in guard.body for inner in ast.walk(statement)}


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def imports(file: Path) -> tuple[Import, ...]:
    """What a file imports, also inside functions; `from a import b` is `a.b` where that is a module."""
    return tuple(each_import(file))


def each_import(file: Path) -> Iterator[Import]:
    tree = parsed(file)
    guarded, where = types_only(tree), str(file.relative_to(ROOT))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(where, node.lineno, alias.name, node in guarded)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{where}:{node.lineno} imports relatively; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                is_module = whole in modules() or whole in ROOMS
                yield Import(where, node.lineno, whole if is_module else str(node.module), node in guarded)


@cache
def attribute_uses(file: Path) -> tuple[Import, ...]:
    """Uses of `torch.jit` and `torch.onnx`, which need no import of their own."""
    return tuple(
        Import(str(file.relative_to(ROOT)), node.lineno, f"{node.value.id}.{node.attr}", False)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    )


def floor(module: str) -> int:
    """The floor of a host module; the root, which imports on demand only, lies below all."""
    part = module.split(".")[1] if "." in module else ""
    found = [number for number, names in enumerate(FLOORS) if part in names]
    assert found or not part, f"{module} stands on no floor: enter {part} in FLOORS of tests/test_floors.py"
    return found[0] if found else -1


def is_in(target: str, package: str) -> bool:
    return f"{target}.".startswith(f"{package}.")


HOST_FILES = [file for file in sources(HOST) if file.parent != HOST or file.stem not in ("__init__", "__main__")]


def test_there_is_a_house_to_look_at():
    assert len(HOST_FILES) > 10


def test_a_module_imports_only_its_own_floor_and_lower_ones():
    wrong = [
        f"{found} (floor {floor(found.target)} from floor {floor(module_name(file, ROOT))})"
        for file in HOST_FILES
        for found in imports(file)
        if is_in(found.target, "regplug") and floor(found.target) > floor(module_name(file, ROOT))
    ]
    assert wrong == []


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one import cycle, or none. Depth first, with the path from the start."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for target in sorted(graph.get(module, ())):
            if cycle := visit(target, [*path, module]):
                return cycle
        done.add(module)
        return []

    return next((cycle for module in sorted(graph) if (cycle := visit(module, []))), [])


def test_no_imports_go_round_in_a_circle():
    graph = {
        module_name(file, ROOT): {
            found.target for found in imports(file) if not found.is_for_types and is_in(found.target, "regplug")
        }
        for file in HOST_FILES
    }
    assert find_cycle(graph) == []


def test_a_cycle_would_be_found():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("guest", ROOMS)
def test_a_guest_library_keeps_to_its_room(guest):
    wrong = [
        str(found)
        for file in (*sources(HOST), *sources(PLUGINS))
        if not str(file.relative_to(ROOT)).startswith(ROOMS[guest])
        for found in (*imports(file), *attribute_uses(file))
        if is_in(found.target, guest) and not found.is_for_types
    ]
    assert wrong == []


def test_the_lower_floors_and_the_root_import_nothing_heavy():
    lower = [file for file in sources(HOST) if file.relative_to(HOST).parts[0].removesuffix(".py") in TORCH_FREE]
    wrong = [
        str(found)
        for file in lower
        for found in imports(file)
        if found.target.split(".")[0] in HEAVY and not found.is_for_types
    ]
    assert len(lower) > 10
    assert wrong == []


def test_the_host_names_no_plugin():
    packages = {folder.name for folder in PLUGINS.iterdir() if folder.is_dir()}
    wrong = [str(found) for file in sources(HOST) for found in imports(file) if found.target.split(".")[0] in packages]
    wrong += [
        f"{file.relative_to(ROOT)}:{node.lineno} says {node.value!r}"
        for file in sources(HOST)
        for node in ast.walk(parsed(file))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if any(node.value.startswith((f"{package}.", f"{package}:")) for package in packages)
    ]
    assert packages
    assert wrong == []


def test_a_plugin_imports_no_neighbour():
    packages = {folder.name for folder in PLUGINS.iterdir() if folder.is_dir()}
    wrong = [
        str(found)
        for file in sources(PLUGINS)
        for found in imports(file)
        if found.target.split(".")[0] in packages - {file.relative_to(PLUGINS).parts[0]}
    ]
    assert wrong == []


def test_a_descriptor_module_needs_only_the_authors_face():
    # The options of a table are parameters of whatever dataset reads one; that module needs no more than the others.
    allowed = ("regplug.api", "regplug.tables.options", "annotated_types")
    families = {module_name(file, PLUGINS) for file in PLUGINS.glob("*/*/__init__.py")}
    wrong = [
        str(found)
        for file in PLUGINS.rglob("__init__.py")
        for found in imports(file)
        if found.target.split(".")[0] not in sys.stdlib_module_names
        if found.target not in families and not any(is_in(found.target, name) for name in allowed)
    ]
    assert wrong == []


def test_no_module_takes_the_name_of_a_function_of_the_root():
    words = {"run", "sweep", "cross_validate", "search", "compare", "export", "verify", "predict"}
    taken = {module.split(".")[1] for module in modules() if module.startswith("regplug.")}
    assert taken & words == set(), "importing such a module would replace the function regplug.NAME"

"""The distributions that are built from the tree, and the wheel in an environment of its own."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PLUGINS = sorted(path.name for path in (ROOT / "plugins").iterdir() if (path / "__init__.py").exists())
TEXTS = ("LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", ".gitignore", "mlruns/.gitignore")
COPIED = ("regplug", "plugins", *TEXTS)


def _run(*command: object, folder: Path) -> str:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REGPLUG_", "PYTHON", "MLFLOW_"))}
    done = subprocess.run([str(word) for word in command], cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Wheel and sdist of a copy of the tree in which runs have been tracked."""
    tree, out = tmp_path_factory.mktemp("tree") / "regplug", tmp_path_factory.mktemp("dist")
    (tree / "mlruns" / "artifacts").mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tree / name)
    (tree / "mlruns" / "mlflow.db").write_text("a store")
    (tree / "mlruns" / "artifacts" / "model.onnx").write_text("a model")
    _run(sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", out, folder=tree)
    return next(out.glob("*.whl")), next(out.glob("*.tar.gz"))


@pytest.fixture(scope="module")
def environment(built, tmp_path_factory):
    """A new environment with the wheel; its dependencies are this environment's, and not this environment's regplug."""
    home = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", home, folder=home)
    python = home / "bin" / "python"
    site = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", folder=home).strip())
    dependencies = home / "dependencies"
    dependencies.mkdir()
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if "regplug" not in entry.name and entry.suffix != ".pth":
            (dependencies / entry.name).symlink_to(entry)
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python]
    _run(*pip, "install", "-q", "--no-deps", "--no-index", built[0], folder=home)
    return home


@pytest.mark.slow
def test_the_wheel_alone_lists_every_first_party_component(environment, tmp_path):
    place = _run(environment / "bin" / "python", "-c", "import regplug; print(regplug.__file__)", folder=tmp_path)
    assert Path(place.strip()).is_relative_to(environment)
    document = json.loads(_run(environment / "bin" / "regplug", "plugins", "list", "--json", folder=tmp_path))
    listed = {(one["kind"], one["name"]) for one in document["components"]}
    here = json.loads(_run(Path(sys.executable).with_name("regplug"), "plugins", "list", "--json", folder=tmp_path))
    expected = {(one["kind"], one["name"]) for one in here["components"] if one["distribution"] == "regplug"}
    assert listed == expected
    assert len({kind for kind, _ in listed}) >= 7
    assert all(Path(one["location"]).is_relative_to(environment) for one in document["components"])


@pytest.mark.slow
def test_the_wheel_holds_host_and_plugins_with_license_and_type_marker(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = wheel.namelist()
    assert "regplug/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    files = [file for file in (ROOT / "regplug").rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    sources = {str(file.relative_to(ROOT)) for file in files}
    assert sources <= set(names)
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"regplug", *PLUGINS}


@pytest.mark.slow
def test_the_source_distribution_holds_no_tracked_run(built):
    with tarfile.open(built[1]) as sdist:
        names = [name.partition("/")[2] for name in sdist.getnames()]
    assert not [name for name in names if name.endswith(("mlflow.db", "model.onnx"))]
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml", "regplug/py.typed"} <= set(names)


def test_dependencies_have_lower_bounds_only():
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    own = [line for line in lines if line.startswith("regplug[")]
    bounds = {line: [bound.operator for bound in Requirement(line).specifier] for line in lines if line not in own}
    assert {line: found for line, found in bounds.items() if found != [">="]} == {}


def test_everything_that_is_imported_is_a_dependency():
    declared = {_plain(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    extras = PROJECT["project"]["optional-dependencies"]
    # Imported only on request; a message says how to install the extra.
    optional = {"datasets": "datasets", "minisign": "py-minisign", "prometheus_client": "prometheus-client"}
    optional |= {"openvino": "openvino", "executorch": "executorch"}
    optional |= {"fastapi": "fastapi", "starlette": "fastapi", "uvicorn": "uvicorn"}
    asked_for = ("executorch", "huggingface", "openvino", "serve", "sign", "system")
    lines = [line for extra in asked_for for line in extras[extra]]
    assert set(optional.values()) <= {_plain(Requirement(line).name) for line in lines}
    distributions = packages_distributions()
    files = [file for folder in ("regplug", "plugins") for file in (ROOT / folder).rglob("*.py")]
    for name in {name for file in files for name in _imported(file)} - {*sys.stdlib_module_names, "regplug", *PLUGINS}:
        # The kit is used under pytest, and asks for it only there.
        if name != "pytest" and name not in optional:
            assert {_plain(one) for one in distributions[name]} & declared, name


def _imported(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.partition(".")[0])
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def test_the_lowest_versions_are_those_of_the_bounds():
    lines = _run(sys.executable, ROOT / ".ci" / "lowest.py", folder=ROOT).splitlines()
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["test"]]
    for line, bound in zip(lines, wanted, strict=True):
        lowest, requirement = Requirement(line), Requirement(bound)
        (pin,) = lowest.specifier
        assert (lowest.name, pin.operator) == (requirement.name, "==")
        assert requirement.specifier.contains(pin.version)


def test_the_tested_set_names_every_dependency_within_its_bound():
    tested = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    pins = {_plain(Requirement(line).name): line.partition("==")[2] for line in tested}
    for line in (*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["test"]):
        wanted = Requirement(line)
        pin = pins[_plain(wanted.name)]
        assert wanted.specifier.contains(pin), f"{line} and {pin}"


def test_the_tested_set_holds_no_address():
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_each_plugin_package_has_one_entry_point_and_is_in_the_wheel():
    assert sorted(PROJECT["project"]["entry-points"]["regplug"].values()) == PLUGINS
    packages = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert sorted(packages) == sorted(["regplug", *(f"plugins/{name}" for name in PLUGINS)])

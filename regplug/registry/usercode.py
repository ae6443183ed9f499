"""The user's own code, named by path: `mypkg.nets:Net`, `./net.py:Net`.

The folder of a file, and the current folder for a module, is appended to the module search path and stays there: what
the code imports, now or later, may be in the same folder, but cannot hide an installed package.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
import typing
from dataclasses import is_dataclass, replace
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from regplug.api import KINDS, Component, NoParams, Phase, Regularizer, TaskKind
from regplug.errors import RequestError, did_you_mean
from regplug.registry.faults import is_fault

_PHASE_BY_FUNCTION: dict[str, Phase] = {
    "restructure": "structure",
    "noise": "noise",
    "init": "state",
    "batch": "data",
    "sample_losses": "objective",
    "penalty": "objective",
    "wrap_loss": "objective",
    "perturb": "gradient",
    "gradients": "gradient",
    "decay": "optimizer",
    "after_step": "weights",
    "project": "weights",
    "after_epoch": "epoch",
    "evaluated": "epoch",
    "finalize": "finish",
}


def load_object(code: str) -> Any:
    """Returns the class or function that `"module:attribute"` or `"file.py:attribute"` names.

    Raises:
        RequestError: There is no such module, file or attribute, or the code raised when it was imported; the line is
            told.
    """
    place, _, attribute = code.rpartition(":")
    module = _load_file(code, place) if place.endswith(".py") else _load_module(code, place)
    try:
        return getattr(module, attribute)
    except AttributeError:
        names = [name for name in vars(module) if not name.startswith("_")]
        raise RequestError(f"{code}: {place} has no {attribute}.", hint=did_you_mean(attribute, names)) from None


class _FreshLoader(SourceFileLoader):
    """Compiles the source each time and caches nothing.

    Python takes its cached code for current if the file has the same size and was changed in the same second.
    """

    def path_stats(self, path: Any) -> NoReturn:
        raise OSError("not cached")


def import_path(path: Path, name: str) -> ModuleType:
    """Imports a file or a package folder under a name; a second time returns the first module.

    Raises:
        ImportError: Another module has that name.
    """
    file = path / "__init__.py" if path.is_dir() else path
    known = sys.modules.get(name)
    if known is not None:
        if getattr(known, "__file__", None) == str(file):
            return known
        raise ImportError(f"a module {name} is loaded already, from {getattr(known, '__file__', 'elsewhere')}")
    folders = [str(path)] if path.is_dir() else None
    loader = _FreshLoader(name, str(file)) if file.suffix == ".py" else None
    spec = importlib.util.spec_from_file_location(name, file, loader=loader, submodule_search_locations=folders)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def require_code(code: str) -> None:
    """Refuses code in a file that is not there; nothing is imported.

    Raises:
        RequestError: There is no such file; the message lists similar names.
    """
    place = code.rpartition(":")[0]
    if place.endswith(".py"):
        _file_of(code, place)


def _file_of(code: str, place: str) -> Path:
    path = Path(place).expanduser().resolve()
    if not os.path.isfile(path):  # noqa: PTH113 - False for a name that is too long, where Path raises
        files = [file.name for file in path.parent.glob("*.py")] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, files) if files else f"There is not a Python file in {path.parent}."
        raise RequestError(f"{code}: there is no file {path}.", hint=hint)
    return path


def _load_file(code: str, place: str) -> ModuleType:
    path = _file_of(code, place)
    _make_importable(path.parent)
    # An edited file is another module, and two files of one name do not meet.
    digest = hashlib.sha256(str(path).encode() + path.read_bytes()).hexdigest()[:12]
    try:
        return import_path(path, f"_regplug_user_{path.stem}_{digest}")
    except BaseException as error:
        if not is_fault(error):
            raise
        raise _raised(code, error) from error


def _load_module(code: str, name: str) -> ModuleType:
    _make_importable(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise RequestError(
                f"{code}: there is no module {error.name}.",
                hint=f"Modules are looked for in the environment and in {Path.cwd()}; a file is ./file.py:Name.",
            ) from None
        raise _raised(code, error) from error
    except BaseException as error:
        if not is_fault(error):
            raise
        raise _raised(code, error) from error


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _raised(code: str, error: BaseException) -> RequestError:
    if isinstance(error, SyntaxError):
        where = f"{error.filename}:{error.lineno}"
    else:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
        where = f"{frames[-1].filename}:{frames[-1].lineno}"
    return RequestError(
        f"{code} could not be imported: {type(error).__name__} at {where}: {error}", hint="Fix that line."
    )


def describe_object(kind: str, code: str, name: str, target: Any) -> Component:
    """Returns a descriptor for a user's own class or function.

    A class attribute `descriptor` of the right kind is taken as it is, with its target replaced. Else one is made:
    parameters are the class attribute `Params`, or none; a model and an activation take keyword arguments instead. A
    loss's `tasks` and `soft_targets` are class attributes, and an initializer's `sees_batch` is an attribute.

    Args:
        kind: Kind of component it is used as.
        code: Where it is, `module:attribute` or `file.py:attribute`.
        name: What it is called in this run.
        target: The class or function.

    Raises:
        RequestError: It cannot be called, or its descriptor is of another kind.
    """
    own = getattr(target, "descriptor", None)
    if isinstance(own, Component):
        if own.kind != kind:
            raise RequestError(f"{code} describes a component of kind {own.kind}; the kind {kind} was asked for.")
        return replace(own, target=code)
    if not callable(target):
        raise RequestError(f"{code} is of type {type(target).__name__}; a class or function was expected.")
    params = getattr(target, "Params", NoParams)
    if not isinstance(params, type) or not is_dataclass(params):
        raise RequestError(
            f"{code}: Params is not a dataclass.", hint="Write @dataclass(frozen=True) above class Params."
        )
    lines = (getattr(target, "__doc__", None) or "").strip().splitlines()
    common: dict[str, Any] = {
        "name": name,
        "target": code,
        "summary": lines[0] if lines else f"Your own {kind}.",
        "params": params,
    }
    if kind == "regularizer":
        return Regularizer(**common)
    return KINDS[kind](**common, **_declared(kind, name, target))


def _declared(kind: str, name: str, target: Any) -> dict[str, Any]:
    """What a descriptor of the kind says besides, from class attributes of the same names."""
    if kind == "dataset":
        return {"task": getattr(target, "task", "classification")}
    if kind == "initializer":
        return {"sees_batch": getattr(target, "sees_batch", False)}
    if kind == "loss":
        tasks = getattr(target, "tasks", typing.get_args(TaskKind))
        return {"tasks": tasks, "soft_targets": getattr(target, "soft_targets", False)}
    if kind == "optimizer":
        return {"stackable": getattr(target, "stackable", not is_torch_optimizer(target))}
    return {"filename": name} if kind == "format" else {}


def is_torch_optimizer(target: Any) -> bool:
    """Returns whether it is a subclass of torch.optim.Optimizer; torch is not imported for it."""
    bases = getattr(target, "__mro__", ())
    return any(f"{base.__module__}.{base.__qualname__}" == "torch.optim.optimizer.Optimizer" for base in bases)


def derive_phases(target: Any) -> tuple[Phase, ...]:
    """Returns the phases in which a regularizer class acts: those of the functions that it overrides.

    What `regplug.regularizer` itself defines is neutral and does not count.
    """
    owners = [base for base in getattr(target, "__mro__", ()) if not base.__module__.startswith("regplug.regularizer")]
    names = {name for base in owners for name in vars(base)}
    return tuple(dict.fromkeys(phase for name, phase in _PHASE_BY_FUNCTION.items() if name in names))


__all__ = ["derive_phases", "describe_object", "import_path", "is_torch_optimizer", "load_object", "require_code"]

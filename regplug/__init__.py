"""regplug: compares regularization methods, tracks and analyses the runs, and exports verified models.

>>> import regplug
>>> result = regplug.run(model="mlp", reg=["dropout:drop_probability=0.2"], epochs=5)  # doctest: +SKIP
>>> result.metrics["test/accuracy"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from regplug import lab
    from regplug.estimators import Classifier, Regressor
    from regplug.functions import compare, cross_validate, export, predict, resume, run, sweep, verify

_ESTIMATORS = ("Classifier", "Regressor")

__all__ = [
    "Classifier",
    "Regressor",
    "compare",
    "cross_validate",
    "export",
    "lab",
    "predict",
    "resume",
    "run",
    "sweep",
    "verify",
]


def __getattr__(name: str) -> Any:
    # Importing torch and mlflow takes seconds; `import regplug` and --help must not wait for them.
    if name in _ESTIMATORS:
        from regplug import estimators

        return getattr(estimators, name)
    if name == "lab":
        from importlib import import_module

        return import_module("regplug.lab")
    if name in __all__:
        from regplug import functions

        return getattr(functions, name)
    raise AttributeError(f"module 'regplug' has no attribute {name!r}")


def __dir__() -> list[str]:
    # What is imported on demand is not in the module's dictionary, where notebooks look for completions.
    return sorted({*globals(), *__all__})

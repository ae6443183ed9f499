"""regplug: which regularization makes a model generalise best, how sure is that, and the winner as a proven file.

>>> import regplug
>>> result = regplug.run(model="mlp", reg=["dropout:drop_probability=0.2"], epochs=5)  # doctest: +SKIP
>>> result.metrics["test/accuracy"]  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from regplug.functions import compare, cross_validate, export, predict, run, sweep, verify

__all__ = ["compare", "cross_validate", "export", "predict", "run", "sweep", "verify"]


def __getattr__(name: str) -> Any:
    # torch and mlflow cost seconds, which `import regplug` and the command line's --help do not pay.
    if name in __all__:
        from regplug import functions as face

        return getattr(face, name)
    raise AttributeError(f"module 'regplug' has no attribute {name!r}")

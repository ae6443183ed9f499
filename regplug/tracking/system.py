"""Facts about the machine, the code and the user, as tags of a run. Does not import the packages it describes."""

from __future__ import annotations

import getpass
import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("regplug", "torch", "torchvision", "numpy", "onnx", "onnxruntime", "mlflow", "scikit-learn")
_GIT_TIMEOUT_S = 5.0


def system_tags() -> dict[str, str]:
    """Returns platform, Python, processors and package versions as `system/...`."""
    return {
        "system/platform": platform.platform(),
        "system/python": platform.python_version(),
        "system/cpus": str(os.cpu_count()),
        **{f"system/{name}": found for name in _PACKAGES if (found := _version(name))},
    }


def source_tags(folder: Path | None = None) -> dict[str, str]:
    """Returns MLflow's own user and source tags, and git's commit and whether there are uncommitted changes.

    Args:
        folder: A folder of the repository; by default the current one. Without git or a repository, its tags are
            absent.
    """
    tags = {
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": Path(sys.argv[0]).name if sys.argv and sys.argv[0] else "<console>",
        "regplug.version": _version("regplug") or "unknown",
    }
    commit = _git("rev-parse", "HEAD", folder=folder)
    if commit:
        tags["mlflow.source.git.commit"] = commit
        changes = _git("status", "--porcelain", "--untracked-files=no", folder=folder)
        tags["regplug.git.dirty"] = "unknown" if changes is None else str(bool(changes)).lower()
    return tags


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container's user id may have no name.
        return "unknown"


def _git(*arguments: str, folder: Path | None) -> str | None:
    """Returns git's output; `None` without git or a repository, or after a timeout."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["git", *arguments],  # noqa: S607 - the user's own git
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None

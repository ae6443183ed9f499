"""A new environment whose packages are this environment's, into which a test installs plugins. No network."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent


class Environment:
    """A virtual environment that sees regplug from this tree and every package that is installed here."""

    def __init__(self, home: Path) -> None:
        self.home = home
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        self.python = home / "bin" / "python"
        site = self("python -c 'import sysconfig; print(sysconfig.get_path(\"purelib\"))'", home).strip()
        seen = (sysconfig.get_path("purelib"), ROOT, ROOT / "plugins")
        Path(site, "seen.pth").write_text("".join(f"{folder}\n" for folder in seen))

    def __enter__(self) -> Self:
        self._open = ExitStack()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def __call__(self, command: str, folder: Path) -> str:
        """Types a command in a folder and returns what it says; it must succeed."""
        if command.startswith("regplug "):
            code, said = self._forked(shlex.split(command)[1:], folder)
        else:
            done = subprocess.run(self._words(command), cwd=folder, env=self._kept(), capture_output=True, text=True)
            code, said = done.returncode, done.stdout + done.stderr
        assert code == 0, f"{command}\n{said}"
        return said

    def _kept(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("REGPLUG_", "PYTHON", "MLFLOW_", "XDG_"))}
        return {**kept, "OMP_NUM_THREADS": "1", "HOME": str(self.home)}

    def _forked(self, args: list[str], folder: Path) -> tuple[int, str]:
        """Calls a command of regplug; returns its exit code and what it said."""
        process = self._forking
        assert process.stdin is not None
        assert process.stdout is not None
        with tempfile.NamedTemporaryFile("r", encoding="utf-8") as said:
            process.stdin.write(json.dumps([str(folder), args, said.name]) + "\n")
            process.stdin.flush()
            code = int(process.stdout.readline())
            return code, said.read()

    @functools.cached_property
    def _forking(self) -> subprocess.Popen[str]:
        """A process of the environment that forks for each command."""
        command = [str(self.python), str(Path(__file__).with_name("forked_commands.py"))]
        return self._open.enter_context(
            subprocess.Popen(command, env=self._kept(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )

    def _words(self, command: str) -> list[str]:
        program, *words = shlex.split(command)
        if program == "pip":
            # As typed, but from what is here: nothing is fetched and the build uses the packages of this environment.
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(self.python)]
            return [*pip, *words, "--no-deps", "--no-index", *(["--no-build-isolation"] if "-e" in words else [])]
        own = {"python": [], "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider"]}
        return [str(self.python), *own[program], *words]

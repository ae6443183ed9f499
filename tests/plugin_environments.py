"""A new environment whose packages are this environment's, into which a test installs plugins. No network."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

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

    def __call__(self, command: str, folder: Path, *, fails: bool = False) -> str:
        """Types a command in a folder and returns what it says; it must succeed, or fail where that is wanted."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("REGPLUG_", "PYTHON", "MLFLOW_", "XDG_"))}
        kept |= {"OMP_NUM_THREADS": "1", "HOME": str(self.home)}
        done = subprocess.run(self._words(command), cwd=folder, env=kept, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def _words(self, command: str) -> list[str]:
        program, *words = shlex.split(command)
        if program == "pip":
            # As typed, but from what is here: nothing is fetched and the build uses the packages of this environment.
            pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", "--python", str(self.python)]
            return [*pip, *words, "--no-deps", "--no-index", *(["--no-build-isolation"] if "-e" in words else [])]
        own = {"python": [], "regplug": ["-m", "regplug"], "pytest": ["-m", "pytest", "-q", "-p", "no:cacheprovider"]}
        return [str(self.python), *own[program], *words]

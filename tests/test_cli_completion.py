"""Shell completion, asked by a real bash: commands, options, and the names and parameters of components."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BASH = shutil.which("bash")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BASH is None, reason="needs bash")]

# Prints what bash would offer for the words, the last of which is being typed. Bash separates words at : and =.
PROGRAM = r"""
source "$HOME/.bash_completions/regplug.sh"
COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 ))
"$(complete -p regplug | sed 's/.*-F \([^ ]*\).*/\1/')" regplug
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A home folder in which `regplug --install-completion` was run in bash."""
    place = tmp_path_factory.mktemp("home")
    run = subprocess.run(
        [BASH, "-c", "regplug --install-completion; true"], env=environment(place), capture_output=True, text=True
    )
    assert "bash completion installed" in run.stdout, run.stderr
    return place


def environment(home):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "HOME": str(home), "PATH": path, "SHELL": BASH}


def offered(home, *words):
    asked = [BASH, "--norc", "-c", PROGRAM, "bash", "regplug", *words]
    run = subprocess.run(asked, env=environment(home), capture_output=True, text=True, check=True)
    assert run.stderr == ""
    return run.stdout.split()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pl"], ["plan", "plot", "plugins"]),
        (["plugins", "do"], ["doctor"]),
        (["run", "--label"], ["--label-noise"]),
        (["run", "--reg", "label_s"], ["label_smoothing"]),
        (["run", "--reg", "l2+label_s"], ["l2+label_smoothing"]),
        (["run", "--reg", "dropout", ":", "dr"], ["drop_probability=0.5"]),
        (["run", "--reg", "dropout", ":", "drop_probability", "=", "0.1,a"], ["0.1,at=[]"]),
        (["run", "--reg", "=", "label_s"], ["label_smoothing"]),
        (["plugins", "show", "label_s"], ["label_smoothing"]),
        (["plugins", "list", "--kind", "reg"], ["regularizer"]),
    ],
    ids=" ".join,
)
def test_bash_completes(home, words, expected):
    assert sorted(offered(home, *words)) == expected


def test_completion_imports_neither_torch_nor_numpy(home):
    program = (
        "import sys; from regplug.cli.app import app; from regplug.cli.completing import complete; complete(app);"
        "print(sorted({'torch', 'numpy', 'mlflow'} & set(sys.modules)), file=sys.stderr)"
    )
    asked = {"_REGPLUG_COMPLETE": "complete_bash", "COMP_WORDS": "regplug\nrun\n--reg\ndrop", "COMP_CWORD": "3"}
    run = subprocess.run(
        [sys.executable, "-c", program], env={**environment(home), **asked}, capture_output=True, text=True
    )
    assert "dropout" in run.stdout.split()
    assert run.stderr == "[]\n"

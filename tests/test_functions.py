"""The functions of the root: their signatures follow the configuration, and type checkers know them."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from made_signatures import OF_FOLDS, PLACES, doc_of, fields_of, made

import regplug
from regplug.errors import RequestError

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", PLACES)
def test_the_arguments_of_a_function_are_the_fields_of_the_configuration(name):
    source = PLACES[name].read_text(encoding="utf-8")
    assert source == made(source, name), "run python tests/made_docs.py"
    parameters = inspect.signature(getattr(regplug, name)).parameters
    fields = fields_of(name)
    assert set(fields) <= set(parameters)
    assert all(parameters[field].default is None for field in fields)
    assert not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    shown = " ".join(inspect.getdoc(getattr(regplug, name)).split())
    assert [field for field, (_, info) in fields.items() if f"{field}: {doc_of(info)}" not in shown] == []


def test_a_sweep_has_no_arguments_of_folds():
    assert set(OF_FOLDS) & set(inspect.signature(regplug.sweep).parameters) == set()
    assert set(OF_FOLDS) <= set(inspect.signature(regplug.cross_validate).parameters)


def test_an_unknown_argument_is_refused_before_anything_starts():
    with pytest.raises(TypeError, match="'modle'"):
        regplug.run(modle="mlp")


def test_the_functions_are_listed_before_they_are_imported():
    code = "import regplug, sys; print(*dir(regplug)); assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(regplug.__all__) <= set(told.stdout.split())


@pytest.mark.parametrize(
    ("module", "options", "said"),
    [
        ("3f2a", {"class_names": ["a"], "test": ((), ())}, "A run is exported, but class_names, test were given"),
        (None, {"register": "best"}, "A module is exported, but register was given"),
    ],
)
def test_an_option_of_the_other_kind_of_export_is_refused(module, options, said):
    from torch import nn

    with pytest.raises(RequestError, match=said):
        regplug.export(module or nn.Linear(2, 2), **options)


CALLER = """
from pathlib import Path

import numpy as np
from torch import nn

import regplug

x, y = np.zeros((8, 3), dtype=np.float32), np.zeros(8, dtype=np.int64)
result = regplug.run(model=nn.Linear(3, 2), dataset=(x, y), reg=["l2:strength=0.1"], epochs=3, lr=0.1, out="here")
accuracy: float = result.metrics["test/accuracy"]
swept = regplug.sweep(grid=["reg=none,dropout"], seeds=3, dtype="float64", export=False)
folded = regplug.cross_validate(grid="reg=none,l2", folds=3, group="patient", refit=False)
compared = regplug.compare(swept.study_id, out=Path("report.html"))
bundle = regplug.export(result.run_id, out=Path("bundle"), formats=["onnx"], alias="champion")
regplug.run(lr="fast")  # type: ignore[arg-type]
regplug.sweep(folds=3)  # type: ignore[call-arg]
regplug.run(dtype="float16")  # type: ignore[arg-type]
"""


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mypy") is None, reason="mypy is not installed: pip install -e .[dev]")
def test_a_strictly_typed_caller_passes_and_its_mistakes_are_found(tmp_path):
    file = tmp_path / "caller.py"
    file.write_text(CALLER)
    command = [sys.executable, "-m", "mypy", "--strict", f"--cache-dir={ROOT / '.mypy_cache'}", str(file)]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert told.returncode == 0, told.stdout + told.stderr

"""The command line without a run: help, errors, JSON, tables, and what is imported."""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
import subprocess
import sys

import pytest
from cli_calls import Terminal

from regplug.cli.app import COMMANDS
from regplug.cli.failures import Failure
from regplug.cli.output import emit, table_lines
from regplug.cli.progress import Progress, describe_metrics
from regplug.config import RunConfig
from regplug.config.params import describe_params
from regplug.config.spec import ComponentSpec
from regplug.registry import default_registry

HEAVY = ("torch", "mlflow", "onnxruntime", "numpy", "onnx", "sklearn", "rich", "pydantic")

_IMPORTS_AFTER = """
import contextlib, io, json, sys
from regplug.cli.app import invoke
heavy, seen = json.loads(sys.argv[1]), {}
for line in sys.argv[2:]:
    with contextlib.redirect_stdout(io.StringIO()):
        code = invoke(line.split())
    seen[line] = [code, [name for name in heavy if name in sys.modules]]
print(json.dumps(seen))
"""


@pytest.fixture
def terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    return Terminal(capsys)


def imports_after(*commands):
    """Exit code and heavy modules after each command, one after the other in one fresh process."""
    answer = subprocess.run(
        [sys.executable, "-c", _IMPORTS_AFTER, json.dumps(HEAVY), *commands], capture_output=True, text=True, check=True
    )
    return json.loads(answer.stdout)


def test_help_and_plugins_import_nothing_heavy():
    seen = imports_after(
        "--help", "--version", "plugins --help", "plugins list", "plugins list --json", "plugins doctor",
        "predict --help", "inspect --help", "runs --help", "ui --help",
    )  # fmt: skip
    assert seen == {command: [0, []] for command in seen}


def test_help_of_run_needs_no_validator():
    assert imports_after("run --help", "plan --help")["plan --help"] == [0, []]


def test_help_names_every_command_in_the_order_of_the_table(terminal):
    said = terminal("--help")
    assert said.code == 0
    assert re.findall(r"^  ([a-z]+)  +[A-Z]", said.out, re.MULTILINE) == list(COMMANDS)


def test_no_arguments_are_a_call_for_help(terminal):
    assert terminal().out == terminal("--help").out


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_command_has_help_and_its_leaves_take_json(terminal, command):
    said = terminal(command, "--help")
    assert said.code == 0
    leaves = re.findall(r"^  (\w+)  ", said.out.partition("Commands:")[2], re.MULTILINE)
    for leaf in leaves:
        assert "--json" in terminal(command, leaf, "--help").out
    assert leaves or "--json" in said.out


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_states_every_field_of_the_configuration_with_its_default(terminal, command):
    said = " ".join(terminal(command, "--help").out.split())
    for info in describe_params(RunConfig):
        assert f"--{info.name.replace('_', '-')} " in said
        assert info.doc in said
    assert said.count("[default: ") >= len(dataclasses.fields(RunConfig))
    defaults = {info.name: info.default for info in describe_params(RunConfig)}
    for text in (str(defaults["lr"]), str(defaults["epochs"]), ", ".join(defaults["format"]), "yes", "empty"):
        assert f"[default: {text}]" in said


@pytest.mark.parametrize(
    ("args", "kind", "words"),
    [
        (["run", "--lrr", "1"], "NoSuchOption", "--lrr"),
        (["run", "--lr", "fast"], "BadParameter", "--lr"),
        (["run", "--lr", "-1"], "ParameterError", "lr=-1.0 is not allowed: float, at least 0"),
        (["run", "--optimizer", "sdg"], "UnknownComponentError", "sdg"),
        (["run", "--reg", "dropuot"], "UnknownComponentError", "dropuot"),
        (["run", "--reg", "dropout:p=0.5"], "ParameterError", "p is unknown"),
        (["run", "--set", "nonsense"], "RequestError", "nonsense"),
        (["run", "--config", "nowhere.toml"], "RequestError", "nowhere.toml"),
        (["run", "--plugin", "./nowhere.py"], "RequestError", "nowhere.py"),
        (["rnu"], "UsageError", "Did you mean 'run'?"),
        (["plugins", "lst"], "UsageError", "Did you mean 'list'?"),
        (["plugins", "show"], "MissingParameter", "name"),
        (["plugins", "show", "dropuot"], "UnknownComponentError", "dropuot"),
        (["plugins", "show", "./net.py:Net"], "RequestError", "your own code"),
        (["plugins", "list", "--kind", "regulariser"], "RequestError", "regulariser"),
        (["verify", "nowhere"], "BundleError", "nowhere"),
        (["inspect", "nowhere"], "BundleError", "nowhere"),
        (["predict", "nowhere", "x.npy"], "BundleError", "nowhere"),
        (["ui", "--port", "0"], "BadParameter", "--port"),
    ],
)
def test_a_wrong_request_is_one_message_and_exit_code_two(terminal, tmp_path, monkeypatch, args, kind, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    plain, as_json = terminal(*args), terminal(*args, "--json")
    assert (plain.code, as_json.code) == (2, 2)
    assert plain.out == ""
    assert plain.err.startswith("error: ")
    assert words in plain.err
    assert "Traceback" not in plain.err + as_json.err
    error = as_json.document["error"]
    assert set(as_json.document) == {"error"}
    assert set(error) == {"type", "message", "hint"}
    assert error["type"] == kind
    assert words in error["message"]
    assert list(tmp_path.iterdir()) == []


def test_an_error_tells_message_then_hint(terminal):
    lines = terminal("plugins", "show", "dropuot").err.splitlines()
    assert lines[0] == "error: No component is named 'dropuot'."
    assert lines[1].startswith("Did you mean dropout")


def test_an_unexpected_exception_tells_its_type_and_how_to_see_more(capsys):
    assert Failure.of(ZeroDivisionError("division by zero")).tell(as_json=False) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ZeroDivisionError: division by zero\n")
    assert "REGPLUG_DEBUG=1" in err


def test_debug_shows_the_traceback_above_the_message(terminal, monkeypatch):
    monkeypatch.setenv("REGPLUG_DEBUG", "1")
    said = terminal("run", "--lr", "-1")
    assert said.code == 2
    assert said.err.startswith("Traceback")
    assert "error: --lr: lr=-1.0 is not allowed" in said.err


def test_an_interruption_is_one_line_and_exit_code_130(capsys):
    assert Failure.of(KeyboardInterrupt()).tell(as_json=False) == 130
    assert capsys.readouterr().err == "Interrupted.\n"


def test_a_document_has_null_where_a_number_is_not_finite(capsys):
    emit({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": (float("-inf"), "x")}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [None, 1.5], "c": {"d": [None, "x"]}}


def test_list_tells_components_with_provenance(terminal):
    document = terminal("plugins", "list", "--json").document
    assert set(document) == {"components", "problems"}
    dropout = next(one for one in document["components"] if (one["kind"], one["name"]) == ("regularizer", "dropout"))
    assert set(dropout) == {
        "kind", "name", "summary", "source", "distribution", "version", "location", "editable", "tags", "family",
    }  # fmt: skip
    assert dropout["distribution"] == "regplug"
    assert dropout["source"].startswith("Srivastava")


def test_list_fits_into_eighty_columns_and_cuts_nothing(terminal):
    said = terminal("plugins", "list", "--kind", "regularizer")
    assert max(map(len, said.out.splitlines())) <= 80
    whole = " ".join(said.out.split())
    assert "sam" in whole
    assert "twice the cost." in whole


def test_list_in_a_pipe_is_one_line_for_each_component(terminal, monkeypatch):
    monkeypatch.delenv("COLUMNS")
    lines = terminal("plugins", "list", "--kind", "activation").out.splitlines()
    assert any(line.startswith("tanh ") and line.endswith("LeCun et al. 1998") for line in lines)


def test_show_tells_parameters_with_bounds_defaults_and_doc(terminal):
    said = terminal("plugins", "show", "dropout").out
    for words in (
        "drop_probability = 0.5",
        "at least 0 and less than 1",
        "May differ between runs of one stack.",
        "structure, noise",
    ):
        assert words in said
    (document,) = terminal("plugins", "show", "regplug/dropout", "--json").document["components"]
    first = document["parameters"][0]
    assert (first["name"], first["default"], first["bounds"], first["stackable"]) == (
        "drop_probability", 0.5, "at least 0 and less than 1", True,
    )  # fmt: skip
    assert document["phases"] == ["structure", "noise"]
    assert document["provenance"].startswith("regplug:dropout@")


def test_show_writes_what_can_be_typed(terminal):
    for one in terminal("plugins", "list", "--json").document["components"]:
        said = terminal("plugins", "show", one["name"], "--kind", one["kind"])
        assert said.code == 0
        written = [line.split(maxsplit=1)[1] for line in said.out.splitlines() if line.startswith("example ")]
        for text in written:
            words = shlex.split(text)
            assert words[:2] == ["regplug", "run"]
            assert one["name"] in {ComponentSpec.parse(word).name for word in words[3::2]}


REGULARIZERS = [one.name for one in default_registry().components("regularizer")]


@pytest.mark.parametrize("name", REGULARIZERS)
def test_the_example_of_a_regularizer_can_be_planned(terminal, name):
    shown = terminal("plugins", "show", name, "--kind", "regularizer", "--json").document["components"][0]
    words = shlex.split(shown["example"])[2:]
    if "--dataset" in words or any(one["needed"] for one in shown["parameters"]):
        pytest.skip("its example takes a dataset that is not small, or names a file or run of the user's own")
    # Whether it could be exported, is tried by tests of exports; here it would take four times as long.
    said = terminal("plan", *words, "--no-export")
    assert said.code == 0, said.err


def test_the_list_is_narrowed_by_a_word(terminal):
    listed = terminal("plugins", "list", "NORM", "--kind", "regularizer", "--json").document["components"]
    assert {"batchnorm", "max_norm", "clip_norm"} <= {one["name"] for one in listed}
    assert not {"l1", "dropout"} & {one["name"] for one in listed}
    said = terminal("plugins", "list", "penalties")
    assert "regularizer: penalties" in said.out
    assert "Tibshirani 1996" in said.out
    refused = terminal("plugins", "list", "penalies")
    assert refused.code == 2
    assert "penalies" in refused.err


def test_a_name_of_several_kinds_shows_them_all(terminal, tmp_path):
    plugin = tmp_path / "rival_names.py"
    plugin.write_text(
        "from regplug.api import Model, hookimpl\n\n\n"
        "@hookimpl\ndef regplug_models():\n"
        "    yield Model(name='tanh', target='rival_names:make', summary='A network of that name.')\n"
    )
    shown = terminal("plugins", "show", "tanh", "--plugin", plugin, "--json").document["components"]
    assert [one["kind"] for one in shown] == ["activation", "model"]


def test_show_reads_the_users_own_code_where_its_kind_is_told(terminal, tmp_path):
    (tmp_path / "own_net.py").write_text("class Net:\n    'A network of mine.'\n    def __init__(self, width=8): ...\n")
    said = terminal("plugins", "show", f"{tmp_path}/own_net.py:Net", "--kind", "model")
    assert said.code == 0
    assert "your own code" in said.out
    assert "Net(width=8)" in said.out


def test_a_broken_plugin_is_listed_as_a_problem_and_stops_nothing(terminal, tmp_path):
    plugin = tmp_path / "broken_for_cli.py"
    plugin.write_text("import a_module_that_is_not_there\n")
    listed = terminal("plugins", "list", "--plugin", plugin)
    assert listed.code == 0
    assert "dropout" in listed.out
    assert "a_module_that_is_not_there" in listed.err
    assert "regplug plugins doctor" in listed.err
    doctor = terminal("plugins", "doctor", "--plugin", plugin)
    assert doctor.code == 0
    assert re.search(r"broken_for_cli .*broken", doctor.out)
    assert "--disable" in doctor.out
    assert "1 problem." in doctor.out
    document = terminal("plugins", "doctor", "--plugin", plugin, "--json").document
    assert [one["what"] for one in document["problems"]] == ["broken"]
    record = next(one for one in document["plugins"] if one["entry"] == "broken_for_cli")
    assert record["status"] == "broken"


def test_what_a_plugin_prints_does_not_spoil_the_document(terminal, tmp_path):
    plugin = tmp_path / "chatty_for_cli.py"
    plugin.write_text("print('hello from a plugin')\n")
    said = terminal("plugins", "list", "--plugin", plugin, "--json")
    assert said.document["components"]
    assert "hello" in said.err


def test_disabled_plugins_are_gone_from_the_list(terminal):
    document = terminal("plugins", "list", "--disable", "probes", "--json").document
    assert "probe" not in {one["kind"] for one in document["components"]}


def test_a_table_folds_one_column_and_aligns_figures():
    rows = [("x", "one two three four", "1"), ("yy", "five", "10")]
    assert table_lines(("a", "words", ">n"), rows, folds="words", width=22) == [
        "a   words            n",
        "--  --------------  --",
        "x   one two three    1",
        "    four",
        "yy  five            10",
    ]


def test_an_epoch_without_validation_shows_training_figures():
    assert describe_metrics({"train/running_loss": [1.0], "train/running_accuracy": [0.5]}) == (
        "train loss 1.0000, accuracy 0.5000"
    )
    assert describe_metrics({"norm/weight": [1.0]}) == ""


def test_progress_is_silent_without_a_terminal(capsys):
    with Progress(is_quiet=False) as progress:
        progress.stage("training")
    assert capsys.readouterr() == ("", "")


def test_a_run_whose_process_is_gone_is_told_to_be_stale():
    from datetime import UTC, datetime

    from regplug.cli.runs_list import status_of
    from regplug.tracking import RunInfo

    run = RunInfo(
        run_id="0" * 32, name="mlp", experiment="e", experiment_id="1", status="RUNNING", is_stale=True,
        started=datetime.now(tz=UTC), ended=None, params={}, tags={}, metrics={}, artifact_uri="",
    )  # fmt: skip
    assert status_of(run) == "RUNNING (stale)"
    assert status_of(dataclasses.replace(run, is_stale=False)) == "RUNNING"


def test_help_costs_at_most_three_times_the_import_of_typer():
    """The least CPU time of five each: what else the machine does counts less so."""
    import resource

    def least_cpu_s(*command):
        costs = []
        for _ in range(5):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, check=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(costs)

    assert least_cpu_s("-m", "regplug", "--help") <= 3 * least_cpu_s("-c", "import typer")

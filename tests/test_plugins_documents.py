"""docs/plugins.md: what it says of hooks is so, and what it tells a reader to type works."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import hook_reference
import pytest
from documents import read_typed
from plugin_environments import Environment

from regplug.hookspecs import HOOK_KINDS
from regplug.registry import default_registry
from regplug.registry.records import ProblemKind
from regplug.registry.switch_files import read_switches
from regplug.runs.results import RunEpoch, RunFinished, RunStarted
from regplug.testing import tags
from regplug.testing.tags import TAGS

TYPED = read_typed(hook_reference.DOCUMENT)
FOLDERS = list(dict.fromkeys(folder for folder, _ in TYPED.commands))


def test_every_hook_is_documented_with_its_signature():
    assert hook_reference.current() == hook_reference.reference(), "run python tests/hook_reference.py"
    assert all(f"### `{name}`" in hook_reference.current() for name in HOOK_KINDS)


def test_every_word_of_the_doctor_is_explained():
    text = hook_reference.DOCUMENT.read_text()
    missing = [word for word in ProblemKind.__args__ if f"| `{word}` |" not in text]
    assert missing == []


def rows_below(heading):
    text = hook_reference.DOCUMENT.read_text()
    table = text[text.index(heading) :].partition("\n\n")[0]
    return {row.split("`")[1]: row for row in table.splitlines()[2:]}


def test_the_tags_that_the_kit_reads_are_listed_with_what_it_does():
    assert list(rows_below("| tag | the kit's check |").values()) == [f"| `{t}` | {x} |" for t, x in TAGS.items()]


def test_the_kit_reads_no_tag_beside_those_listed():
    read = set()
    for file in Path(tags.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and ast.unparse(node.comparators[0]).endswith(".tags"):
                read.add(ast.unparse(node.left))
    assert {getattr(tags, name) for name in read} == set(TAGS)


def test_the_tags_that_regplugs_own_components_look_for_are_listed():
    own = [one.component for one in default_registry().components("regularizer") if one.origin.is_first_party]
    words = {word for one in own for word in (*one.before, *one.after, *one.conflicts, *one.requires)}
    for file in (Path(__file__).parent.parent / "plugins").rglob("*.py"):
        words |= set(re.findall(r'context\.others\("([\w-]+)"\)', file.read_text()))
    assert set(rows_below("| tag | used by |")) == words - {one.name for one in own}
    assert words - {one.name for one in own} <= {tag for one in own for tag in one.tags}


@pytest.mark.parametrize(
    ("method", "given"), [("run_started", RunStarted), ("epoch_ended", RunEpoch), ("run_finished", RunFinished)]
)
def test_what_an_observer_is_given_is_listed_field_by_field(method, given):
    lines = hook_reference.DOCUMENT.read_text().splitlines()
    (row,) = (line for line in lines if line.startswith(f"| `{method}` | `{given.__name__}` |"))
    told = re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", row))[2:]
    assert sorted(told) == sorted(field.name for field in dataclasses.fields(given))


def test_the_examples_file_of_switches_can_be_read(tmp_path):
    text = hook_reference.DOCUMENT.read_text()
    example = text[text.index("[plugins]\n") :].partition("```")[0]
    (tmp_path / "regplug.toml").write_text(example)
    read = read_switches(tmp_path / "regplug.toml")
    assert read.allow == ("regplug-jitter", "regplug-big/regularizers")
    assert read.pins == {("regularizer", "dropblock"): "regplug-mine"}


@pytest.mark.parametrize("name", [name for name in TYPED.files if name.endswith("/__init__.py")])
def test_a_descriptor_in_the_document_has_at_most_twenty_lines_of_code_a_component(name):
    tree = ast.parse(TYPED.files[name])
    hooks = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    lines = [line for line in TYPED.files[name].splitlines() if line.strip()]
    assert len(lines) <= 20 * len(hooks), f"{len(lines)} lines"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    with Environment(tmp_path_factory.mktemp("environment")) as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_plugin_typed_in_from_the_document_works_the_first_time(folder, environment, tmp_path):
    for name, text in TYPED.files.items():
        if name.startswith(f"{folder}/"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
    said = [environment(command, tmp_path / folder) for where, command in TYPED.commands if where == folder]
    told = "\n".join(said)
    for expected in EXPECTED[folder]:
        assert expected in told, told
    assert re.search(r"in stacks of 1\b", told) is None, told


EXPECTED = {
    "regplug-jitter": ("regularizer jitter: Multiplies", "0 failed", "passed", "FINISHED"),
    "regplug-rings": ("0 failed", "FINISHED"),
    "regplug-robust": ("0 failed", "8 runs in"),
    "regplug-cauchy": ("0 failed", "16 runs in", "in stacks of"),
    "regplug-centred": ("0 failed", "FINISHED"),
    "regplug-widths": ("0 failed", "UNDECIDED"),
    "regplug-notify": ("linear", "Commands of plugins", "notes"),
}
"""What must be said on the way, by example."""


def test_every_example_is_judged_by_something():
    assert set(FOLDERS) == set(EXPECTED)


def test_documents_name_no_folder_that_is_not_typed():
    assert {Path(name).parts[0] for name in TYPED.files} == set(FOLDERS)

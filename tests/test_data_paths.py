"""`--dataset PATH`: an existing file or folder of data stands for the dataset that reads it."""

import pytest

from regplug.api import Dataset
from regplug.config import load_config
from regplug.config.spec import ComponentSpec
from regplug.errors import DataError, RequestError
from regplug.registry import default_registry
from regplug.registry.data_paths import find_reader
from regplug.registry.records import Origin, Registered
from regplug_datasets import TableParams


def reader(name, *patterns):
    origin = Origin(distribution="mine", version="1", entry="mine", module="mine", location="")
    component = Dataset(name=name, target="m:f", summary="s", task="regression", params=TableParams, reads=patterns)
    return Registered(component=component, origin=origin)


@pytest.mark.parametrize(
    "text", ["mine.csv", "data/mine.csv", "./mine.csv", "~/mine.csv", "/data/a.parquet", "../imgs"]
)
def test_a_path_is_read_and_written_again(text):
    spec = ComponentSpec.parse(f"{text}:target=y", is_data=True)
    assert (spec.path, dict(spec.values), str(spec)) == (text, {"target": "y"}, f"{text}:target=y")


@pytest.mark.parametrize("text", ["net.py:Net", "./data.py:Mine", "mypkg.data:Mine"])
def test_code_stays_code_where_a_path_may_stand(text):
    assert ComponentSpec.parse(text, is_data=True).code == text


@pytest.mark.parametrize("text", ["mine.csv", "./mine.csv"])
def test_a_path_names_no_component_of_another_kind(text):
    with pytest.raises(RequestError, match="does not say which class or function"):
        load_config(None, (), {"model": text})


def test_the_longest_pattern_reads_a_folder(tmp_path):
    (tmp_path / "info.json").write_text("{}")
    known = [reader("any", "*/"), reader("marked", "*/info.json"), reader("file", "*.json")]
    assert [find_reader(str(place), known)[0].name for place in (tmp_path, tmp_path / "info.json")] == [
        "marked",
        "file",
    ]
    assert find_reader(str(tmp_path), known)[1] == "path"


def test_a_file_becomes_the_dataset_that_reads_it_and_a_missing_one_is_told_with_near_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    (tmp_path / "mine.xyz").write_text("")
    registry = default_registry()
    config = load_config(None, (), {"dataset": "mine.csv", "target": "b"})
    (spec,) = (registry.locate("dataset", one) for one in config.specs("dataset"))
    assert dict(spec.values) == {"path": "mine.csv", "target": "b"}
    assert registry.find("dataset", spec).name == spec.name
    with pytest.raises(DataError, match=r"No file min\.csv") as told:
        registry.locate("dataset", ComponentSpec.parse("min.csv", is_data=True))
    assert "mine.csv" in told.value.hint
    with pytest.raises(DataError, match=r"No dataset reads the file mine\.xyz") as told:
        registry.locate("dataset", ComponentSpec.parse("mine.xyz", is_data=True))
    assert "*.csv" in told.value.hint


def test_a_component_counts_before_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    spec = ComponentSpec.parse("digits")
    assert default_registry().locate("dataset", spec) is spec

"""docs/lab.md tells every first-party study, with its figures and the names of its claims and values."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from made_docs import DOCS, README
from tracking_stores import copied_store

from regplug.registry.studies import installed_studies, typed

STUDIES = {typed(name): one.component for name, one in installed_studies().items() if one.distribution == "regplug"}
PAGE = (DOCS / "lab.md").read_text(encoding="utf-8")
MOST_BYTES = 3_000_000


def sections():
    """Returns the part of the page about each study."""
    parts = re.split(r"^### ", PAGE, flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: part for part in parts}


def names_of(section):
    """Returns the names of the claims and values, and of the figures, that a section tells."""
    study = section.partition("\n")[0]
    rows = re.findall(r"^\| `([^`]+)` \|", section, flags=re.MULTILINE)
    return sorted(rows), sorted(re.findall(rf"\(lab/{study}-(\S+)\.png\)", section))


def test_the_page_has_a_section_for_each_study_in_the_order_of_the_chapter():
    assert list(sections()) == list(STUDIES)


@pytest.mark.parametrize("name", STUDIES)
def test_a_section_has_the_question_the_settings_and_the_command(name):
    section, study = sections()[name], STUDIES[name]
    assert f"**{study.question}** {study.summary}" in section
    assert f"regplug lab run {name}" in section
    assert study.source in section


@pytest.mark.parametrize("name", STUDIES)
def test_a_section_and_its_line_in_the_contents_tell_the_seeds_and_whether_the_study_was_shortened(name):
    verdict = r"^\*\*(HOLDS|UNDECIDED|DOES NOT HOLD)\*\* \((\d+ seeds? in (?:full|quick mode))\)"
    found = re.search(verdict, sections()[name], flags=re.MULTILINE)
    assert found
    line = re.search(rf"^\| \[{name}\]\(#{name}\) .*$", PAGE, flags=re.MULTILINE)
    assert line
    assert line[0].endswith(f"| {found[1]} | {found[2]} |")


def test_the_figures_of_the_page_exist_and_are_small():
    shown = re.findall(r"\((lab/\S+\.png)\)", PAGE)
    assert sorted(shown) == sorted(f"lab/{file.name}" for file in (DOCS / "lab").iterdir())
    assert sum(file.stat().st_size for file in (DOCS / "lab").iterdir()) < MOST_BYTES


def test_the_readme_links_to_the_page():
    assert "(docs/lab.md)" in README.read_text(encoding="utf-8")


@pytest.mark.full
@pytest.mark.parametrize("name", STUDIES)
def test_the_page_has_the_names_of_json(name, tmp_path):
    copied_store(tmp_path)
    result = import_module("regplug.lab").run(
        name, quick=True, seeds=1, tracking_uri=f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    )
    told = result.document()
    rows, figures = names_of(sections()[name])
    assert rows == sorted([*(claim["name"] for claim in told["claims"]), *told["values"]])
    assert figures == sorted(figure["name"] for figure in told["figures"])

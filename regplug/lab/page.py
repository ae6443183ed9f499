"""The report of a study, and the page that tells a chapter through its studies, both as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from regplug.errors import RequestError
from regplug.statistics import number

FINDINGS_FILE = "findings.json"
REPORT_FILE = "report.md"


def report(document: Mapping[str, Any], *, level: int = 1, images: str = "") -> str:
    """Returns the report of a study.

    Args:
        document: `LabResult.document()`.
        level: Level of its heading.
        images: Folder of its figures, as a prefix of their paths.
    """
    return "\n".join(_lines(document, "#" * level, images)) + "\n"


def _lines(document: Mapping[str, Any], mark: str, images: str) -> Iterator[str]:
    yield from (f"{mark} {document['study']}", "", f"**{document['question']}** {document['setup']}", "")
    if document["text"]:
        yield from (document["text"].strip(), "")
    for figure in document["figures"]:
        file = next(name for name in figure["files"] if name.endswith(".png"))
        yield from (f"![{figure['title']}]({images}{file})", "", f"*{figure['title']}.* {figure['caption']}", "")
    source = f" Source: {document['source']}." if document["source"] else ""
    yield from (f"**{document['verdict']}** ({_seeds(document)}).{source}", "")
    yield from ("| claim | statement | expected by | verdict | statistics |", "|---|---|---|---|---|")
    for claim in document["claims"]:
        cells = (claim["text"], claim["source"], claim["verdict"], claim["why"])
        yield f"| `{claim['name']}` | {' | '.join(map(_cell, cells))} |"
    if document["values"]:
        yield from ("", *_values(document["values"].values()))
    yield from ("", f"`regplug lab run {document['study']}`", "")


def _seeds(document: Mapping[str, Any]) -> str:
    mode = "in quick mode" if document["quick"] else "in full"
    return f"{document['seeds']} seed{'s' * (document['seeds'] > 1)} {mode}"


def _values(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yields the table of the values, folded away."""
    yield from ("<details><summary>All values</summary>", "")
    yield from ("| value | mean | 95 % interval | least | greatest | n |", "|---|---|---|---|---|---|")
    for row in rows:
        ends = row["interval"]
        interval = f"{number(ends[0])} to {number(ends[1])}" if ends else ""
        figures = [number(row["mean"]), interval, number(row["min"]), number(row["max"]), _count(row)]
        yield f"| `{row['name']}` | {' | '.join(figures)} |"
    yield from ("", "</details>")


def _count(row: Mapping[str, Any]) -> str:
    """Returns how many values there are, and of how many the mean is taken if some are not finite."""
    return str(row["n"]) if row["finite"] == row["n"] else f"{row['finite']} of {row['n']}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def read_findings(folder: Path) -> list[dict[str, Any]]:
    """Returns the documents of the studies whose results lie in the folders of a folder.

    Raises:
        RequestError: There is none.
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(f"*/{FINDINGS_FILE}"))]
    if not found:
        raise RequestError(
            f"{folder} has no results of studies.", hint="Run `regplug lab run --all` first, or give their folder."
        )
    return found


def write_chapter(folder: Path, order: Sequence[str], page: Path) -> int:
    """Writes a page that tells a chapter through the results of its studies, and small copies of their figures.

    Args:
        folder: Folder with a folder for each study, as `regplug.lab.run` writes it.
        order: Names of the installed studies, in the chapter's order.
        page: The file; its figures are written into a folder with its name, `lab` for `lab.md`.

    Returns:
        Number of studies on the page.

    Raises:
        RequestError: There are no results, or the page cannot be written.
    """
    by_name = {document["study"]: document for document in read_findings(folder)}
    chosen = [by_name[name] for name in order if name in by_name]
    images = page.with_suffix("")
    try:
        images.mkdir(parents=True, exist_ok=True)
        page.write_text("\n".join(_parts(chosen, folder, images)), encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{page} cannot be written: {error}", hint="Choose another file with --out.") from error
    return len(chosen)


def _parts(documents: Sequence[dict[str, Any]], folder: Path, images: Path) -> Iterator[str]:
    yield from (_HEAD, _contents(documents))
    section = ""
    for document in documents:
        if document["section"] != section:
            section = document["section"]
            yield f"## {section}\n"
        for figure in document["figures"]:
            source = folder / document["study"] / f"{figure['name']}.png"
            copy = f"{document['study']}-{figure['name']}.png"
            _write_small(source, images / copy)
            figure["files"] = [copy]
        yield report(document, level=3, images=f"{images.name}/")


def _write_small(source: Path, target: Path) -> None:
    """Writes a figure for a page: at the width of a screen and with fewer colours, a fraction of the bytes."""
    from PIL import Image

    with Image.open(source) as picture:
        size = (max(1, picture.width * 3 // 5), max(1, picture.height * 3 // 5))
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        small.quantize(128, Image.Quantize.MAXCOVERAGE).save(target, optimize=True)


_HEAD = """# The lab: the chapter through its experiments

Each section below is one experiment. `regplug lab run NAME` repeats it with the same seeds and writes its report and
figures, `--quick` shortens it to less than a minute, and `regplug lab list` lists all of them.

Each experiment tests claims. What a claim expects comes from a reference that was computed independently, in plain
torch and NumPy over many seeds (*FACTS*, with the row), from the literature, or from a theorem. A claim

- **HOLDS** if the statistics beside it confirm it. Of ten seeds, at most one may lie outside the range of the
  reference; of more seeds, as many as an exact binomial test at the same level allows. The mean lies within four
  standard errors where the reference states a mean. A difference holds if its paired 95 % interval excludes zero.
  A range of only 20 seeds is left by one correct run in ten; where many runs in plain torch leave it more often than
  this rule allows, their mean takes its place, and the claim says so.
- **DOES NOT HOLD** if they refute it.
- is **UNDECIDED** if there are too few seeds or epochs to tell.

In the figures, bands show the spread over the seeds and grey bars the range of the reference. `--json` prints claims,
values and figures under the names that stand here; a figure's name is that of its file after the name of the study.
`regplug lab page` generates this page from the results.
"""


def _contents(documents: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| study | question | rows | verdict | from |", "|---|---|---|---|---|"]
    for each in documents:
        link = f"[{each['study']}](#{each['study']})"
        cells = (link, _cell(each["question"]), ", ".join(each["rows"]), each["verdict"], _seeds(each))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"

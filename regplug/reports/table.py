"""The table of an analysis as records, and as CSV, LaTeX, Markdown and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from regplug.errors import RequestError
from regplug.reports.outputs import check_kind
from regplug.statistics import Analysis, Interval, Study, number

Parts = Sequence[tuple[str, Analysis]]
"""Name and analysis of each group of runs; the name is empty if there is only one."""


def setting_records(parts: Parts) -> list[dict[str, Any]]:
    """Returns one record for each setting: its mean, interval and comparison with the reference."""
    return [_record(name, analysis, summary) for name, analysis in parts for summary in analysis.summaries]


def _record(name: str, analysis: Analysis, summary: Any) -> dict[str, Any]:
    found = analysis.comparison_of(summary.label)
    low, high = summary.interval or (None, None)
    difference_low, difference_high = (found.interval if found else None) or (None, None)
    return {
        **({"group": name} if name else {}),
        "setting": summary.label,
        "metric": analysis.metric,
        "mean": summary.mean,
        "low": low,
        "high": high,
        "sd": summary.sd,
        "test_rows": analysis.rows,
        "runs": summary.runs,
        "failed": summary.failed,
        "reference": analysis.reference,
        "difference": found.difference if found else None,
        "difference_low": difference_low,
        "difference_high": difference_high,
        "p": found.p_holm if found else None,
        "is_different": found.is_different if found else None,
        "is_selected": summary.label == analysis.selected,
        "mean_rank": summary.mean_rank,
        "seconds": summary.seconds,
    }


def run_records(studies: Sequence[tuple[str, Study]]) -> list[dict[str, Any]]:
    """Returns one record for each run: its setting, what varies, its seeds and metrics."""
    varied = {(name, setting.label): setting.varied for name, study in studies for setting in study.settings}
    return [
        {
            **({"group": name} if name else {}),
            "setting": run.setting,
            **varied[name, run.setting],
            **run.key._asdict(),
            "status": run.status,
            "seconds": run.seconds,
            "run_id": run.run_id,
            **run.metrics,
        }
        for name, study in studies
        for run in study.runs
    ]


def table_text(parts: Parts, kind: str) -> str:
    """Returns the table of settings as text.

    Args:
        parts: Name and analysis of each group of runs.
        kind: One of `outputs.TABLE_KINDS`. CSV and JSON have all digits; LaTeX (with the package booktabs) and Markdown
            have means with 95 % intervals.

    Raises:
        RequestError: There is no such kind.
    """
    check_kind(kind)
    if not parts:
        raise RequestError("There is no table: no run finished with the metric.")
    return _WRITERS[kind](parts)


def _csv(parts: Parts) -> str:
    records = setting_records(parts)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return stream.getvalue()


def _json(parts: Parts) -> str:
    return json.dumps(setting_records(parts), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _markdown(parts: Parts) -> str:
    return "\n".join(_markdown_table(name, analysis) for name, analysis in parts)


def _markdown_table(name: str, analysis: Analysis) -> str:
    heads = [_in_markdown(head) for head in _heads(analysis)]
    rows = [[_in_markdown(cell) for cell in row] for row in _rows(analysis)]
    lines = [f"**{_in_markdown(name)}**", ""] if name else []
    lines += [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n"


def _in_markdown(text: str) -> str:
    return re.sub(r"([\\|*_`<\[\]])", r"\\\1", text)


def _latex(parts: Parts) -> str:
    return "\n".join(_latex_table(name, analysis) for name, analysis in parts)


def _latex_table(name: str, analysis: Analysis) -> str:
    heads = " & ".join(map(_in_latex, _heads(analysis)))
    rows = [" & ".join(map(_in_latex, row)) + r" \\" for row in _rows(analysis)]
    caption = [f"% {' '.join(name.split())}"] if name else []
    columns = "l" + "r" * (len(_heads(analysis)) - 1)
    head = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", rf"{heads} \\", r"\midrule"]
    return "\n".join([*caption, *head, *rows, r"\bottomrule", r"\end{tabular}", ""])


_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    # At the start of a row, a bracket would be an argument of the line break above.
    "[": "{[}",
    "]": "{]}",
}


def _in_latex(text: str) -> str:
    if re.fullmatch(r"-?[\d.]+(e[+-]\d+)?( \[.*\])?", text):
        # A minus sign instead of a hyphen.
        return re.sub(r"-(?=[\d.])", "$-$", text)
    return "".join(_LATEX.get(letter, letter) for letter in text)


def _heads(analysis: Analysis) -> list[str]:
    compared = [f"difference from {analysis.reference}", "p"] if analysis.reference else []
    return ["setting", analysis.metric, *compared, "runs"]


def _rows(analysis: Analysis) -> list[list[str]]:
    rows = []
    for summary in analysis.summaries:
        marks = [word for word, label in _marks(analysis) if label == summary.label]
        row = [f"{summary.label} ({', '.join(marks)})" if marks else summary.label]
        row.append(_estimate(summary.mean, summary.interval, 4))
        if analysis.reference:
            found = analysis.comparison_of(summary.label)
            row.append(_estimate(found.difference, found.interval, 3) if found else "")
            row.append(_p_value(found.p_holm if found else None))
        rows.append([*row, str(summary.runs)])
    return rows


def _marks(analysis: Analysis) -> list[tuple[str, str | None]]:
    return [("reference", analysis.reference), ("chosen by validation", analysis.selected)]


def _estimate(value: float | None, interval: Interval | None, digits: int) -> str:
    if value is None:
        return ""
    ends = f" [{number(interval[0], digits)}, {number(interval[1], digits)}]" if interval else ""
    return number(value, digits) + ends


def _p_value(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.2g}"


_WRITERS: Mapping[str, Callable[[Parts], str]] = {"csv": _csv, "latex": _latex, "markdown": _markdown, "json": _json}

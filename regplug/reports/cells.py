"""The rows of a report's tables, as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from regplug.reports.table import Parts
from regplug.statistics import LEAST_BOOTSTRAPPED, Analysis, Comparison, Interval, Summary, number, p_text

if TYPE_CHECKING:
    from markupsafe import Markup

NONE = "–"  # noqa: RUF001 - the dash for a missing value in a table

MOST_WHOLE_LETTERS = 30
"""Longer parts of a name may be broken inside."""

_PARTS = re.compile(r"(?<=[+, ])")
_INNER = re.compile(r"(?<=[:=./_])")


def soft(name: str) -> Markup:
    """Returns a name as HTML that a browser breaks only between its parts."""
    from markupsafe import Markup, escape

    parts = (_INNER.split(part) if len(part) > MOST_WHOLE_LETTERS else [part] for part in _PARTS.split(name))
    return Markup("<wbr>").join(escape(piece) for part in parts for piece in part if piece)


def named(text: str, labels: Iterable[str]) -> Markup:
    """Returns a sentence as HTML in which the names of settings are not broken if they fit on a line."""
    from markupsafe import Markup, escape

    known = sorted({label for label in labels if len(label) > 1}, key=len, reverse=True)
    if not known:
        return escape(text)
    names = re.compile(rf"(?<![\w.:=+-])({'|'.join(map(re.escape, known))})(?![\w:=+-])([.,;?)]?)")
    parts = names.split(text)
    span = Markup('<span class="n">{}{}</span>')
    marked = [
        escape(between) + span.format(soft(name), after)
        for between, name, after in zip(parts[::3], parts[1::3], parts[2::3], strict=False)
    ]
    return Markup("").join([*marked, escape(parts[-1])])


def row_of(analysis: Analysis, place: int, summary: Summary) -> dict[str, Any]:
    """Returns the cells of one setting.

    Args:
        analysis: The analysis.
        place: Its place in the table, from 1.
        summary: Its summary.
    """
    return {
        "place": str(place) if summary.n else NONE,
        "label": summary.label,
        "is_reference": summary.label == analysis.reference,
        "is_selected": summary.label == analysis.selected,
        "mean": _text(summary.mean),
        "interval": _interval(summary.interval),
        "over_seeds": _interval(summary.t_interval),
        "bootstrap": _bootstrap(summary),
        "is_guessing": summary.is_guessing,
        "sd": _text(summary.sd, 2),
        "mean_rank": _text(summary.mean_rank, 3),
        "seconds": _text(summary.seconds, 3),
        "runs": str(summary.runs),
        "failed": summary.failed,
        **_comparison_cells(analysis.comparison_of(summary.label)),
    }


def html_table(name: str, verdict: str, parts: Parts) -> str:
    """Returns a short table for a notebook, with escaped text.

    Args:
        name: Its heading.
        verdict: The main conclusion.
        parts: Name and analysis of each group of runs.
    """
    from markupsafe import Markup

    cell = Markup('<td style="text-align:{}">{}</td>')
    lines = [Markup("<p><b>{}</b><br>{}</p>").format(name, verdict)]
    for title, analysis in parts:
        rows = [row_of(analysis, place, summary) for place, summary in enumerate(analysis.summaries, start=1)]
        heads = ["setting", analysis.metric, *(["difference", "verdict"] if analysis.reference else [])]
        body = [
            [row["label"], f"{row['mean']} {row['interval']}"]
            + ([f"{row['difference']} {row['difference_interval']}", row["says"]] if analysis.reference else [])
            for row in rows
        ]
        lines += [Markup("<p>{}</p>").format(title)] if title else []
        lines.append(
            Markup("<table><thead><tr>{}</tr></thead><tbody>").format(
                Markup("").join(Markup("<th>{}</th>").format(head) for head in heads)
            )
        )
        lines += [
            Markup("<tr>{}</tr>").format(
                Markup("").join(cell.format("right" if at else "left", text) for at, text in enumerate(row))
            )
            for row in body
        ]
        lines.append(Markup("</tbody></table>"))
    return "\n".join(lines)


def _bootstrap(summary: Summary) -> str:
    is_left_out = summary.bootstrap_interval is None and 1 < summary.n < LEAST_BOOTSTRAPPED
    return f"from {LEAST_BOOTSTRAPPED} on" if is_left_out else _interval(summary.bootstrap_interval)


def _comparison_cells(comparison: Comparison | None) -> dict[str, str]:
    if comparison is None:
        return {**dict.fromkeys(("difference", "p", "wilcoxon", "effect", "says"), NONE), "difference_interval": ""}
    p_value = p_text(comparison.p_holm).removeprefix("p ").removeprefix("= ")
    return {
        "difference": _text(comparison.difference, 3),
        "difference_interval": "" if comparison.interval is None else _interval(comparison.interval, 3),
        "p": p_value if comparison.p_holm is not None else NONE,
        "wilcoxon": _text(comparison.wilcoxon_p, 2),
        "effect": _text(comparison.d_z, 2),
        "says": _says(comparison),
    }


def _says(comparison: Comparison) -> str:
    if comparison.outcome != "tested":
        return {"too few": "too few pairs", "constant": "constant"}.get(comparison.outcome, comparison.outcome)
    if not comparison.is_different:
        return "no detectable difference"
    return "better" if comparison.is_first_better else "worse"


def _text(value: float | None, digits: int = 4) -> str:
    return NONE if value is None else number(value, digits)


def _interval(interval: Interval | None, digits: int = 4) -> str:
    return NONE if interval is None else f"[{number(interval[0], digits)}, {number(interval[1], digits)}]"

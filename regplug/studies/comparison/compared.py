"""The result of a comparison of tracked runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from regplug import statistics
from regplug.errors import RequestError
from regplug.reports import figures
from regplug.reports.curves import Curves
from regplug.reports.drawing import Drawing
from regplug.reports.table import Parts
from regplug.studies.comparison.comparable import Group
from regplug.studies.presenting import Presented
from regplug.studies.report_facts import Trained, facts_of_runs
from regplug.tracking import RunInfo


@dataclass(frozen=True, kw_only=True)
class Part:
    """Runs that can be ranked together, and their analysis.

    Args:
        name: A description that distinguishes the part from the others.
        group: The runs with their data.
        study: Settings and runs.
        question: How they are compared.
        compared: The settings that are compared: each is one of the study's, or a group of them.
        analysis: Their analysis.
        runs: The runs as tracked.
        curves: Their learning curves, by metric and setting that is compared.
        notes: Notes on which runs were used.
    """

    name: str
    group: Group
    study: statistics.Study
    question: statistics.Question
    compared: statistics.Study
    analysis: statistics.Analysis
    runs: tuple[RunInfo, ...]
    curves: Curves
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """Returns the part as JSON."""
        said = self.analysis.document()
        return {**said, "name": self.name, "notes": [*said["notes"], *self.notes]}

    def drawings(self) -> list[Drawing]:
        """Returns the figures of its report."""
        return figures.drawings(self.compared, self.analysis, self.curves, whole=self.study)

    def facts(self) -> dict[str, str]:
        """Returns the header of its report: what was trained, on which rows, and how often."""
        sizes = {run.run_id: facts.sizes for run, facts in self.group.facts}
        keys = {run.run_id: run.key for run in self.study.runs}
        known = [(run.params, run.run_id, keys[run.run_id]) for run in self.runs if run.run_id in keys]
        return facts_of_runs(
            [
                Trained(
                    dataset=params.get("dataset", ""),
                    model=params.get("model", ""),
                    epochs=params.get("epochs", ""),
                    seed=key.seed,
                    data_seed=key.data_seed,
                    fold=None if key.fold is None else (key.fold, key.repeat),
                    sizes=sizes.get(run_id, {}),
                )
                for params, run_id, key in known
            ]
        )

    def run_documents(self) -> list[dict[str, Any]]:
        """Returns its runs as JSON."""
        return [
            {
                "run_id": run.run_id,
                "group": self.name,
                "setting": run.setting,
                "status": run.status,
                "no_better_than_guessing": run.is_guessing,
                **run.key._asdict(),
            }
            for run in self.study.runs
        ]


@dataclass(frozen=True, kw_only=True, repr=False)
class Compared(Presented):
    """The result of a comparison.

    Args:
        name: The names of the compared studies or experiments.
        parts: One for each group of runs that can be ranked together: usually one.
        ranks: Mean ranks over datasets, if the parts are datasets that share settings.
        verdict: The main conclusion.
        notes: Why there are several parts, and which runs were left out.
        tracking_uri: The store of the runs.
        compare_url: MLflow's compare page for the runs, as served by `regplug ui`.
        report: The HTML report.
    """

    name: str
    parts: tuple[Part, ...]
    ranks: statistics.Ranks | None
    verdict: str
    notes: tuple[str, ...]
    tracking_uri: str
    compare_url: str
    report: str

    def analyses(self) -> Parts:
        """See `Presented.analyses`."""
        return [(part.name if len(self.parts) > 1 else "", part.analysis) for part in self.parts]

    def studies(self) -> Sequence[tuple[str, statistics.Study]]:
        """See `Presented.studies`."""
        return [(part.name if len(self.parts) > 1 else "", part.study) for part in self.parts]

    def drawings(self) -> list[Drawing]:
        """See `Presented.drawings`; with several parts, the names start with the number of the part."""
        if len(self.parts) == 1:
            return self.parts[0].drawings()
        ranks = self.ranks
        found = [figures.ranks_drawing(ranks, ranks.critical_difference)] if ranks and ranks.critical_difference else []
        return found + [
            replace(drawing, name=f"{at}-{drawing.name}", title=f"{part.name}: {drawing.title}")
            for at, part in enumerate(self.parts, start=1)
            for drawing in part.drawings()
        ]

    @property
    def _heading(self) -> tuple[str, str]:
        return self.name, self.verdict

    @property
    def study(self) -> statistics.Study:
        """Settings and runs, if all can be ranked together.

        Raises:
            RequestError: They cannot; each of `parts` has its own.
        """
        return self._only.study

    @property
    def analysis(self) -> statistics.Analysis:
        """The analysis, if all runs can be ranked together.

        Raises:
            RequestError: They cannot; each of `parts` has its own.
        """
        return self._only.analysis

    @property
    def _only(self) -> Part:
        if len(self.parts) > 1:
            raise RequestError(
                f"{self.name} has {len(self.parts)} groups of runs that are not ranked together: "
                f"{'; '.join(part.name for part in self.parts)}.",
                hint="Each of .parts has its own study and analysis.",
            )
        return self.parts[0]

    def document(self) -> dict[str, Any]:
        """Returns the comparison as JSON; with a single part, its analysis is also at the top level."""
        groups = [part.document() for part in self.parts]
        alone = groups[0] if len(groups) == 1 else {"ranks": self.ranks and self.ranks.document(), "notes": []}
        return {
            **alone,
            "name": self.name,
            "verdict": self.verdict,
            "tracking_uri": self.tracking_uri,
            "compare_url": self.compare_url,
            "notes": [*alone["notes"], *self.notes],
            "groups": groups,
            "runs": [document for part in self.parts for document in part.run_documents()],
        }

    def write(self, path: Path) -> None:
        """Writes the report.

        Raises:
            RequestError: The file cannot be written.
        """
        try:
            path.write_text(self.report, encoding="utf-8")
        except OSError as error:
            raise RequestError(f"The report {path} cannot be written: {error}", hint="Choose another --out.") from error


def verdict_of_parts(parts: Sequence[Part], ranks: statistics.Ranks | None) -> str:
    """Returns the main conclusion for several parts: their number, and the ranks over datasets if there are any."""
    start = f"{len(parts)} groups of runs that cannot be ranked together; each has its own table."
    if ranks is None:
        return start
    ordered = sorted(ranks.mean_ranks.items(), key=lambda pair: pair[1])
    told = ", ".join(f"{label} {statistics.number(mean, 3)}" for label, mean in ordered)
    apart = statistics.number(ranks.critical_difference, 3)
    return (
        f"{start} Mean ranks over {ranks.n} datasets: {told}; ranks nearer than {apart} are not told apart (Nemenyi)."
    )

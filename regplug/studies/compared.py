"""What a comparison of tracked runs came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regplug import statistics
from regplug.errors import RequestError
from regplug.studies.comparable import Group
from regplug.tracking import RunInfo


@dataclass(frozen=True, kw_only=True)
class Part:
    """Runs that can be ranked together, and what they say.

    Args:
        name: What tells them from the other parts.
        group: The same runs with their data.
        study: Settings and runs.
        analysis: What they say.
        runs: The runs as they are tracked.
        notes: How they were gathered.
    """

    name: str
    group: Group
    study: statistics.Study
    analysis: statistics.Analysis
    runs: tuple[RunInfo, ...]
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """The part as JSON knows it."""
        said = self.analysis.document()
        return {**said, "name": self.name, "notes": [*said["notes"], *self.notes]}

    def run_documents(self) -> list[dict[str, Any]]:
        """Its runs as JSON knows them."""
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


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What a comparison came to.

    Args:
        name: Of what was compared.
        parts: One for each group of runs that can be ranked together: most often one.
        ranks: Mean ranks over datasets, where the parts are datasets that share settings.
        verdict: The headline.
        notes: Why there are several parts, and what was left out.
        tracking_uri: Where the runs are tracked.
        compare_url: MLflow's compare page for them, where `regplug ui` serves it.
        report: The page, as HTML.
    """

    name: str
    parts: tuple[Part, ...]
    ranks: statistics.Ranks | None
    verdict: str
    notes: tuple[str, ...]
    tracking_uri: str
    compare_url: str
    report: str

    @property
    def study(self) -> statistics.Study:
        """Settings and runs, where all can be ranked together.

        Raises:
            RequestError: They cannot; each of `parts` has its own.
        """
        return self._only.study

    @property
    def analysis(self) -> statistics.Analysis:
        """What the runs say, where all can be ranked together.

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
                hint="Each of .parts has a study and an analysis of its own.",
            )
        return self.parts[0]

    def document(self) -> dict[str, Any]:
        """The comparison as JSON knows it; the analysis of an only part stands at the top as well."""
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
    """Returns the headline over several parts: how many there are, and the ranks over datasets where there are any."""
    start = f"{len(parts)} groups of runs that cannot be ranked together; each has a table of its own."
    if ranks is None:
        return start
    ordered = sorted(ranks.mean_ranks.items(), key=lambda pair: pair[1])
    told = ", ".join(f"{label} {statistics.number(mean, 3)}" for label, mean in ordered)
    apart = statistics.number(ranks.critical_difference, 3)
    return (
        f"{start} Mean ranks over {ranks.n} datasets: {told}; ranks nearer than {apart} are not told apart (Nemenyi)."
    )

"""Statistics of the differences between settings of a study: intervals, paired tests, ranks and conclusions.

Functions take numbers and return frozen dataclasses; each has a `document()` for JSON.
"""

from regplug.statistics.analysis import Analysis, analyse, select
from regplug.statistics.metrics import check_direction, is_lower_better
from regplug.statistics.paired import Comparison, compare_pair, holm, paired_t
from regplug.statistics.question import Question, answer
from regplug.statistics.ranks import Ranks, critical_difference, rank, rank_over_datasets
from regplug.statistics.records import PairKey, Setting, Study, StudyRun
from regplug.statistics.summary import LEAST_BOOTSTRAPPED, Interval, Summary, bootstrap_interval, summarise, t_interval
from regplug.statistics.units import Units, find_units
from regplug.statistics.words import comparison_sentence, number, p_text, span

__all__ = [
    "LEAST_BOOTSTRAPPED",
    "Analysis",
    "Comparison",
    "Interval",
    "PairKey",
    "Question",
    "Ranks",
    "Setting",
    "Study",
    "StudyRun",
    "Summary",
    "Units",
    "analyse",
    "answer",
    "bootstrap_interval",
    "check_direction",
    "compare_pair",
    "comparison_sentence",
    "critical_difference",
    "find_units",
    "holm",
    "is_lower_better",
    "number",
    "p_text",
    "paired_t",
    "rank",
    "rank_over_datasets",
    "select",
    "span",
    "summarise",
    "t_interval",
]

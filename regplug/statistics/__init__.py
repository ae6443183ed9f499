"""Statistics of the differences between settings of a study: intervals, paired tests, ranks and conclusions.

Functions take numbers and return frozen dataclasses; each has a `document()` for JSON.
"""

from regplug.config.directions import check_direction, is_lower_better
from regplug.statistics.analysis import Analysis, analyse, select
from regplug.statistics.factorial import Effect, Factor, effect_sentence, find_effects, find_factors
from regplug.statistics.nesting import Choice, average, choose_best
from regplug.statistics.paired import Comparison, compare_pair, holm, paired_t
from regplug.statistics.question import Answer, Question, answer
from regplug.statistics.ranks import Ranks, critical_difference, rank, rank_over_datasets
from regplug.statistics.records import PairKey, Setting, Study, StudyRun
from regplug.statistics.rows import ROW_METRICS, RowTable, RowValues, find_rows
from regplug.statistics.summary import LEAST_BOOTSTRAPPED, Summary, bootstrap_interval, summarise, t_interval
from regplug.statistics.two_way import Interval, TwoWay, analyse_table
from regplug.statistics.units import Units, find_units
from regplug.statistics.words import choice_sentence, comparison_sentence, number, p_text, span

__all__ = [
    "LEAST_BOOTSTRAPPED",
    "ROW_METRICS",
    "Analysis",
    "Answer",
    "Choice",
    "Comparison",
    "Effect",
    "Factor",
    "Interval",
    "PairKey",
    "Question",
    "Ranks",
    "RowTable",
    "RowValues",
    "Setting",
    "Study",
    "StudyRun",
    "Summary",
    "TwoWay",
    "Units",
    "analyse",
    "analyse_table",
    "answer",
    "average",
    "bootstrap_interval",
    "check_direction",
    "choice_sentence",
    "choose_best",
    "compare_pair",
    "comparison_sentence",
    "critical_difference",
    "effect_sentence",
    "find_effects",
    "find_factors",
    "find_rows",
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

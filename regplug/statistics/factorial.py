"""Main effects and interactions of factors with two levels each, from the same paired comparisons as everything else.

An effect of the factors in a set S is the difference between two halves of the settings: those in which an even number
of the factors of S is at its low level, and the others. Times 2 ** (|S| - 1) it is the mean difference that one factor
makes; the difference of differences that two make; and so on. So with two factors the interaction is
(both - first) - (second - none): how much more the two do together than the sum of what each does alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Any

from regplug.statistics.nesting import average
from regplug.statistics.paired import Comparison, compare_pair, correct
from regplug.statistics.records import Setting, Study
from regplug.statistics.rows import find_rows
from regplug.statistics.two_way import Interval
from regplug.statistics.units import Units
from regplug.statistics.words import number, p_text, span

MOST_FACTORS = 6

_PLUS, _MINUS = "plus", "minus"


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A factor with two levels.

    Args:
        name: Its name, such as `dropout` or `lr`.
        low: Its low level, such as `off`.
        high: Its high level, such as `on`.
        is_high: Whether each setting has the high level.
    """

    name: str
    low: str
    high: str
    is_high: Mapping[str, bool]

    @property
    def change(self) -> str:
        """The change from its low to its high level in words."""
        return self.name if (self.low, self.high) == ("off", "on") else f"{self.name} {self.high} instead of {self.low}"


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A main effect or an interaction.

    Args:
        factors: The names of its factors; one for a main effect.
        subject: What has the effect, in words.
        comparison: Its test. `difference` and `interval` are the effect; Holm's correction is over all effects.
    """

    factors: tuple[str, ...]
    subject: str
    comparison: Comparison

    @property
    def name(self) -> str:
        """Its name, such as `dropout x l2`."""
        return " x ".join(self.factors)

    def document(self) -> dict[str, Any]:
        """Returns the effect as JSON."""
        told = self.comparison.document()
        kept = {name: value for name, value in told.items() if name not in ("first", "second")}
        return {"factors": list(self.factors), **kept, "sentence": effect_sentence(self)}


def find_factors(settings: Sequence[Setting]) -> tuple[Factor, ...]:
    """Returns the factors of a complete factorial of two levels each; none if the settings are something else.

    Each part of the regularizers, such as `l2` in `l2+dropout`, is a factor that is on or off. Each further axis with
    two values is a factor.
    """
    factors = [factor for factor in _candidates(settings) if len(set(factor.is_high.values())) == 2]
    if not 2 <= len(factors) <= MOST_FACTORS or len(settings) != 2 ** len(factors):
        return ()
    levels = {tuple(factor.is_high[setting.label] for factor in factors) for setting in settings}
    return tuple(factors) if levels == set(product((False, True), repeat=len(factors))) else ()


def _candidates(settings: Sequence[Setting]) -> list[Factor]:
    found = []
    for name in dict.fromkeys(name for setting in settings for name in setting.varied):
        values = {setting.label: setting.varied.get(name) for setting in settings}
        if name == "reg":
            parts = {label: str(value).split("+") for label, value in values.items()}
            every = dict.fromkeys(part.strip() for own in parts.values() for part in own)
            found += [
                Factor(name=part, low="off", high="on", is_high={label: part in own for label, own in parts.items()})
                for part in every
                if part != "none"
            ]
        else:
            by_order = {_order(value): value for value in values.values()}  # a list, such as layers, has no hash
            levels = [by_order[order] for order in sorted(by_order)]
            high = {label: _order(value) == _order(levels[-1]) for label, value in values.items()}
            is_two = len(levels) == 2
            found += [Factor(name=name, low=_text(levels[0]), high=_text(levels[1]), is_high=high)] if is_two else []
    return found


def _text(value: Any) -> str:
    return "none" if value is None else str(value)


def _order(value: Any) -> tuple[bool, float, str]:
    is_number = isinstance(value, int | float)
    return not is_number, float(value) if is_number else 0.0, str(value)


def find_effects(
    study: Study, metric: str, factors: Sequence[Factor], units: Units, *, is_lower_better: bool
) -> tuple[Effect, ...]:
    """Returns all main effects, then all interactions, with Holm's correction over all of them.

    Args:
        study: The settings of the factorial and their runs.
        metric: The metric.
        factors: The result of `find_factors`.
        units: The units that count as one observation.
        is_lower_better: Whether lower values of the metric are better.
    """
    sets = [of for size in range(1, len(factors) + 1) for of in combinations(factors, size)]
    found = [_effect(study, metric, of, units, is_lower_better) for of in sets]
    corrected = correct([effect.comparison for effect in found])
    return tuple(replace(effect, comparison=own) for effect, own in zip(found, corrected, strict=True))


def _effect(study: Study, metric: str, factors: Sequence[Factor], units: Units, is_lower_better: bool) -> Effect:
    halves = {
        label: _MINUS if sum(not factor.is_high[label] for factor in factors) % 2 else _PLUS for label in study.labels
    }
    averaged = average(study, halves)
    rows, _ = find_rows(averaged, metric, units)
    found = compare_pair(_PLUS, _MINUS, averaged.values(metric), units, is_lower_better=is_lower_better, rows=rows)
    return Effect(
        factors=tuple(factor.name for factor in factors),
        subject=" and ".join(factor.change for factor in factors),
        comparison=_scaled(found, 2.0 ** (len(factors) - 1)),
    )


def _scaled(comparison: Comparison, by: float) -> Comparison:
    def scaled(interval: Interval | None) -> Interval | None:
        return None if interval is None else (by * interval[0], by * interval[1])

    return replace(
        comparison,
        difference=None if comparison.difference is None else by * comparison.difference,
        interval=scaled(comparison.interval),
        pairs_interval=scaled(comparison.pairs_interval),
    )


def effect_sentence(effect: Effect) -> str:
    """Returns an effect as a sentence in plain English."""
    comparison = effect.comparison
    told = f"{span(comparison)}, {p_text(comparison.p_holm)}"
    if comparison.outcome == "identical":
        return f"{effect.subject}: no difference in any pair."
    if comparison.outcome != "tested":
        return f"{effect.subject}: {number(comparison.difference, 3)}, which could not be tested."
    if len(effect.factors) == 1:
        found = "better" if comparison.is_first_better else "worse"
        return f"{effect.subject}, on average: {found if comparison.is_different else 'no detectable effect'} ({told})."
    if len(effect.factors) > 2:
        return f"{effect.subject}: {'' if comparison.is_different else 'no detectable '}interaction ({told})."
    if not comparison.is_different:
        return f"{effect.subject}: no detectable deviation from the sum of their effects ({told})."
    more = "more" if comparison.is_first_better else "less"
    return f"{effect.subject}: together they do {more} than the sum of their effects ({told})."

"""Count tables: a survey that comes as counts by persona and option instead of as respondents."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from causal.countrows import CountRows, read_rows
from causal.counts import Counts, count
from causal.encoding import MISSING
from causal.errors import InputError
from causal.framecounts import FrameCounts
from causal.grid import subsets
from causal.largefiles import count_large_file, is_large
from causal.study import Study
from causal.survey import Survey, read_survey

SLACK = 1e-6
"""Respondents by which sums of p * n may miss a whole number."""


@dataclass(frozen=True)
class CountTable:
    """Counts, encoded against a study's codebook.

    Attributes
    ----------
    study : Study
        The codebook.
    countries : tuple of str
        Country codes, sorted.
    rows : CountRows
        One row per country, question, persona and option.
    data_hash : str
        SHA-256 of what was read.
    left_out : mapping of str to int
        Rows of each country that ``survey.keep`` leaves out.
    """

    study: Study
    countries: tuple[str, ...]
    rows: CountRows
    data_hash: str
    without_country: int = 0
    declared_missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    missing_answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    def counts_for(self, attributes: Sequence[str]) -> Counts:
        """Return the counts from which personas with these attributes specified are summed.

        A table may hold personas of several granularities, which overlap. By country and question, the rows
        that specify exactly these attributes are taken; if there are none, those that specify the fewest
        more. Where there are neither, nothing is known and nothing is returned.
        """
        rows = self.rows.select(self._chosen(attributes))
        shape = (len(self.countries), *(len(item.levels) + 1 for item in self.study.attributes.values()))
        persona = np.ravel_multi_index((rows.country, *(rows.levels.T + 1)), shape)  # level -1 takes the first place
        held, inverse = np.unique(persona, return_inverse=True)
        country, *levels = np.unravel_index(held, shape)
        options = max(len(question.options) for question in self.study.questions.values())
        n = np.zeros((len(held), len(self.study.questions), options + 1))  # the last is for no answer
        np.add.at(n, (inverse, rows.question, rows.option), rows.count)
        asked = n.sum(axis=-1) if (self.rows.option == MISSING).any() else None
        n = n[..., :options]
        return Counts(country, np.stack(levels, axis=1) - 1, n, n.copy(), n.copy(), self._sample(), asked=asked)

    def holds(self, attributes: Sequence[str]) -> bool:
        """Return whether personas with these attributes specified can be made from any row."""
        return bool(self._chosen(attributes).any())

    @property
    def tells_missing(self) -> bool:
        """Whether any row counts people without an answer or with an unknown level."""
        unknown = (self.rows.levels == MISSING) & self.rows.specified
        return bool((self.rows.option == MISSING).any() or unknown.any())

    @property
    def respondents(self) -> int:
        """Respondents of the question that most were counted in: a table tells no more."""
        return round(self._totals().max())

    @property
    def unanswered(self) -> np.ndarray:
        """Share of the respondents that each question lacks."""
        return 1 - self._totals(self.rows.option != MISSING) / self._totals().max()

    @property
    def unknown(self) -> np.ndarray:
        """Share of respondents whose level is coded as missing, by attribute."""
        unknown = (self.rows.levels == MISSING) & self.rows.specified
        largest = int(self._totals().argmax())
        return np.array([self._totals(unknown[:, j])[largest] for j in range(unknown.shape[1])]) / self._totals().max()

    def _sample(self) -> np.ndarray:
        """Return the respondents of each country, those of the question that most were counted in."""
        rows = self.rows.select(self._chosen(()))
        totals = np.zeros((len(self.countries), len(self.study.questions)))
        np.add.at(totals, (rows.country, rows.question), rows.count)
        return totals.max(axis=1)

    def _totals(self, which: np.ndarray | None = None) -> np.ndarray:
        """Return the people counted once, by question."""
        chosen = self._chosen(()) if which is None else self._chosen(()) & which
        rows = self.rows.select(chosen)
        return np.bincount(rows.question, rows.count, minlength=len(self.study.questions))

    def _chosen(self, attributes: Sequence[str]) -> np.ndarray:
        rows = self.rows
        wanted = np.isin(list(self.study.attributes), list(attributes))
        patterns, pattern = rows.patterns()
        none = len(patterns)
        order = np.argsort(patterns.sum(axis=1), kind="stable")
        rank = np.full(none, none)
        rank[order] = np.arange(none)
        rank = np.where(patterns[:, wanted].all(axis=1), rank, none)
        best = np.full((len(self.countries), len(self.study.questions)), none)
        np.minimum.at(best, (rows.country, rows.question), rank[pattern])
        return (rank[pattern] < none) & (rank[pattern] == best[rows.country, rows.question])


def read_count_table(study: Study, data: pd.DataFrame | None = None) -> CountTable:
    """Read the study's source, or a given data frame, as a count table.

    Parameters
    ----------
    study : Study
        ``survey.counts`` names the columns of a CSV, TSV or Parquet file; those of a JSON file are known.
    data : DataFrame, optional
        The table, in place of ``survey.source``.

    Returns
    -------
    CountTable

    Raises
    ------
    InputError
        The table cannot be read, has a row that is no count, counts a cell twice, lacks a question, or
        holds no persona of any granularity that the study asks for.
    """
    countries, rows, data_hash = read_rows(study, data)
    table = CountTable(study, countries.names, rows, data_hash, left_out=countries.left_out)
    _refuse_overlap(table)
    if not any(table.holds(subset) for subset in subsets(study) if subset):
        raise InputError(
            f"the count table holds {_held(table)}; the study asks for granularity "
            f"{', '.join(map(str, study.granularities))}, which cannot be made from these. Set effects.granularity to "
            "what the table holds, or remove attributes from the study"
        )
    return table


AnySurvey = Survey | CountTable | FrameCounts
"""A survey in any form: respondents, counts that were published, counts that an engine made."""


def read_any(study: Study) -> AnySurvey:
    """Read the study's source: counts, respondents, or a large file's respondents as counts."""
    if study.survey.counted:
        return read_count_table(study)
    return count_large_file(study) if is_large(study) else read_survey(study)


def counter(source: AnySurvey) -> Callable[[Sequence[str]], Counts]:
    """Return a function from the specified attributes to the counts that their personas are summed from."""
    if isinstance(source, CountTable):
        return source.counts_for
    counts = source.counts if isinstance(source, FrameCounts) else count(source)
    return lambda attributes: counts


def _held(table: CountTable) -> str:
    names = np.array(list(table.study.attributes))
    patterns, _ = table.rows.patterns()
    return "personas that specify " + "; ".join(", ".join(names[pattern]) or "nothing" for pattern in patterns)


def _refuse_overlap(table: CountTable) -> None:
    """Refuse coarse rows that count fewer people than the finer rows inside them."""
    rows = table.rows
    patterns, pattern = rows.patterns()
    for i, coarse in enumerate(patterns):
        for j, fine in enumerate(patterns):
            if i != j and (fine >= coarse).all():
                _compare(table, rows.select(pattern == i), rows.select(pattern == j), coarse)


def _compare(table: CountTable, coarse: CountRows, fine: CountRows, specified: np.ndarray) -> None:
    known = fine.select((fine.levels[:, specified] != MISSING).all(axis=1))
    totals = []
    for rows in (coarse, known):
        keys = {"country": rows.country, "question": rows.question}
        keys |= {str(j): rows.levels[:, j] for j in np.flatnonzero(specified)}
        totals.append(pd.DataFrame(keys | {"n": rows.count}).groupby(list(keys))["n"].sum())
    both = pd.concat(totals, axis=1, keys=["coarse", "fine"], join="inner")
    short = both[both["coarse"] < both["fine"] - SLACK]
    if len(short):
        first = short.iloc[0]
        country, question, *_ = short.index[0]
        left_out = [name for name, is_in in zip(table.study.attributes, specified, strict=True) if not is_in]
        raise InputError(
            f"the count table's rows without {', '.join(left_out)} count fewer people than the rows with more "
            f"attributes (country {table.countries[country]}, question {list(table.study.questions)[question]}: "
            f"{first['coarse']:.10g} against {first['fine']:.10g}). An empty attribute means 'not specified', that is "
            "everybody; where it means 'unknown', write a code and list it under the attribute's `missing`"
        )

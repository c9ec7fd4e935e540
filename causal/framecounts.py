"""Respondents that stay where they are: counted by the engine that holds them, through narwhals.

One aggregation per question runs on the raw codes, and only its groups come back. They are encoded as respondents
are, each standing for as many as it counts. Groups include those without an answer, so every question's groups hold
everybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import sparse

from causal.codes import code_key
from causal.counts import Counts, PsuSums, occurring_cells
from causal.design import Design, declared_design, design_ids
from causal.encoding import MISSING, compound_values, level_spans, rows_by_code
from causal.errors import InputError
from causal.grid import option_counts
from causal.readers import absent_columns
from causal.sections import ConstantCountry
from causal.study import Study
from causal.survey import (
    WEIGHTS,
    answer_indices,
    kept_rows,
    raise_misfits,
    silent_share,
    study_columns,
    survey_countries,
    survey_levels,
    unusable_weights,
)

if TYPE_CHECKING:
    import narwhals as nw


@dataclass(frozen=True)
class FrameCounts:
    """What a frame's respondents add up to, with everything that a `causal.survey.Survey` says about them all.

    Attributes
    ----------
    study : Study
        The codebook.
    countries : tuple of str
        Country codes, sorted.
    counts : Counts
        Those of the same respondents in memory.
    respondents, without_country : int
        Respondents with a country, and those left out because theirs is missing.
    unanswered : ndarray, shape (questions,)
        Share of respondents without an answer, where anybody of their country has one.
    unknown : ndarray, shape (attributes,)
        Share of respondents whose level is unknown.
    data_hash : str
        SHA-256 of the counts, or of the file that they were made from.
    design : Design, optional
        Strata and PSUs; its ``psu`` has one entry for each PSU and cell.
    missing_answers, spans, left_out
        As in `causal.survey.Survey`.
    """

    study: Study
    countries: tuple[str, ...]
    counts: Counts
    respondents: int
    without_country: int
    unanswered: np.ndarray
    unknown: np.ndarray
    data_hash: str
    design: Design | None = None
    tells_missing: bool = True
    declared_missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    missing_answers: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    spans: Mapping[str, tuple[tuple[float, float] | None, ...]] = field(default_factory=dict)
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def country(self) -> np.ndarray:
        """Country of each cell that occurs."""
        return self.counts.country

    @property
    def levels(self) -> np.ndarray:
        """Levels of each cell that occurs, shape (cells, attributes)."""
        return self.counts.levels


def count_frame(study: Study, frame: Any, data_hash: str | None = None) -> FrameCounts:
    """Count the respondents of any frame that narwhals knows; they are not brought into memory.

    Parameters
    ----------
    study : Study
        ``survey.source`` is not read.
    frame : DuckDB relation, PySpark, polars or other frame
        Respondents as rows, with codes as in a file. It is not changed. It is read once per question, so one
        that is expensive to make should be kept by its engine (``cache()`` in Spark).
    data_hash : str, optional
        A name for the data; by default a SHA-256 of what was counted.

    Returns
    -------
    FrameCounts

    Raises
    ------
    InputError
        As by `causal.survey.read_survey`; or the study needs the respondents one by one.
    """
    if reason := needs_respondents(study):
        raise InputError(
            f"{reason}, so a frame outside memory cannot be counted; bring the survey into memory as a pandas "
            "DataFrame and give it to causal.read_survey"
        )
    people = _selected(study, frame)
    problems: list[str] = []
    everybody, tallies, options = None, [], option_counts(study)
    for name in study.questions:
        groups = _groups(study, name, people)
        answers = answer_indices(study, name, groups.codes, problems, groups.n)
        found = _everybody(study, groups, problems)
        if problems or found is None:
            continue
        everybody = everybody or found
        if not everybody.same_as(found):
            raise InputError(
                f"question {name}: the frame's respondents are not those of the question before; it changes from one "
                "reading to the next, so let its engine keep it (cache() in Spark)"
            )
        tallies.append(_tally(found, groups, study.questions[name].column or name, answers, int(options.max())))
    raise_misfits(list(dict.fromkeys(problems)))
    assert everybody is not None
    return _together(study, everybody, tallies, data_hash)


def needs_respondents(study: Study) -> str | None:
    """Return why counts are not enough for a study, or None if they are."""
    if adjusting := study.effects.adjusting:
        return f"effects.estimator {', '.join(adjusting)} adjusts for what each respondent is like"
    if study.fit.held_out.respondents:
        return "fit.held_out.respondents deals the respondents out"
    if study.survey.id:
        return "survey.id is looked at respondent by respondent"
    if study.survey.strata and not study.survey.psu:
        return "survey.strata without survey.psu makes every respondent a sampling unit"
    return None


@dataclass(frozen=True)
class _Groups:
    """One row per combination of codes: respondents, sums of weights and of their squares, usable weights."""

    codes: pd.DataFrame
    n: np.ndarray
    w: np.ndarray
    w2: np.ndarray
    usable: np.ndarray


@dataclass(frozen=True)
class _Everybody:
    """Where one question's groups belong; what all questions share comes first."""

    countries: tuple[str, ...]
    cells: np.ndarray  # country and levels of each cell
    n: np.ndarray  # respondents of each cell, with or without an answer
    without_country: int
    left_out: Mapping[str, int]
    spans: Mapping[str, tuple[tuple[float, float] | None, ...]]
    design: Design | None
    parts: np.ndarray  # the PSUs' parts in the cells, as PSU * cells + cell
    kept: np.ndarray  # whether each group has a country
    cell: np.ndarray  # of each kept group
    part: np.ndarray  # of each kept group

    def same_as(self, other: _Everybody) -> bool:
        return np.array_equal(self.parts, other.parts) and np.array_equal(self.n, other.n)


@dataclass(frozen=True)
class _Tally:
    """One question's answers by cell and option, and the weights within PSUs."""

    n: np.ndarray
    w: np.ndarray
    w2: np.ndarray
    within: sparse.csr_array | None
    missing: Mapping[str, int]  # respondents without an answer, by code


def _selected(study: Study, frame: Any) -> nw.DataFrame[Any] | nw.LazyFrame[Any]:
    """Return the frame's columns under names of our own, c0, c1, ..., with weights as floats."""
    import narwhals as nw

    try:
        people = nw.from_native(frame)
    except TypeError as error:
        raise InputError(
            f"a {type(frame).__module__}.{type(frame).__name__} is no frame that narwhals knows; give a DuckDB "
            "relation, a PySpark, polars or pandas DataFrame"
        ) from error
    columns, schema = study_columns(study), people.collect_schema()
    if absent := [name for name in columns if name not in schema]:
        raise InputError(absent_columns(absent, schema.names()))
    if nested := [name for name in columns if schema[name].is_nested()]:
        raise compound_values(nested[0])
    if dotted := [name for name in columns if "." in name and people.implementation.is_spark_like()]:
        raise InputError(f"Spark reads a dot in a column's name as a part of the column; rename {', '.join(dotted)}")
    codes = [nw.col(name).alias(f"c{i}") for i, name in enumerate(columns)]
    weight = study.survey.weight
    if weight is None:
        return people.select(*codes)
    if not schema[weight].is_numeric():
        raise InputError(f"weight (column {weight}) is of type {schema[weight]}; every respondent needs a number")
    people = people.select(*codes, nw.col(weight).cast(nw.Float64()).alias("w"))
    usable = (nw.col("w") >= WEIGHTS[0]) & (nw.col("w") <= WEIGHTS[1])
    return people.with_columns(w2=nw.col("w") * nw.col("w"), usable=nw.when(usable).then(1).otherwise(0))


def _groups(study: Study, name: str, people: nw.DataFrame[Any] | nw.LazyFrame[Any]) -> _Groups:
    """Have the engine count one question's groups."""
    import narwhals as nw

    source, places = study.survey, {column: f"c{i}" for i, column in enumerate(study_columns(study))}
    wanted = [] if isinstance(source.country, ConstantCountry) else [source.country]
    wanted += [attribute.column or key for key, attribute in study.attributes.items()]
    wanted += [column for column in (source.strata, source.psu) if column]
    keys = {places[column]: column for column in (*wanted, study.questions[name].column or name)}
    sums = ("w", "w2", "usable") if source.weight else ()
    totals = [nw.len().alias("n"), *(nw.col(key).sum() for key in sums)]
    try:
        found: Any = people.group_by(*keys, drop_null_keys=False).agg(*totals)
    except TypeError as error:
        raise compound_values(" or ".join(keys.values())) from error
    table = (found.collect("pyarrow") if isinstance(found, nw.LazyFrame) else found).to_pandas()
    n = table["n"].to_numpy(dtype=np.int64)
    w, w2, usable = (table[key].to_numpy(dtype=float) if sums else n.astype(float) for key in ("w", "w2", "usable"))
    return _Groups(table[list(keys)].rename(columns=keys), n, w, w2, usable)


def _everybody(study: Study, groups: _Groups, problems: list[str]) -> _Everybody | None:
    """Encode what groups have in common; None where there are problems, which are added to ``problems``."""
    everywhere = {code_key(code) for code in study.survey.missing}
    levels = survey_levels(study, groups.codes, problems, groups.n)
    countries = survey_countries(study, groups.codes, groups.n)
    _check_weights(study, groups, ~countries.out, problems)
    ids = design_ids(study.survey, groups.codes, everywhere, problems, ~countries.out, groups.n)
    if problems:
        return None
    kept = kept_rows(countries)
    country, levels = countries.index[kept], levels[kept]
    design = declared_design({key: values[kept] for key, values in ids.items()}, country, countries.names)
    cells, cell = occurring_cells(study, country, levels)
    unit = cell if design is None else design.psu.astype(np.int64) * len(cells) + cell
    parts, part = np.unique(unit, return_inverse=True)
    n = np.bincount(cell, groups.n[kept])
    lost = int(groups.n[~kept & ~countries.out].sum())
    spans = {
        name: level_spans(groups.codes.loc[kept, attribute.column or name], levels[:, j], len(attribute.levels))
        for j, (name, attribute) in enumerate(study.attributes.items())
        if attribute.binned
    }
    return _Everybody(
        countries.names, cells, n, lost, countries.left_out, spans, design, parts, kept, cell, part.reshape(-1)
    )


def _check_weights(study: Study, groups: _Groups, wanted: np.ndarray, problems: list[str]) -> None:
    people = groups.n.sum()
    if bad := int((groups.n - groups.usable)[wanted].sum()):
        problems.append(unusable_weights(study, f"{bad} of {people} rows"))


def _tally(everybody: _Everybody, groups: _Groups, column: str, answers: np.ndarray, options: int) -> _Tally:
    option = answers[everybody.kept]
    answered = option != MISSING
    option, cells = option[answered], len(everybody.cells)
    place = everybody.cell[answered] * options + option
    within = None
    if everybody.design is not None:
        entries = (groups.w[everybody.kept][answered], (everybody.part[answered], option))
        within = sparse.csr_array(entries, shape=(len(everybody.parts), options))

    def summed(values: np.ndarray) -> np.ndarray:
        found = np.bincount(place, values[everybody.kept][answered], minlength=cells * options)
        return found.reshape(cells, options)

    silent = everybody.kept & (answers == MISSING)
    missing = rows_by_code(groups.codes.loc[silent, column], groups.n[silent])
    return _Tally(summed(groups.n), summed(groups.w), summed(groups.w2), within, missing)


def _together(study: Study, everybody: _Everybody, tallies: Sequence[_Tally], data_hash: str | None) -> FrameCounts:
    cells, people = everybody.cells, everybody.n
    n, w, w2 = (np.stack([getattr(tally, key) for tally in tallies], axis=1) for key in ("n", "w", "w2"))
    sample = np.bincount(cells[:, 0], people, minlength=len(everybody.countries)).astype(int)
    design = everybody.design
    psus = None
    if design is not None:
        within = tuple(tally.within for tally in tallies if tally.within is not None)
        psu, cell = np.divmod(everybody.parts, len(cells))
        psus = PsuSums(psu, cell, within, design.stratum, design.degrees_of_freedom)
    asked = np.broadcast_to(people[:, None], n.shape[:2])
    counts = Counts(cells[:, 0], cells[:, 1:], n, w, w2, sample, psus, asked)
    total = people.sum()
    answered = np.stack([np.bincount(cells[:, 0], found, minlength=len(sample)) for found in n.sum(axis=2).T])
    return FrameCounts(
        study,
        everybody.countries,
        counts,
        int(total),
        everybody.without_country,
        silent_share(answered, sample),
        people @ (cells[:, 1:] == MISSING) / total,
        data_hash or _hash(everybody, counts),
        design,
        missing_answers={name: tally.missing for name, tally in zip(study.questions, tallies, strict=True)},
        spans=everybody.spans,
        left_out=everybody.left_out,
    )


def _hash(everybody: _Everybody, counts: Counts) -> str:
    """Return a SHA-256 of the counts, with sums of weights in single precision: engines add in any order."""
    digest = hashlib.sha256(repr((everybody.countries, everybody.without_country)).encode())
    arrays = [everybody.cells, everybody.n, counts.n, counts.w, counts.w2]
    if counts.psus is not None:
        arrays += [counts.psus.psu, counts.psus.cell, counts.psus.stratum]
        arrays += [part for found in counts.psus.w for part in (found.indptr, found.indices, found.data)]
    for values in arrays:
        digest.update(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    return digest.hexdigest()

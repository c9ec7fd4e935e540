"""The two tables that everything between packages is made of: schema, validation, reading, writing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from causal.errors import InputError
from causal.files import replace_file

VERSION = 1
_META = b"ace_align"
_TEXT, _INT, _REAL, _FLAG = pa.string(), pa.int64(), pa.float64(), pa.bool_()
_TOLERANCE = 1e-6
_OPTIONAL: dict[str, list[tuple[str, pa.DataType]]] = {
    "distributions": [("deff", _REAL)],
    "effects": [
        *((name, pa.list_(_REAL)) for name in ("effect_low", "effect_high", "cdf_low", "cdf_high")),
        *((name, _REAL) for name in ("wald_statistic", "wald_df", "wald_p_value", "family_q_value")),
    ],
}
"""Columns at the end of each table that a reader fills with null where a table made elsewhere lacks them."""


def distributions_schema(attributes: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of the distributions table."""
    fields = [("country", _TEXT), ("question", _TEXT), *((name, _TEXT) for name in attributes)]
    fields += [
        ("granularity", _INT),
        ("option", _INT),
        ("p", _REAL),
        ("std_error", _REAL),
        ("n", _INT),
        ("n_eff", _REAL),
        *_OPTIONAL["distributions"],
    ]
    return _schema("distributions", attributes, fields)


def effects_schema(attributes: Sequence[str]) -> pa.Schema:
    """Return the Arrow schema of the effects table."""
    fields = [(name, _TEXT) for name in ("country", "question", "attribute", "reference", "treated", *attributes)]
    fields += [
        ("granularity", _INT),
        ("estimator", _TEXT),
        ("estimand", _TEXT),
        ("n_reference", _INT),
        ("n_treated", _INT),
    ]
    fields += [("n_eff_reference", _REAL), ("n_eff_treated", _REAL), ("supported", _FLAG)]
    fields += [(name, _REAL) for name in ("shift", "std_error", "conf_low", "conf_high", "p_value", "q_value")]
    fields += [("p_reference", pa.list_(_REAL)), ("p_treated", pa.list_(_REAL))]
    fields += _OPTIONAL["effects"]
    return _schema("effects", attributes, fields)


def estimated_by(effects: pd.DataFrame, estimator: str = "cell") -> pd.DataFrame:
    """Return an effects table's rows of one estimator, numbered from 0."""
    return effects[effects["estimator"] == estimator].reset_index(drop=True)


def toggles_fingerprint(path: Path, attributes: Sequence[str]) -> str:
    """Return the SHA-256 of what training can learn from an effects table's file.

    That is, of the supported raw toggles at the finest granularity, who they are about, their ends' distributions and
    sizes, and their standard errors; not what a graph names them, nor intervals, nor what other estimators say.
    """
    who = ["country", "question", "attribute", "reference", "treated", *attributes]
    ends, sizes = ["p_reference", "p_treated"], ["n_eff_reference", "n_eff_treated", "std_error"]
    try:
        table = pd.read_parquet(path, columns=[*who, *ends, *sizes, "estimator", "granularity", "supported"])
    except (pa.ArrowInvalid, OSError) as error:
        said = str(error).partition("\n")[0]
        raise InputError(f"{path} is no readable effects table: {said}; run python -m causal.audit again") from error
    cells = estimated_by(table)
    rows = cells[(cells["granularity"] == cells["granularity"].max()) & cells["supported"]]
    digest = hashlib.sha256()
    for name in who:
        digest.update("\0".join([name, *map(str, rows[name])]).encode())
    for name in ends:
        digest.update(np.concatenate([np.zeros(0), *rows[name]]).tobytes())
    digest.update(rows[sizes].to_numpy(dtype=float).tobytes())
    return digest.hexdigest()


def _schema(kind: str, attributes: Sequence[str], fields: Sequence[tuple[str, pa.DataType]]) -> pa.Schema:
    meta = {"table": kind, "version": VERSION, "attributes": list(attributes)}
    return pa.schema(fields, metadata={_META: json.dumps(meta).encode()})


def validate_distributions(table: pd.DataFrame, attributes: Sequence[str], where: str = "distributions") -> None:
    """Check columns, ranges, duplicates, and that every cell's options run 1..K and sum to 1.

    Raises
    ------
    InputError
        Names the table and the first offending row.
    """
    _require_columns(table, distributions_schema(attributes), where)
    _reject(table, ~table["p"].between(-_TOLERANCE, 1 + _TOLERANCE), where, "p must lie in [0, 1]")
    _reject(table, ~(table["std_error"] >= 0), where, "std_error must be 0 or more")
    _reject(table, table["n"].notna() & (table["n"].fillna(0) < 1), where, "n must be 1 or more, or null")
    cell = ["country", "question", *attributes]
    _reject(table, table.duplicated([*cell, "option"]), where, "this cell and option stand twice")
    specified = table[list(attributes)].notna().sum(axis=1)
    _reject(table, specified != table["granularity"], where, "granularity must count the specified attributes")
    _reject(table, table["option"] < 1, where, "options must run 1..K")
    groups = table.groupby(cell, dropna=False, sort=False)
    total = groups["p"].transform("sum")
    _reject(table, (total - 1).abs() > 1e-4, where, "the options' p of this cell must sum to 1")
    _reject(
        table,
        groups["option"].transform("max") != groups["option"].transform("size"),
        where,
        "options must run 1..K",
    )


def validate_effects(table: pd.DataFrame, attributes: Sequence[str], where: str = "effects") -> None:
    """Check columns, ranges, duplicates, and that each toggle's distributions agree with its shift.

    Raises
    ------
    InputError
        Names the table and the first offending row.
    """
    _require_columns(table, effects_schema(attributes), where)
    table = _complete(table, "effects")
    _reject(table, ~table["attribute"].isin(attributes), where, "attribute must be one of the study's")
    _reject(table, table["shift"].abs() > 1 + _TOLERANCE, where, "shift must lie in [-1, 1]")
    _reject(
        table,
        ~table["estimand"].isin(["total", "controlled_direct", "not_identified"]),
        where,
        "unknown estimand",
    )
    for name in ("p_value", "q_value", "wald_p_value", "family_q_value"):
        _reject(table, table[name].notna() & ~table[name].between(0, 1), where, f"{name} must lie in [0, 1]")
    ordered = (table["conf_low"] <= table["shift"] + _TOLERANCE) & (table["shift"] <= table["conf_high"] + _TOLERANCE)
    _reject(table, table["shift"].notna() & ~ordered, where, "the interval must hold the shift")
    for name in ("wald_statistic", "wald_df"):
        _reject(table, table[name] < 0, where, f"{name} must be 0 or more")
    held = table[list(attributes)].notna().sum(axis=1)
    _reject(
        table, held + 1 != table["granularity"], where, "granularity must count the held attributes and the toggled one"
    )
    key = ["country", "question", "attribute", "reference", "treated", *attributes, "estimator"]
    _reject(table, table.duplicated(key), where, "this toggle stands twice")
    recomputed = np.array(
        [
            np.nan if r is None or t is None else _shift(r, t)
            for r, t in zip(table["p_reference"], table["p_treated"], strict=True)
        ]
    )
    off = table["shift"].isna() != np.isnan(recomputed)
    off |= np.abs(np.nan_to_num(recomputed) - table["shift"].fillna(0)) > 1e-6
    _reject(table, off, where, "shift must follow from p_reference and p_treated, distributions that sum to 1")
    for kind, what in (("effect", "each option's effect"), ("cdf", "each cumulative shift, of which the last is 0")):
        rule = f"{kind}_low and {kind}_high must be as long as p_reference, lie in [-1, 1] and hold {what}"
        _reject(table, _unheld(table, kind), where, rule)


def _shift(reference: Sequence[float], treated: Sequence[float]) -> float:
    r, t = np.asarray(reference, dtype=float), np.asarray(treated, dtype=float)
    if len(r) != len(t) or len(r) < 2 or not all(_is_distribution(p) for p in (r, t)):
        return np.inf
    return float((t - r) @ np.arange(len(r)) / (len(r) - 1))


def _unheld(table: pd.DataFrame, kind: str) -> np.ndarray:
    """Return where the intervals of "effect" or "cdf" are given for one bound only, ill-formed, or miss their value."""
    columns = [table[name] for name in ("p_reference", "p_treated", f"{kind}_low", f"{kind}_high")]
    sizes = np.array([[len(row) if isinstance(row, Sized) else -1 for row in column] for column in columns])
    bad = (sizes[2:] != sizes[0]).any(axis=0) & (sizes[2:] >= 0).any(axis=0)
    for k in np.unique(sizes[0, ~bad & (sizes[2] > 0)]):
        rows = ~bad & (sizes[2] == k)
        p, q, low, high = (np.array(column[rows].tolist(), dtype=float) for column in columns)
        value = (q - p).cumsum(axis=1) if kind == "cdf" else q - p
        held = (low <= value + _TOLERANCE) & (value <= high + _TOLERANCE)
        held &= (np.abs([low, high]) <= 1 + _TOLERANCE).all(axis=0)
        if kind == "cdf":
            held[:, -1] &= (low[:, -1] == 0) & (high[:, -1] == 0)
        bad[rows] = ~held.all(axis=1)
    return bad


def _is_distribution(p: np.ndarray) -> bool:
    return bool(abs(p.sum() - 1) <= 1e-4 and p.min() >= -_TOLERANCE)


def _require_columns(table: pd.DataFrame, schema: pa.Schema, where: str) -> None:
    required = [name for name in schema.names if name not in _optional_names()]
    if missing := [name for name in required if name not in table.columns]:
        raise InputError(f"{where}: column {', '.join(missing)} is missing; expected {', '.join(required)}")


def _optional_names() -> set[str]:
    return {name for fields in _OPTIONAL.values() for name, _ in fields}


def _complete(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the table with null in the optional columns that it lacks."""
    nothing = {
        name: np.full(len(table), None, dtype=object) if pa.types.is_list(field) else np.nan
        for name, field in _OPTIONAL[kind]
        if name not in table.columns
    }
    return table.assign(**nothing)


def _reject(table: pd.DataFrame, bad: pd.Series | np.ndarray, where: str, rule: str) -> None:
    flags = np.asarray(pd.Series(bad).fillna(False), dtype=bool)
    if flags.any():
        row = int(np.flatnonzero(flags)[0])
        shown = ", ".join(
            f"{name}={value}" for name, value in table.iloc[row].items() if not isinstance(value, (list, np.ndarray))
        )
        raise InputError(f"{where}: row {row} ({flags.sum()} in all): {rule}; it holds {shown}")


def write_table(table: pd.DataFrame, path: Path, schema: pa.Schema) -> None:
    """Write a table whole or not at all: Parquet, or CSV (lists as JSON) if the path ends so."""
    table = _complete(table, json.loads(schema.metadata[_META])["table"])[schema.names]
    with replace_file(path) as beside:
        if path.suffix == ".csv":
            lists: dict[str, Any] = {
                name: [None if v is None else json.dumps(list(v)) for v in table[name]]
                for name in _list_columns(schema)
            }
            table.assign(**lists).to_csv(beside, index=False)
        else:
            pq.write_table(pa.Table.from_pandas(table, schema=schema, preserve_index=False), beside)


def _list_columns(schema: pa.Schema) -> list[str]:
    return [field.name for field in schema if pa.types.is_list(field.type)]


def read_distributions(path: Path) -> pd.DataFrame:
    """Read and validate a distributions table.

    Raises
    ------
    InputError
        The file is missing, is no such table, or breaks a rule.
    """
    table, attributes = _read(path, "distributions")
    validate_distributions(table, attributes, str(path))
    return table


def read_effects(path: Path) -> pd.DataFrame:
    """Read and validate an effects table.

    Raises
    ------
    InputError
        The file is missing, is no such table, or breaks a rule.
    """
    table, attributes = _read(path, "effects")
    validate_effects(table, attributes, str(path))
    return table


def _read(path: Path, kind: str) -> tuple[pd.DataFrame, list[str]]:
    if not path.is_file():
        raise InputError(f"{path} does not exist; run the command that writes it first")
    return _read_csv(path, kind) if path.suffix == ".csv" else _read_parquet(path, kind)


def _read_parquet(path: Path, kind: str) -> tuple[pd.DataFrame, list[str]]:
    try:
        read = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path} is no readable Parquet file: {error}") from error
    meta = json.loads((read.schema.metadata or {}).get(_META, b"{}"))
    if meta.get("table") != kind or meta.get("version") != VERSION:
        raise InputError(f"{path} is no {kind} table of version {VERSION}; it says {meta or 'nothing about itself'}")
    table = _complete(read.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get), kind)
    for name in table.columns[table.dtypes == "str"]:
        table[name] = table[name].astype(object).where(table[name].notna(), None)
    return table, list(meta["attributes"])


def _read_csv(path: Path, kind: str) -> tuple[pd.DataFrame, list[str]]:
    """Read a CSV table; its attributes are the columns that the contract does not name."""
    schema_of = {"distributions": distributions_schema, "effects": effects_schema}[kind]
    try:
        text = pd.read_csv(path, dtype=object, keep_default_na=False, na_values=[""], encoding="utf-8")
        attributes = [str(name) for name in text.columns if name not in schema_of(()).names]
        schema = schema_of(attributes)
        _require_columns(text, schema, str(path))
        text = _complete(text, kind)
        return pd.DataFrame({field.name: _parsed(text[field.name], field.type) for field in schema}), attributes
    except InputError:
        raise
    except ValueError as error:  # pandas' parser errors and undecodable text are among these
        raise InputError(f"{path} is no readable {kind} table: {error}") from error


def _parsed(column: pd.Series, kind: pa.DataType) -> pd.Series:
    """Give a column of text the type that its field has in the schema."""
    column = column.astype(object).where(column.notna(), None)
    if kind == _INT:
        return pd.to_numeric(column).astype("Int64")
    if kind == _REAL:
        return column.astype(float)
    if kind == _FLAG:
        return column == "True"
    return column.map(json.loads, na_action="ignore") if pa.types.is_list(kind) else column

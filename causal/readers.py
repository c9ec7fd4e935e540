"""Survey files to data frames of codes: CSV, TSV, Parquet, SPSS and Stata."""

from __future__ import annotations

import codecs
import csv
import difflib
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from causal import examples
from causal.codes import code_key
from causal.errors import InputError
from causal.study import Study

TEXT = {".csv": ",", ".tsv": "\t"}
LABELLED = (".sav", ".zsav", ".dta")
READERS = (*TEXT, ".parquet", *LABELLED, ".json")

_OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars", ",": "commas"}
_MAGIC = {
    b"$FL2": ("an SPSS file", (".sav", ".zsav")),
    b"$FL3": ("a compressed SPSS file", (".zsav", ".sav")),
    b"<stata_dta>": ("a Stata file", (".dta",)),
    b"PAR1": ("a Parquet file", (".parquet",)),
    b"PK\x03\x04": ("a spreadsheet or zip archive", ()),
}


@dataclass(frozen=True)
class Source:
    """What a survey file holds.

    Attributes
    ----------
    frame : DataFrame
        Codes; null where missing.
    declared_missing : dict of str to dict of str to int
        By column and code, the values that are null because the file itself declares their codes missing (SPSS
        user-missing codes, Stata ``.a`` to ``.z``).
    coded : DataFrame, optional
        The same rows with those codes still there, where the file declares any.
    """

    frame: pd.DataFrame
    declared_missing: dict[str, dict[str, int]] = field(default_factory=dict)
    coded: pd.DataFrame | None = None


def read_source(study: Study, columns: Sequence[str]) -> Source:
    """Read the columns that a study needs from its source.

    Parameters
    ----------
    study : Study
        Names the file and its encoding. A code that the file declares missing is kept where the study lists
        it as an option or level.
    columns : sequence of str
        Names of the columns. Where the file lacks one, the columns that it holds are returned without rows.

    Returns
    -------
    Source

    Raises
    ------
    InputError
        The file is absent, empty, truncated, of another format than its name says, or not decodable.
    """
    source = study.survey.source
    if source.startswith(examples.PREFIX):
        return Source(examples.load(source))
    path = checked_path(source)
    if path.suffix.lower() in LABELLED:
        from causal.labelled import read_labelled

        return read_labelled(path, columns, study.survey.encoding).masked(_codes_in_use(study))
    return Source(read_plain(path, columns, study.survey.encoding))


def read_plain(path: Path, columns: Sequence[str] | None, encoding: str | None) -> pd.DataFrame:
    """Read a CSV, TSV or Parquet file; ``columns`` None reads all."""
    suffix = path.suffix.lower()
    return _read_parquet(path, columns) if suffix == ".parquet" else _read_text(path, TEXT[suffix], encoding)


def checked_path(source: str, readers: Sequence[str] = READERS) -> Path:
    """Return the path of a survey file that is there, not empty, and what its name says.

    Raises
    ------
    InputError
        It is not.
    """
    path = Path(source)
    if not path.is_file():
        raise InputError(
            f"survey file {source} does not exist; give survey.source as a path ({' '.join(READERS)}) "
            f"or a built-in example ({', '.join(examples.names())})"
        )
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise InputError(
            f"survey file {source}: cannot read {suffix or 'a file without a suffix'}; readable are {' '.join(readers)}"
        )
    if path.stat().st_size == 0:
        raise InputError(f"survey file {source} is empty (0 bytes)")
    with path.open("rb") as stream:
        head = stream.read(16)
    for magic, (what, suffixes) in _MAGIC.items():
        if head.startswith(magic) and suffix not in suffixes:
            remedy = f"name it {path.stem}{suffixes[0]}" if suffixes else "export the table as CSV"
            raise InputError(f"survey file {source} is {what}, not what {suffix} says; {remedy}")
    return path


def absent_columns(absent: Sequence[str], held: Sequence[str]) -> str:
    """Return the message for columns that the survey lacks, each with its nearest neighbour."""
    lines = []
    for name in absent:
        close = difflib.get_close_matches(name, held, n=1)
        lines.append(f"  {name}" + (f" (did you mean {close[0]!r}?)" if close else ""))
    return "\n".join(
        [
            f"the survey has no column for {len(absent)} of the study's names:",
            *lines,
            f"columns there: {', '.join(held[:40])}",
        ]
    )


def _codes_in_use(study: Study) -> dict[str, set[str]]:
    """Return, by column, the code keys that the study lists as options or levels."""
    used: dict[str, set[str]] = {}
    for name, attribute in study.attributes.items():
        codes = {code_key(code) for level in attribute.levels.values() for code in level.codes}
        used.setdefault(attribute.column or name, set()).update(codes)
    for name, question in study.questions.items():
        used.setdefault(question.column or name, set()).update(map(code_key, question.options))
    return used


def _read_text(path: Path, separator: str, encoding: str | None) -> pd.DataFrame:
    """Read as text: only an empty field is missing, so "NA" can be Namibia and "None" an answer.

    Rows with more fields than the header are refused: pandas would read the first of them as row labels.
    """
    codec = "utf-8-sig" if (encoding or "utf-8").lower() in ("utf-8", "utf8", "utf_8") else encoding
    assert codec is not None
    with path.open("rb") as stream:
        if stream.read(3) == codecs.BOM_UTF8 and codec != "utf-8-sig":
            raise InputError(
                f"survey file {path} begins with the mark of UTF-8, but survey.encoding says {encoding}; remove it"
            )
    try:
        _check_header(path, separator, codec)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return _read_csv(path, separator, codec)
    except UnicodeError as error:
        raise InputError(_undecodable(path, encoding)) from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"survey file {path}: its rows have more fields than its header; name every column") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error) as error:
        raise InputError(f"survey file {path} is no readable table: {error}") from error


def _undecodable(path: Path, encoding: str | None) -> str:
    if encoding is None:
        return (
            f"survey file {path} is not UTF-8 text; say what it is under survey.encoding (cp1252 for files from "
            "Windows programs in Western Europe, latin-1, utf-16), or save it as UTF-8"
        )
    return f"survey file {path} is no text in {encoding}; correct survey.encoding, or save the file as UTF-8"


def _check_header(path: Path, separator: str, codec: str) -> None:
    """Refuse what pandas would accept in silence: columns of one name, and another separator."""
    with path.open(encoding=codec, newline="") as stream:
        rows = csv.reader(stream, delimiter=separator, skipinitialspace=True)
        names = [name.strip() for name in next((row for row in rows if row), [])]
    if twice := sorted(name for name, times in Counter(names).items() if name and times > 1):
        raise InputError(
            f"survey file {path} has more than one column named {', '.join(twice)}; names must be distinct"
        )
    if len(names) == 1:
        for other, words in _OTHER_SEPARATORS.items():
            if other != separator and other in names[0]:
                raise InputError(
                    f"survey file {path} has one column only, {names[0][:60]!r}: its fields are separated by {words}; "
                    "save it with commas as .csv or with tabs as .tsv"
                )


def _read_csv(path: Path, separator: str, codec: str) -> pd.DataFrame:
    return pd.read_csv(
        path,
        sep=separator,
        index_col=False,
        dtype=str,
        keep_default_na=False,
        na_values=[""],
        encoding=codec,
        skipinitialspace=True,
    )


def _read_parquet(path: Path, columns: Sequence[str] | None) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    _, held = parquet_shape(path)
    if columns is not None and not set(columns) <= set(held):
        return pd.DataFrame(columns=held)  # enough to say what is absent
    try:
        return pq.read_table(path, columns=None if columns is None else list(columns)).to_pandas(ignore_metadata=True)
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"survey file {path} is no readable Parquet file: {error}") from error


def parquet_shape(path: Path) -> tuple[int, list[str]]:
    """Return a Parquet file's number of rows and the names of its columns.

    Raises
    ------
    InputError
        It is no Parquet file, or two of its columns have one name.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows, held = file.metadata.num_rows, file.schema_arrow.names
    except (pa.ArrowInvalid, OSError) as error:
        raise InputError(f"survey file {path} is no readable Parquet file: {error}") from error
    if twice := sorted(name for name, times in Counter(held).items() if times > 1):
        raise InputError(
            f"survey file {path} has more than one column named {', '.join(twice)}; names must be distinct"
        )
    return rows, held


def keep_known(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the named columns of a frame.

    Raises
    ------
    InputError
        A column is absent, or there are two of one name.
    """
    if absent := [name for name in columns if name not in frame.columns]:
        raise InputError(absent_columns(absent, [str(name) for name in frame.columns]))
    if twice := [name for name in columns if isinstance(frame[name], pd.DataFrame)]:
        raise InputError(f"the survey has more than one column named {', '.join(twice)}; names must be distinct")
    return frame[list(columns)]

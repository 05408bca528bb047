"""Statements of the hot path, built once: building one costs several times what it takes to run."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, bindparam
from sqlalchemy.sql.dml import Insert, Update

Row = tuple[Any, ...]

ROWS_MAX: Final = 256
"""Rows of one statement: with 20 columns, a sixth of the parameters that either engine takes."""
_NUMBERED: Final = re.compile(r"\$(\d+)")


@cache
def updating(table: Table, where: ColumnElement[bool], columns: tuple[str, ...]) -> Update:
    """Return the UPDATE of these columns, whose values are given as ``new`` names them when it is run."""
    values = {name: bindparam(f"new_{name}", type_=table.c[name].type) for name in columns}
    return table.update().where(where).values(values)


def new(values: Mapping[str, Any]) -> dict[str, Any]:
    """Name the values that an ``updating`` statement sets."""
    return {f"new_{name}": value for name, value in values.items()}


class Prepared:
    """An INSERT for many rows. What SQLAlchemy would do again for each row, bind processing included, is done once.

    The statement is the same on both engines; only how it is handed over is spared. Values must be as the driver takes
    them: instants in microseconds.
    """

    def __init__(self, statement: Insert, columns: Sequence[str]) -> None:
        self._statement = statement
        self._columns = tuple(columns)
        self._text = ""
        self._constants: Row = ()
        self._texts: dict[int, str] = {}

    def run(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Insert the rows, each in the order of the columns."""
        if not self._text:
            self._compile(connection)
        constants = self._constants
        connection.exec_driver_sql(self._text, [(*row, *constants) for row in rows])

    def returning(self, connection: Connection, rows: Sequence[Row]) -> Iterator[Any]:
        """Insert the rows, and return of each that was inserted what the statement returns.

        Many go in one statement, of a few sizes, so that the driver too prepares each once.
        """
        if not self._text:
            self._compile(connection)
        at = 0
        while at < len(rows):
            size = min(1 << (len(rows) - at).bit_length() - 1, ROWS_MAX)
            values = tuple(itertools.chain.from_iterable(rows[at : at + size]))
            yield from connection.exec_driver_sql(self._of(size), values)
            at += size

    def _of(self, size: int) -> str:
        """Return the statement for so many rows: its row of parameters so many times, numbered where they are."""
        if size not in self._texts:
            start = self._text.index("VALUES (") + len("VALUES ")
            stop = self._text.index(")", start) + 1
            row, width = self._text[start:stop], len(self._columns)
            many = ", ".join(_moved(row, width * number) for number in range(size))
            self._texts[size] = self._text[:start] + many + self._text[stop:]
        return self._texts[size]

    def _compile(self, connection: Connection) -> None:
        compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(self._columns))
        order = tuple(compiled.positiontup or ())
        width = len(self._columns)
        if order[:width] != self._columns:
            raise AssertionError(f"the columns of {self._statement.table} come in the order {order}")
        self._constants = tuple(compiled.params[name] for name in order[width:])
        self._text = str(compiled)


def _moved(row: str, by: int) -> str:
    """Number the parameters of a row anew; on SQLite they have no numbers."""
    return _NUMBERED.sub(lambda number: f"${int(number[1]) + by}", row)

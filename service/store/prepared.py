"""Statements of the hot path, compiled once for rows that come as tuples."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.sql.dml import Insert

Row = tuple[Any, ...]


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

    def run(self, connection: Connection, rows: Iterable[Row]) -> None:
        """Insert the rows, each in the order of the columns."""
        if not self._text:
            self._compile(connection)
        constants = self._constants
        connection.exec_driver_sql(self._text, [(*row, *constants) for row in rows])

    def _compile(self, connection: Connection) -> None:
        compiled = self._statement.compile(dialect=connection.dialect, column_keys=list(self._columns))
        order = tuple(compiled.positiontup or ())
        width = len(self._columns)
        if order[:width] != self._columns:
            raise AssertionError(f"the columns of {self._statement.table} come in the order {order}")
        self._constants = tuple(compiled.params[name] for name in order[width:])
        self._text = str(compiled)

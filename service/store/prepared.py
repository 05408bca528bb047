"""Statements of the hot path, built once: building one costs several times what it takes to run."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, bindparam
from sqlalchemy.sql.dml import Insert, Update

Row = tuple[Any, ...]


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

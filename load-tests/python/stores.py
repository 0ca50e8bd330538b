"""Where a gateway keeps its store: a file in its data folder, or a database of a PostgreSQL server. Tests whose subject is the
store run with either."""

import contextlib
import sqlite3


class Sqlite:
    """What a gateway uses that is told nothing."""

    config, env = "", {}

    def arguments(self, data):
        """What commands that open the store of a gateway take."""
        return ("--data-dir", data)

    def column(self, data, sql):
        """The first column of what a query gives, as text."""
        with contextlib.closing(sqlite3.connect(f"file:{data}/voxgate.db?mode=ro", uri=True)) as database:
            return [str(row[0]) for row in database.execute(sql)]

    def execute(self, data, sql):
        with contextlib.closing(sqlite3.connect(data / "voxgate.db")) as database, database:
            database.execute(sql)


class Postgresql:
    """A database of its own on a server that runs."""

    config = "store: { url_env: STORE_URL }\n"

    def __init__(self, server, name):
        server.execute(f"CREATE DATABASE {name}")
        self.server, self.name = server, name
        self.env = {"STORE_URL": server.url_of(name)}

    def arguments(self, data):
        # The configuration a gateway was started with lies beside its folder.
        return ("--data-dir", data, "--config", f"{data}.yaml")

    def column(self, _, sql):
        rows = self.server.ask(sql, self.name)
        assert rows is not None, sql
        return rows

    def execute(self, _, sql):
        self.server.execute(sql, self.name)


def literal(value):
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"

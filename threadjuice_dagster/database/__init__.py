"""PostgreSQL: the tables, the store that reads and writes them, migrations and the embedded server."""

"""What a database holds, for tests that look for what must be gone."""

import sqlalchemy as sa


def everything(url: str) -> str:
    """Every row of every table, as text."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names()
        rows = [connection.execute(sa.text(f'SELECT t::text FROM "{name}" t')).scalars().all() for name in names]
    engine.dispose()
    return "\n".join(str(row) for found in rows for row in found)

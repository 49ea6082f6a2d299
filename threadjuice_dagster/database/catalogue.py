"""Categories and personas: the editorial catalogue, seeded from ``editorial/*.yaml``."""

from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from threadjuice_dagster.database import tables
from threadjuice_dagster.domain import editorial
from threadjuice_dagster.domain.story.stories import Category, Persona

T = TypeVar("T", Category, Persona)


def read_catalogue() -> tuple[list[Category], list[Persona]]:
    """Return the categories and personas that come with the package."""
    return _read("categories", Category), _read("personas", Persona)


def _read(name: str, model: type[T]) -> list[T]:
    return [model.model_validate(entry) for entry in editorial.table(name)]


class Catalogue:
    """Reads and seeds the two catalogue tables."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def seed(self) -> dict[str, int]:
        """Write the shipped catalogue over the stored one, by slug; returns rows inserted or changed per table."""
        categories, personas = read_catalogue()
        with self._engine.begin() as connection:
            return {
                "categories": _upsert(connection, tables.categories, categories),
                "personas": _upsert(connection, tables.personas, personas),
            }

    def categories(self) -> list[Category]:
        """Return all categories in the order of the catalogue."""
        return [Category.model_validate(record) for record in self._records(tables.categories)]

    def personas(self) -> list[Persona]:
        """Return all personas in the order of the catalogue."""
        return [Persona.model_validate(record) for record in self._records(tables.personas)]

    def category(self, slug: str) -> Category:
        """Return the category of this slug."""
        return next(category for category in self.categories() if category.slug == slug)

    def persona(self, slug: str) -> Persona:
        """Return the persona of this slug."""
        return next(persona for persona in self.personas() if persona.slug == slug)

    def _records(self, table: sa.Table) -> list[Any]:
        with self._engine.connect() as connection:
            return list(connection.scalars(sa.select(table.c.record).order_by(table.c.position)))


def _upsert(connection: sa.Connection, table: sa.Table, entries: "list[Any]") -> int:
    rows = [
        {"slug": entry.slug, "name": entry.name, "position": index, "record": entry.model_dump(mode="json")}
        for index, entry in enumerate(entries)
    ]
    statement = insert(table).values(rows)
    new = statement.excluded
    changed = statement.on_conflict_do_update(
        index_elements=["slug"],
        set_={"name": new.name, "position": new.position, "record": new.record},
        where=(table.c.record != new.record) | (table.c.position != new.position),
    ).returning(table.c.slug)
    return len(connection.execute(changed).all())

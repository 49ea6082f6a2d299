"""Database: the schema at its head, and the editorial catalogue in it."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.decorators import asset
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.database.schema import Step


@asset(kinds={"postgres"})
def database_schema(context: dg.AssetExecutionContext, database: Database) -> dg.MaterializeResult[None]:
    """Migrate the newsroom's tables to the revision that this version needs."""
    from threadjuice_dagster.database.schema import migrate

    steps: list[Step] = []

    def note_step(step: "Step") -> None:
        context.log.info(f"Migration {step.name}: {step.message} ({step.seconds} s)")
        steps.append(step)

    before, after = migrate(database.unchecked_store.engine, note_step)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(after),
        metadata={
            "before": before or "empty",
            "after": after,
            "steps": dg.MetadataValue.json([step._asdict() for step in steps]),
        },
    )


@asset(kinds={"postgres"}, deps=[database_schema])
def editorial_catalogue(database: Database) -> dg.MaterializeResult[None]:
    """Seed the categories and personas that the package ships; seeding twice changes nothing."""
    from threadjuice_dagster.database.catalogue import Catalogue

    changed = Catalogue(database.store.engine).seed()
    names = [category.name for category in Catalogue(database.store.engine).categories()]
    return dg.MaterializeResult(metadata={**changed, "known categories": ", ".join(names)})

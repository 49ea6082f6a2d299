"""Database: the schema at its head, and the editorial catalogue in it."""

from typing import TYPE_CHECKING

import dagster as dg

from threadjuice_dagster.assets.steps import RETRIES, reported
from threadjuice_dagster.assets.threads.threads import OWNERS
from threadjuice_dagster.resources.postgres import Database

if TYPE_CHECKING:
    from threadjuice_dagster.database.schema import Step


@dg.asset(group_name="database", owners=OWNERS, kinds={"postgres"}, retry_policy=RETRIES)
def database_schema(context: dg.AssetExecutionContext, database: Database) -> dg.MaterializeResult[None]:
    """The newsroom's tables, migrated to the head this version needs."""
    from threadjuice_dagster.database.schema import migrate

    steps: list[Step] = []

    def tell(step: "Step") -> None:
        context.log.info(f"Migration {step.name}: {step.message} ({step.seconds} s)")
        steps.append(step)

    with reported(context, database):
        before, after = migrate(database.unchecked_store.engine, tell)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(after),
            metadata={
                "before": before or "empty",
                "after": after,
                "steps": dg.MetadataValue.json([step._asdict() for step in steps]),
            },
        )


@dg.asset(group_name="database", owners=OWNERS, kinds={"postgres"}, deps=[database_schema], retry_policy=RETRIES)
def editorial_catalogue(context: dg.AssetExecutionContext, database: Database) -> dg.MaterializeResult[None]:
    """Categories and personas as the package ships them; seeding twice changes nothing."""
    from threadjuice_dagster.database.catalogue import Catalogue

    with reported(context, database):
        changed = Catalogue(database.store.engine).seed()
        names = [category.name for category in Catalogue(database.store.engine).categories()]
        return dg.MaterializeResult(metadata={**changed, "known categories": ", ".join(names)})

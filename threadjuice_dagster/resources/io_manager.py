"""How a story's assets are kept: each model in the table of its type, under the story that is the partition."""

from typing import Any

import dagster as dg
from pydantic import BaseModel

from threadjuice_dagster.resources.postgres import Database


class StoreIOManager(dg.ConfigurableIOManager):
    """Stores the value of a story's asset by upsert and loads it back by partition; other values are not kept."""

    database: dg.ResourceDependency[Database]

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store a model of the domain in one transaction."""
        if isinstance(obj, BaseModel):
            self.database.store.save(obj)

    def load_input(self, context: dg.InputContext) -> Any:
        """Return the stored model of the type that the input is annotated with, for the story of this partition."""
        return self.database.store.load(context.dagster_type.typing_type, context.partition_key)

"""Where a story's assets are kept: each model in its own table, under the story that is the partition."""

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
        """The stored model of the upstream asset for this partition. Raises ``PermanentFailure`` if there is none."""
        loaders = {
            "story_draft": "draft",
            "quality_score": "score",
            "story_image": "image",
            "published_story": "publication",
        }
        return getattr(self.database.store, loaders[context.asset_key.path[-1]])(context.partition_key)

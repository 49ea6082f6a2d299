"""The editorial settings of discovery and imports, as a resource so that the UI shows them."""

import dagster as dg
from pydantic import Field

from threadjuice_dagster.domain.writing.supply import WANTED_DAYS


class EditorialPolicy(dg.ConfigurableResource):
    """How many stories a day are wanted, and how many threads are examined for them."""

    daily_story_count: int = 3
    candidates: int = 50
    attempts_per_story: int = 3
    """Threads that may be tried for each story wanted before an order is given up."""
    supply_days: float = WANTED_DAYS
    """Days that the unused threads should last; fewer raise a warning. 0 expects none: a demo lives on its samples."""
    thread_retention_hours: float = 48.0
    """Hours after which the text of a thread is deleted."""
    import_category_map: list[str] = Field(default=[])
    """Our categories for those of imported stories, as ``NAME=CATEGORY``."""
    import_default_category: str = ""
    """The category of imported stories whose own is unknown. Empty refuses them."""
    publication_job: str = "site_job"
    """The job that brings published stories to readers: it builds the site and, where that is enabled, deploys it."""

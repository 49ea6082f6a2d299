"""How work is cut into partitions: one story, one partition, one run."""

import dagster as dg

STORIES = dg.DynamicPartitionsDefinition(name="stories")
"""Keys are story ids, ``<thread id>-<slug>``; ``story_assignments`` adds them."""

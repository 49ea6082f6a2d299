"""Define the partitions: each story is one partition and one run; figures have one partition per day."""

import dagster as dg

STORIES = dg.DynamicPartitionsDefinition(name="stories")
"""Keys are story ids, ``<thread id>-<slug>``; ``story_assignments`` adds them."""

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
"""Days in UTC. Today's partition exists from its first minute."""

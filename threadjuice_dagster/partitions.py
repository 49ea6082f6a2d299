"""How work is cut into partitions: one story, one partition, one run."""

import dagster as dg

STORIES = dg.DynamicPartitionsDefinition(name="stories")
"""Keys are story ids, ``<thread id>-<slug>``; ``story_assignments`` adds them."""

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01", end_offset=1)
"""Days in UTC; today's is there from its first minute."""

"""Dagster's pools, one per outside service: how many steps may use it at once, over all runs."""

import dagster as dg

POOLS = ("openai", "pictures", "reddit")
"""Every pool a step names; a test holds the assets to it."""


def declare_pools(instance: dg.DagsterInstance) -> None:
    """Give every pool the instance's default limit; the caller makes sure that it does so alone.

    Dagster does this when a step first claims a slot. Of two processes that do it together, PostgreSQL refuses one,
    and that run fails.
    """
    storage = instance.event_log_storage
    for pool in set(POOLS) - {known.name for known in storage.get_pool_limits()}:
        storage.initialize_concurrency_limit_to_default(pool)

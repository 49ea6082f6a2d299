"""The Dagster UI behind a gateway, and the processes that run beside it."""

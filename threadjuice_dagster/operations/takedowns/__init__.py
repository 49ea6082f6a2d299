"""Takedowns: sources that were deleted since, and what the newsroom removes because of it."""

"""Backups: the database is dumped, each backup is proven by restoring it, and an operator can restore one."""

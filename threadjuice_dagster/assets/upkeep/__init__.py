"""The database, its backups, and the clean-up."""

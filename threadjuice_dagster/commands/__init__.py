"""The groups of commands, assembled by ``cli.py``."""

"""Deployment: the built site is staged, tested, shown to readers, verified, and rolled back when a step fails."""

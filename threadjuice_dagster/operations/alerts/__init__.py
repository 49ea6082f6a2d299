"""Alerts: incidents are opened, delivered and closed. Messages wait in an outbox until they arrive."""

"""Figures of the newsroom, each with thresholds as checks."""

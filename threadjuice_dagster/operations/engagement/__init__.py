"""Engagement: what readers do with a story, reported by its page and counted without knowing who they are."""

"""Bulk import: story files of any format become stored stories. How they are judged is in ``domain/judging/``."""

"""Gates as asset checks, one file per subject."""

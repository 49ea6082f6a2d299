"""One story from its draft to its picture, with the gates as checks."""

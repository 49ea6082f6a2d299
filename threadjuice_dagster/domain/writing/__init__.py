"""How a story comes to be written: the assignment, the prompts, and the writer that needs no model."""

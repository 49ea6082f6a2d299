"""From stories that passed their gates to the site, and from published stories back to nothing."""

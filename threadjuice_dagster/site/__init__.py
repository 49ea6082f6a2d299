"""The static site: pages from published stories. How a story comes to be published is no concern of this package."""

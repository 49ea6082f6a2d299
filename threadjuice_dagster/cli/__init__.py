"""The command line: a file for each group of commands. It runs the jobs of the Dagster UI on the same instance."""

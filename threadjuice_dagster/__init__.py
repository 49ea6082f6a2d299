"""ThreadJuice: a newsroom run by Dagster."""

"""The newsroom's assets, one file per group: fetch, call the domain, return the model, report metadata."""

import gc

import dagster  # noqa: F401 -- loaded first, so that it is what is frozen

gc.freeze()  # Dagster's objects live as long as the process: to look for garbage among them takes a third of a second

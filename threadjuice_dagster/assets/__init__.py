"""The newsroom's assets, one file per group: fetch, call the domain, return the model, report metadata."""

"""Clean-up: what the retention rules give up is archived first and then deleted."""

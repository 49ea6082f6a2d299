"""What the newsroom knows: models and rules, with no Dagster, no network and no clock.

Everything here is a pure function or a frozen model. What needs a database, a service or the
time of day belongs in ``database/``, ``resources/`` or ``assets/``, which import from here.
"""

"""Monitoring: figures of the newsroom, and the thresholds from which an operator has to look at them."""

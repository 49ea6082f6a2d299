"""The outside world, one file per system: an interface, a live class, a real stand-in."""

"""What wakes what."""

"""Threads that were found, and the assignments made from them."""

"""Temporal heads, fusions, and the model made of them."""

"""Plots and the one HTML page of a run."""

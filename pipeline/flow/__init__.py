"""Optical flow outside a store: of two pictures, as a film, and measured."""

"""Losses: scalar training objectives."""

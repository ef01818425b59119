"""Timbre transfer: any sound, played by an instrument model."""

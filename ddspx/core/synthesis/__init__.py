"""Synthesis: controls on the frame rule to audio."""

"""Analysis: audio to features on the frame rule."""

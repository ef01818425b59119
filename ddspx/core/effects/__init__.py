"""Effects: audio to audio."""

"""Training: prepared recordings in, a finished model folder out."""

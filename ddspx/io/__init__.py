"""Files in and out, on the host, in NumPy: audio, datasets, batches, checkpoints."""

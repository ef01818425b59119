"""Makes the golden files of PyTorch's formats, with PyTorch 2: `python torch_archives.py`.

`tensors.pth` and `tensors-older.pth` hold the same tensors, in today's format and in that of 2019;
`module.ts` is a TorchScript file, with a module in a list twice and with attributes of all kinds.
"""

import zipfile
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


class Module(torch.nn.Module):
    """A GRU behind two layers that are one."""

    def __init__(self):
        super().__init__()
        self.gru = torch.nn.GRU(2, 3, batch_first=True)
        self.layers = torch.nn.ModuleList([torch.nn.Linear(2, 2)] * 2)
        self.register_buffer("mean", torch.tensor(1.5))
        self.flag, self.sizes, self.words = True, [1, 2], ["a", "b"]

    def forward(self, inputs):
        """Applies all layers."""
        return self.gru(self.layers[1](self.layers[0](inputs)))[0] + self.mean


def counting(tensor):
    """Fills a tensor with 0, 1, 2..., divided by 8."""
    with torch.no_grad():
        tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) / 8)


def without_code(path):
    """Leaves out the code of a TorchScript file, which holds sources and paths of this machine."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if "/code/" not in name}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)


base = torch.arange(24.0)
tensors = {
    "float32": base[:6].reshape(2, 3) / 8,
    "float64": base[:3].double(),
    "float16": base[:3].half(),
    "bfloat16": torch.tensor([0.5, -1.5, 2.0**100, float("inf")]).bfloat16(),
    "int64": torch.arange(-3, 3),
    "int32": torch.arange(4, dtype=torch.int32),
    "int16": torch.arange(4, dtype=torch.int16),
    "int8": torch.arange(-2, 2, dtype=torch.int8),
    "uint8": torch.arange(4, dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "transposed": base[:6].reshape(2, 3).t(),
    "strided": base[4:20:3],
    "inside": base.reshape(4, 6)[1:3, ::2],
    "expanded": torch.ones(1).expand(3, 2),
    "scalar": torch.tensor(2.5),
    "empty": torch.zeros(0, 3),
    "parameter": torch.nn.Parameter(base[:2].clone()),
    "nested": {"x": base[:2].clone(), "count": 3},
}
torch.save(tensors, FOLDER / "tensors.pth")
torch.save(tensors, FOLDER / "tensors-older.pth", _use_new_zipfile_serialization=False)
module = Module()
for parameter in module.parameters():
    counting(parameter)
torch.jit.save(torch.jit.script(module), FOLDER / "module.ts")
without_code(FOLDER / "module.ts")

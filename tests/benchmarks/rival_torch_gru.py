"""PyTorch's GRU, 512 channels, 16 x 1000 frames; run by bench_gru.py."""

import torch
from rival import serve

gru = torch.nn.GRU(512, 512, batch_first=True)
inputs = torch.randn(16, 1000, 512, requires_grad=True)


def forward():
    with torch.no_grad():
        return gru(inputs)[0].numpy()


def gradient():
    inputs.grad = None
    gru.zero_grad()
    (gru(inputs)[0] ** 2).sum().backward()
    return inputs.grad.numpy()


serve({"forward": forward, "gradient": gradient})

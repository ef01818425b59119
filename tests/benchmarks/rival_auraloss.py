"""auraloss 0.4 on PyTorch, 8 x 4 s, six sizes; run by bench_spectral_loss.py."""

import auraloss
import numpy as np
import torch
from rival import serve

SIZES = [2048, 1024, 512, 256, 128, 64]

rng = np.random.default_rng(0)
target, predicted = (
    torch.tensor(0.1 * rng.standard_normal((8, 1, 64000)).astype(np.float32)) for _ in range(2)
)
predicted.requires_grad_()
hops = [size // 4 for size in SIZES]
losses = {
    "": auraloss.freq.MultiResolutionSTFTLoss(SIZES, hops, SIZES),
    " same terms": auraloss.freq.MultiResolutionSTFTLoss(
        SIZES, hops, SIZES, w_sc=0.0, w_log_mag=1.0, w_lin_mag=1.0
    ),
}


def forward(loss):
    with torch.no_grad():
        return loss(predicted, target).item()


def gradient(loss):
    predicted.grad = None
    loss(predicted, target).backward()
    return predicted.grad.numpy()


serve(
    {f"forward{name}": lambda loss=loss: forward(loss) for name, loss in losses.items()}
    | {f"gradient{name}": lambda loss=loss: gradient(loss) for name, loss in losses.items()}
)

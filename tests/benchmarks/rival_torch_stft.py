"""`torch.stft` and its magnitude, 8 x 4 s; run by bench_stft.py."""

import torch
from rival import serve

audio = torch.randn(8, 64000, requires_grad=True)
windows = {n_fft: torch.hann_window(n_fft) for n_fft in (2048, 512)}


def magnitude(n_fft):
    spectrum = torch.stft(
        audio, n_fft, n_fft // 4, window=windows[n_fft], pad_mode="constant", return_complex=True
    )
    return spectrum.abs()


def forward(n_fft):
    with torch.no_grad():
        return magnitude(n_fft).numpy()


def gradient(n_fft):
    audio.grad = None
    (magnitude(n_fft) ** 2).sum().backward()
    return audio.grad.numpy()


serve(
    {f"forward {n}": lambda n=n: forward(n) for n in windows}
    | {f"gradient {n}": lambda n=n: gradient(n) for n in windows}
)

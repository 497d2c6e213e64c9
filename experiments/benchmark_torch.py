"""The lean PyTorch loop of the benchmark: one process, started by `experiments.benchmark`.

What a careful user writes: all images as normalized floats in one tensor, one permutation an
epoch, fused optimizer, channels_last for convolutions, masks multiplied in after each update.
"""

from collections.abc import Iterator
import itertools
import time
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from experiments import benchmark_work
from experiments.benchmark_work import CLASSES, Measure, Work

_CHUNK = 3  # Steps between two looks at the clock.


class Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, as `ltjax.models.nets.Block`."""

    def __init__(self, before: int, channels: int, stride: int) -> None:
        super().__init__()
        first = _normed(before, channels, 3, stride)
        self.body = nn.Sequential(*first, nn.ReLU(inplace=True), *_normed(channels, channels, 3))
        same = stride == 1 and before == channels
        self.shortcut = nn.Sequential(*([] if same else _normed(before, channels, 1, stride)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Activations [n, c, h, w] to [n, channels, h / stride, w / stride]."""
        return functional.relu(self.body(x) + self.shortcut(x), inplace=True)


def _normed(before: int, channels: int, size: int, stride: int = 1) -> list[nn.Module]:
    padding = size // 2
    conv = nn.Conv2d(before, channels, size, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def network(work: Work) -> nn.Module:
    """The network of `work`, with as many parameters as ours."""
    high, wide, channels = work.shape
    inputs = high * wide * channels
    pad = 1 if work.padding == "SAME" else 0
    half = ((high + 4 * pad - 4) // 2) * ((wide + 4 * pad - 4) // 2)
    makers = {
        "lenet-300-100": lambda: _mlp(inputs, 300, 100),
        "mlp-tiny": lambda: _mlp(inputs, 8),
        "conv2": lambda: nn.Sequential(
            nn.Conv2d(channels, 64, 3, padding=pad),
            nn.ReLU(inplace=True),
            nn.Conv2d(64, 64, 3, padding=pad),
            nn.MaxPool2d(2),
            nn.ReLU(inplace=True),
            _mlp(64 * half, 256, 256),
        ),
        "lrn2": lambda: nn.Sequential(
            *_lrn_block(channels, 64),
            *_lrn_block(64, 64),
            _mlp(64 * -(-high // 4) * -(-wide // 4), 384, 192),
        ),
        "resnet20": lambda: _resnet(channels, (16, 32, 64), 3),
        "resnet-tiny": lambda: _resnet(channels, (4, 8), 1),
    }
    if work.model not in makers:
        raise ValueError(f"no PyTorch network for model {work.model!r}; write it here")
    return makers[work.model]()


def _mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], CLASSES))


def _lrn_block(before: int, channels: int) -> list[nn.Module]:
    """Convolution, ReLU, pool and local response normalization, as `ltjax.models.nets.LrnNet`."""
    return [
        nn.Conv2d(before, channels, 5, padding=2),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, padding=1),
        nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0),
    ]


def _resnet(channels: int, widths: tuple[int, ...], blocks: int) -> nn.Sequential:
    layers = [*_normed(channels, widths[0], 3), nn.ReLU(inplace=True)]
    before = widths[0]
    for stage, width in enumerate(widths):
        for number in range(blocks):
            layers.append(Block(before, width, 2 if stage and not number else 1))
            before = width
    ends = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, CLASSES)]
    return nn.Sequential(*layers, *ends)


def steps(work: Work, net: nn.Module) -> Iterator[torch.Tensor]:
    """Trains `net`, one step a turn; yields the losses."""
    high, wide, channels = work.shape
    pixels = torch.randint(0, 256, (work.images, channels, high, wide), dtype=torch.uint8)
    convolutions = any(isinstance(m, nn.Conv2d) for m in net.modules())
    layout = torch.channels_last if convolutions else torch.contiguous_format
    images = pixels.float().div_(255).sub_(0.5).div_(0.25).to(memory_format=layout)
    del pixels
    labels = torch.randint(0, CLASSES, (work.images,))
    net.to(memory_format=layout).train()  # pyright: ignore[reportCallIssue]
    rate = {"lr": work.learning_rate, "fused": True}
    if work.optimizer == "adam":
        optimizer = torch.optim.Adam(net.parameters(), **rate)
    else:
        optimizer = torch.optim.SGD(net.parameters(), momentum=work.momentum, **rate)
    # Biases and normalization are never pruned; a mask of ones need not be multiplied in.
    held = [p for p in net.parameters() if p.ndim > 1]
    masks = [(torch.rand_like(p) < work.density).to(p.dtype) for p in held]
    with torch.no_grad():
        for weight, mask in zip(held, masks, strict=True):
            weight.mul_(mask)
    while True:
        order = torch.randperm(work.images)
        for rows in order.split(work.batch_size):
            optimizer.zero_grad(set_to_none=True)
            loss = functional.cross_entropy(net(images[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for weight, mask in zip(held, masks, strict=True):
                    weight.mul_(mask)
            yield loss.detach()


def prepare(work: Work) -> tuple[dict[str, Any], Measure]:
    """What this contestant says first, and its measurement."""
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    net = network(work)
    run = steps(work, net)
    for _ in range(_CHUNK):
        next(run)

    def measure(seconds: float) -> dict[str, float]:
        count, start, now = 0, time.perf_counter(), 0.0
        while not count or now - start < seconds:
            for _ in range(_CHUNK):
                next(run)
            count += _CHUNK
            now = time.perf_counter()
        return {"step": (now - start) / count}

    return {"parameters": sum(p.numel() for p in net.parameters())}, measure


if __name__ == "__main__":
    benchmark_work.serve(prepare)

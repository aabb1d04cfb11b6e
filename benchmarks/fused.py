"""What the paper's generator would take with all that is between its layers done where the products are made.

    python benchmarks/fused.py [--images 100] [--pixels 4096] [--units 512]

A step of the paper's run moves activations of 420 MB eight times (docs/model.md). Here its two hidden layers are two
kernels and one product of PyTorch's: forward, tanh of the first layer is made where it is multiplied; backward, what
goes back through the last layer's tanh likewise, and of the first layer only each image's sums are written. Both ways
are held to each other, then timed, forward and backward, for several sizes of tiles. It asks for a GPU and for Triton,
which PyTorch has with it there. Nothing in galvae uses it: it has not been timed yet.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from galvae.geometry import Pose
from galvae.model.generator import SpatialGenerator


class Tiles(NamedTuple):
    """Rows, columns and inner columns at once; warps; pieces loaded ahead; one instruction for each tanh."""

    rows: int
    columns: int
    inner: int
    warps: int
    ahead: int
    approximate: bool = True

    def told(self, units: int) -> dict[str, Any]:
        """What a kernel is told of it."""
        columns = next(each for each in (self.columns, 128, 64) if units % each == 0)
        return {"BM": self.rows, "BN": columns, "BK": min(self.inner, columns), "APPROXIMATE": self.approximate,
                "num_warps": self.warps, "num_stages": self.ahead}  # fmt: skip


TILES = [
    Tiles(128, 256, 64, 8, 2), Tiles(128, 256, 64, 8, 3), Tiles(128, 256, 64, 8, 4), Tiles(128, 256, 32, 8, 4),
    Tiles(128, 256, 64, 8, 3, False), Tiles(128, 128, 64, 8, 3), Tiles(128, 128, 64, 4, 3), Tiles(64, 256, 64, 4, 3),
    Tiles(64, 256, 64, 8, 3), Tiles(256, 128, 64, 8, 3),
]  # fmt: skip


@triton.jit
def _tanh(x, APPROXIMATE: tl.constexpr):
    if APPROXIMATE:  # to 5e-4, an eighth of a bfloat16's last digit near 1
        return tl.inline_asm_elementwise("tanh.approx.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1)
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _forward(
    x, first, offset, weight, bias, output, h0, h1, y, P, rows_in_all,
    U: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    block, tile, tiles = tl.program_id(0) % (U // BN), tl.program_id(0) // (U // BN), tl.cdiv(P, BM)
    image, place = tile // tiles, (tile % tiles) * BM + tl.arange(0, BM)
    inside, row = place < P, image.to(tl.int64) * P + place
    x0 = tl.load(x + 2 * place, mask=inside, other=0.0)
    x1 = tl.load(x + 2 * place + 1, mask=inside, other=0.0)
    first, offset = first + image * 2 * U, offset + image * U
    n = block * BN + tl.arange(0, BN)
    product = tl.zeros((BM, BN), tl.float32)
    for start in range(0, U, BK):
        k = start + tl.arange(0, BK)
        a0, a1, b = tl.load(first + k), tl.load(first + U + k), tl.load(offset + k)
        h = _tanh(x0[:, None] * a0[None, :] + x1[:, None] * a1[None, :] + b[None, :], APPROXIMATE)
        h = h.to(h0.dtype.element_ty)
        if start // BN == block:  # each block of columns writes its own
            tl.store(h0 + row[:, None] * U + k[None, :], h, mask=inside[:, None])
        product = tl.dot(h, tl.load(weight + n[None, :] * U + k[:, None]), product)
    h = _tanh(product + tl.load(bias + n)[None, :], APPROXIMATE).to(h1.dtype.element_ty)
    tl.store(h1 + row[:, None] * U + n[None, :], h, mask=inside[:, None])
    h = h.to(tl.float32)
    for o in tl.static_range(N):
        part = tl.sum(h * tl.load(output + o * U + n)[None, :], 1)
        tl.store(y + (block * rows_in_all + row) * N + o, part, mask=inside)


@triton.jit
def _backward(
    x, gradient, h0, h1, weight, output, d1, first, hidden, P,
    U: tl.constexpr, N: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, APPROXIMATE: tl.constexpr,
):  # fmt: skip
    block, tile, tiles = tl.program_id(0) % (U // BN), tl.program_id(0) // (U // BN), tl.cdiv(P, BM)
    image, place = tile // tiles, (tile % tiles) * BM + tl.arange(0, BM)
    inside, row = place < P, image.to(tl.int64) * P + place
    k = block * BN + tl.arange(0, BN)
    product = tl.zeros((BM, BN), tl.float32)
    hidden += tile * (1 + N) * U
    for start in range(0, U, BK):
        n = start + tl.arange(0, BK)
        h = tl.load(h1 + row[:, None] * U + n[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
        d = tl.zeros((BM, BK), tl.float32)
        for o in tl.static_range(N):
            g = tl.load(gradient + row * N + o, mask=inside, other=0.0)
            d += g[:, None] * tl.load(output + o * U + n)[None, :]
        d *= 1 - h * h
        if start // BN == block:
            tl.store(d1 + row[:, None] * U + n[None, :], d.to(d1.dtype.element_ty), mask=inside[:, None])
            tl.store(hidden + n, tl.sum(d, 0))
            for o in tl.static_range(N):
                g = tl.load(gradient + row * N + o, mask=inside, other=0.0)
                tl.store(hidden + (1 + o) * U + n, tl.sum(g[:, None] * h, 0))
        product = tl.dot(d.to(d1.dtype.element_ty), tl.load(weight + n[:, None] * U + k[None, :]), product)
    h = tl.load(h0 + row[:, None] * U + k[None, :], mask=inside[:, None], other=0.0).to(tl.float32)
    d = product * (1 - h * h)
    x0 = tl.load(x + 2 * place, mask=inside, other=0.0)
    x1 = tl.load(x + 2 * place + 1, mask=inside, other=0.0)
    first += tile * 3 * U + k
    tl.store(first, tl.sum(d * x0[:, None], 0))
    tl.store(first + U, tl.sum(d * x1[:, None], 0))
    tl.store(first + 2 * U, tl.sum(d, 0))


def forward(
    x: Tensor, first: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, output: Tensor, tiles: Tiles
) -> tuple[Tensor, Tensor, Tensor]:
    """``tanh(tanh(x @ first + offset) @ weight.mT + bias) @ output.mT`` of each image, and both layers' units.

    Parameters
    ----------
    x
        Coordinates, shape (P, 2).
    first, offset
        Of each image, shapes (B, 2, U) and (B, U), U a multiple of 64.
    weight, bias
        Shapes (U, U), of the units' precision, and (U,).
    output
        Shape (outputs, U).
    tiles
        How it is cut.
    """
    (images, units), pixels, told = offset.shape, len(x), tiles.told(offset.shape[1])
    blocks, each = units // told["BN"], triton.cdiv(pixels, told["BM"])
    y = x.new_empty(blocks, images, pixels, len(output))
    h0, h1 = (weight.new_empty(images, pixels, units) for _ in range(2))
    _forward[(images * each * blocks,)](
        x, first, offset, weight, bias, output, h0, h1, y, pixels, images * pixels, U=units, N=len(output), **told
    )
    return y.sum(0), h0, h1


def backward(
    x: Tensor, gradient: Tensor, h0: Tensor, h1: Tensor, weight: Tensor, output: Tensor, tiles: Tiles
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of what :func:`forward` was given but for x, from that of its first result, (B, P, outputs)."""
    (images, pixels, units), told = h0.shape, tiles.told(h0.shape[2])
    each = triton.cdiv(pixels, told["BM"])
    d1 = torch.empty_like(h1)
    first = x.new_empty(images, each, 3, units)
    hidden = x.new_empty(images * each, 1 + len(output), units)
    _backward[(images * each * (units // told["BN"]),)](
        x, gradient, h0, h1, weight, output, d1, first, hidden, pixels, U=units, N=len(output), **told
    )
    coordinates, sums = first.sum(1), hidden.sum(0)
    return coordinates[:, :2], coordinates[:, 2], d1.flatten(0, 1).mT @ h0.flatten(0, 1), sums[0], sums[1:]


def plain(x: Tensor, first: Tensor, offset: Tensor, weight: Tensor, bias: Tensor, output: Tensor) -> Tensor:
    """What :func:`forward` computes, as it is written."""
    hidden = torch.tanh(x @ first + offset[:, None])
    return torch.tanh(hidden @ weight.to(hidden.dtype).mT + bias) @ output.mT


def drawn(images: int, pixels: int, units: int, outputs: int, *, device: str, dtype: torch.dtype) -> list[Tensor]:
    """What :func:`forward` is given, at random, and after it a gradient for :func:`backward`."""
    random = torch.Generator(device).manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, generator=random)

    x, first, offset = normal(pixels, 2).tanh(), normal(images, 2, units), normal(images, units) / 2
    weight = (normal(units, units) / units**0.5).to(dtype)
    last = normal(units) / 3, normal(outputs, units) / units**0.5
    return [x, first, offset, weight, *last, normal(images, pixels, outputs)]


def apart(given: list[Tensor], tiles: Tiles) -> list[float]:
    """How far the kernels' result and gradients are from the plain ones, as shares."""
    *given, gradient = given
    leaves = [given[0], *(each.detach().requires_grad_() for each in given[1:])]
    y = plain(*leaves)
    y.backward(gradient)
    found, h0, h1 = forward(*given, tiles)
    gradients = backward(given[0], gradient, h0, h1, given[3], given[5], tiles)
    wanted = [y.detach(), *(leaf.grad for leaf in leaves[1:])]
    pairs = zip(wanted, (found, *gradients), strict=True)
    return [float((a.float() - b.float()).norm() / a.float().norm()) for a, b in pairs]


def milliseconds(work: Callable[[], Any], runs: int = 10) -> float:
    """Of a run on the GPU, after one that is not timed."""
    work()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(runs):
        work()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / runs


def now(given: list[Tensor]) -> dict[str, float]:
    """What it takes as training does it now, but for what the host takes: :class:`SpatialGenerator`, compiled."""
    x, _, offset, weight, _, output, gradient = given
    generator = SpatialGenerator(50, len(output), units=len(weight), layers=2).to(x.device)
    generator.precision = torch.bfloat16
    pose = Pose(offset[:, 0].detach().requires_grad_(), offset[:, 1:3].detach().requires_grad_())
    content = nn.Parameter(torch.randn(len(offset), 50, device=x.device))
    compiled = torch.compile(lambda: generator(x, pose, content), dynamic=False)
    leaves = [*generator.parameters(), content, pose.theta, pose.shift]

    def both() -> None:
        for leaf in leaves:
            leaf.grad = None
        compiled().backward(gradient)

    return {"forward": milliseconds(compiled), "both": milliseconds(both)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--pixels", type=int, default=4096)
    parser.add_argument("--units", type=int, default=512)
    parser.add_argument("--outputs", type=int, default=3)
    chosen = parser.parse_args()
    sizes = chosen.images, chosen.pixels, chosen.units, chosen.outputs
    given = drawn(*sizes, device="cuda", dtype=torch.bfloat16)
    hidden = torch.randn(chosen.images * chosen.pixels, chosen.units, device="cuda").bfloat16()
    products = [lambda: hidden @ given[3].mT, lambda: hidden @ given[3], lambda: hidden.mT @ hidden]
    print(json.dumps({"device": torch.cuda.get_device_name(), "now": now(given)}), flush=True)
    print(json.dumps({"products alone": [milliseconds(product) for product in products]}), flush=True)
    for tiles in TILES:
        try:
            few = drawn(2, *sizes[1:], device="cuda", dtype=torch.bfloat16)
            line: dict[str, Any] = {"apart": max(apart(few, tiles))}
            *ours, gradient = given
            _, h0, h1 = forward(*ours, tiles)
            line["forward"] = milliseconds(partial(forward, *ours, tiles))
            line["backward"] = milliseconds(partial(backward, ours[0], gradient, h0, h1, ours[3], ours[5], tiles))
        except Exception as error:  # of a compiler, or of a device with less memory for a tile
            line = {"failed": str(error)[:200]}
        print(json.dumps({**tiles._asdict(), **line}), flush=True)


if __name__ == "__main__":
    main()

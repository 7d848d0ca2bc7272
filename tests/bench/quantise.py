"""Speed of our residual quantiser beside a plain one and vector-quantize-pytorch: `python -m tests.bench.quantise`.

The library's codes and moving averages are ours to the last figures (measured below where it is installed; the project does
not depend on it). What keeps us from using it is when it changes its codebooks: inside `forward`, from one micro-batch. So
gradient accumulation updates several times a step, a step that must be skipped (NaN) has already changed them, dead codes are
drawn from the global generator, ranks sum in float32 in an order of their own, and layers drop for a whole batch instead of a
clip. Ours gives statistics and takes one `update` a step: the same bits for any number of ranks and micro-batches.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import tyro
from torch import Tensor

from codec.quantise import ResidualQuantiser


@dataclass(frozen=True)
class Bench:
    """What to measure; the defaults are a quantiser of H-Codec 1.0 and eight crops of 5 s."""

    num_layers: int = 4
    codebook_size: int = 1024
    width: int = 512
    num_clips: int = 8
    num_frames: int = 125
    repeats: int = 10
    device: str = "cpu"


class NaiveQuantiser:
    """As one writes it first: `cdist`, one-hot matrices, one layer after the other; float32 sums."""

    def __init__(self, quantiser: ResidualQuantiser):
        self.codebooks, self.counts, self.sums = (buffer.clone() for buffer in list(quantiser.buffers())[:3])

    def encode(self, latent_BDF: Tensor) -> Tensor:
        residual_ND, codes = latent_BDF.mT.flatten(0, 1), []
        for codebook_CD in self.codebooks:
            codes.append(torch.cdist(residual_ND, codebook_CD).argmin(-1))
            residual_ND = residual_ND - codebook_CD[codes[-1]]
        return torch.stack(codes, -1).view(len(latent_BDF), -1, len(codes)).mT

    def step(self, latent_BDF: Tensor) -> None:
        residual_ND, commitment = latent_BDF.mT.flatten(0, 1), 0.0
        for layer, codebook_CD in enumerate(self.codebooks):
            codes_N = torch.cdist(residual_ND.detach(), codebook_CD).argmin(-1)
            one_hot_NC = torch.nn.functional.one_hot(codes_N, len(codebook_CD)).float()
            self.counts[layer].lerp_(one_hot_NC.sum(0), 0.01)
            self.sums[layer].lerp_(one_hot_NC.T @ residual_ND.detach(), 0.01)
            residual_ND = residual_ND - codebook_CD[codes_N]
            commitment = commitment + residual_ND.square().mean()
        commitment.backward()
        self.codebooks = self.sums / self.counts[..., None]


def library(quantiser: ResidualQuantiser) -> torch.nn.Module | None:
    """vector-quantize-pytorch with our codebooks, or None."""
    try:
        from vector_quantize_pytorch import ResidualVQ
    except ImportError:
        return None
    layers, size, width = quantiser.codebooks.shape
    options = {"kmeans_init": False, "decay": quantiser.decay, "threshold_ema_dead_code": 0}
    theirs = ResidualVQ(dim=width, num_quantizers=layers, codebook_size=size, **options).to(quantiser.codebooks.device)
    for layer, module in enumerate(theirs.layers):
        module._codebook.embed.data.copy_(quantiser.codebooks[layer][None])
        module._codebook.embed_avg.data.copy_(quantiser.sums[layer][None])
        module._codebook.cluster_size.data.copy_(quantiser.counts[layer][None])
    return theirs


def milliseconds(work: Callable[[], object], config: Bench) -> float:
    """Least time of one call: CPU time of the process, so that others on the machine count little, or wall time of a GPU."""
    on_cpu = config.device == "cpu"
    clock, times = time.process_time if on_cpu else time.perf_counter, []
    for _ in range(config.repeats + 1):
        started = clock()
        work()
        if not on_cpu:
            torch.cuda.synchronize()
        times.append(clock() - started)
    return min(times[1:]) * 1e3


def our_step(quantiser: ResidualQuantiser, latent_BDF: Tensor) -> None:
    quantised = quantiser(latent_BDF)
    quantised.commitment.backward()
    quantiser.update(quantised.statistics, key=0)


def main(config: Bench) -> None:
    generator = torch.Generator().manual_seed(0)
    latent_BDF = torch.randn(config.num_clips, config.width, config.num_frames, generator=generator).to(config.device)
    quantiser = ResidualQuantiser(config.num_layers, config.codebook_size, config.width).to(config.device)
    quantiser.initialise(latent_BDF.mT.flatten(0, 1), key=0)
    naive, theirs = NaiveQuantiser(quantiser), library(quantiser)
    leaf_BDF = latent_BDF.requires_grad_()
    rows = {"plain (cdist, one-hot)": (lambda: naive.encode(latent_BDF), lambda: naive.step(leaf_BDF))}
    with torch.no_grad():
        codes_BKF = quantiser.encode(latent_BDF)
        print(f"codes equal to the plain one's: {float((naive.encode(latent_BDF) == codes_BKF).float().mean()):.4%}")
    if theirs:
        found_BKF = theirs(latent_BDF.mT)[1].mT  # one update
        quantiser.update(quantiser(latent_BDF).statistics, key=0)
        print(f"codes equal to the library's:   {float((found_BKF == codes_BKF).float().mean()):.4%}")
        for name, ours_KCD in (
            ("embed", quantiser.codebooks),
            ("cluster_size", quantiser.counts),
            ("embed_avg", quantiser.sums),
        ):
            their_KCD = torch.cat([getattr(layer._codebook, name) for layer in theirs.layers])
            print(f"after one update, greatest difference of {name}: {float((their_KCD - ours_KCD).abs().max()):.2e}")
        evaluated = library(quantiser).eval()
        rows["vector-quantize-pytorch"] = (
            torch.no_grad()(lambda: evaluated(latent_BDF.mT)),
            lambda: theirs(leaf_BDF.mT)[2].sum().backward(),
        )
    rows["ours"] = (lambda: quantiser.encode(latent_BDF), lambda: our_step(quantiser, leaf_BDF))
    print(f"{'ms':>28}  {'encode':>8}  {'training step':>14}")
    for name, (encode, step) in rows.items():
        print(
            f"{name:>28}  {milliseconds(torch.no_grad()(encode), config):8.1f}  {milliseconds(step, config):14.1f}", flush=True
        )


if __name__ == "__main__":
    main(tyro.cli(Bench))

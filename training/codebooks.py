"""Codebooks on many ranks: statistics that are summed, one k-means start for all, and the alarms for what can go wrong.

Buffers are nobody's but ours: DeepSpeed broadcasts parameters at the start and buffers never. All functions but the alarm are
collective: every rank calls them, in the same order. Without torch.distributed they are those of a world of one rank.

Shapes: K layers, C codes, D width, M candidates, N vectors.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from inspect import signature

import torch
from torch import Tensor, nn
from torch import distributed as dist

from codec.quantise import ResidualQuantiser, Statistics, usage
from training.collective import rank, world_size


def reduce_statistics(statistics: Statistics) -> Statistics:
    """The statistics of all ranks' batches: sums, and candidates in rank order, as one rank has them on the joined batch.

    Every rank must have the same number of candidates (so, of clips).
    """
    if world_size() == 1:
        return statistics
    counts_KC, sums_KCD = statistics.counts_KC.clone(), statistics.sums_KCD.clone()
    dist.all_reduce(counts_KC)
    dist.all_reduce(sums_KCD)
    return Statistics(counts_KC, sums_KCD, torch.cat(_gathered(statistics.candidates_KMD), dim=1))


def initialise_codebooks(codec: nn.Module, forward: Callable[[], object], key: int, num_steps: int = 1) -> bool:
    """Give every ResidualQuantiser in `codec` its k-means start from what it is fed when `forward` runs this rank's clips.

    Latents of all ranks are joined in rank order; rank 0 looks for the centres and broadcasts them, so all ranks have the same
    bits on any hardware. `key` seeds the draws; the clips of all ranks are those of `num_steps` optimizer steps. Quantisers
    that had their start (a resumed or an imported codec) keep it.
    False, on all ranks, where any latent is not finite: then nothing has changed.
    """
    quantisers = [module for module in codec.modules() if isinstance(module, ResidualQuantiser)]
    quantisers = [quantiser for quantiser in quantisers if not bool(quantiser.initialised.all())]
    if not quantisers:
        return True
    latents = [_joined(latents_ND) for latents_ND in _latents(quantisers, forward)]
    if not all(bool(joined_ND.isfinite().all()) for joined_ND in latents):
        return False
    for quantiser, joined_ND in zip(quantisers, latents):
        if rank() == 0:
            quantiser.initialise(joined_ND, key, num_steps)
        if world_size() > 1:
            for buffer in quantiser.buffers():
                dist.broadcast(buffer, src=0)
    return True


def _latents(quantisers: list[ResidualQuantiser], forward: Callable[[], object]) -> list[Tensor]:
    """What each quantiser is given while `forward` runs: its clips' frames (N, D), without padding."""
    caught: dict[nn.Module, list[Tensor]] = {quantiser: [] for quantiser in quantisers}

    def catch(quantiser: nn.Module, inputs: tuple, options: dict) -> None:
        given = signature(ResidualQuantiser.forward).bind(quantiser, *inputs, **options).arguments
        latent_BDF, num_frames_B = given["latent_BDF"], given.get("num_frames_B")
        num_frames = [latent_BDF.shape[-1]] * len(latent_BDF) if num_frames_B is None else num_frames_B.tolist()
        caught[quantiser] += [clip_DF[:, :length].T.float() for clip_DF, length in zip(latent_BDF, num_frames)]

    hooks = [quantiser.register_forward_pre_hook(catch, with_kwargs=True) for quantiser in quantisers]
    try:
        with torch.no_grad():
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    assert all(caught.values()), "the forward pass did not reach every quantiser"
    return [torch.cat(clips) for clips in caught.values()]


def _joined(vectors_ND: Tensor) -> Tensor:
    """The vectors of all ranks, in rank order; each rank may have another number of them."""
    if world_size() == 1:
        return vectors_ND
    sizes = [int(size) for size in _gathered(torch.tensor(len(vectors_ND), device=vectors_ND.device))]
    padded_ND = nn.functional.pad(vectors_ND, (0, 0, 0, max(sizes) - len(vectors_ND)))
    return torch.cat([part_ND[:size] for part_ND, size in zip(_gathered(padded_ND), sizes)])


def _gathered(tensor: Tensor) -> list[Tensor]:
    """The tensors of all ranks, of one shape."""
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return parts


def assert_same_buffers(module: nn.Module) -> None:
    """AssertionError that names the buffers of `module` that are not the same bits on all ranks."""
    buffers = dict(module.named_buffers())
    digests = {name: _digest(buffer) for name, buffer in buffers.items()}
    if world_size() == 1 or not digests:
        return
    device = next(iter(buffers.values())).device
    mine = torch.stack([torch.frombuffer(bytearray(digest), dtype=torch.uint8) for digest in digests.values()]).to(device)
    parts = torch.stack(_gathered(mine))
    differ = (parts != parts[0]).any(-1).any(0).tolist()
    names = [name for name, differs in zip(digests, differ) if differs]
    assert not names, f"buffers differ between ranks: {', '.join(names)}"


def _digest(tensor: Tensor) -> bytes:
    raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return hashlib.sha256(raw).digest()


@dataclass
class CollapseAlarm:
    """Tells when a layer works with few of its codes for many steps in a row; once, until it has recovered.

    It is no part of a checkpoint: a resumed run counts from 0 again, and repeats an alarm after `num_steps`.
    """

    limit: float = 0.05  # of perplexity over codebook size
    num_steps: int = 100
    _low_steps: dict[tuple[str, int], int] = field(default_factory=dict)

    def __call__(self, stream: str, counts_KC: Tensor) -> list[str]:
        """One step of `stream`, with its quantiser's `counts`: a message for each layer that is low for `num_steps` now."""
        codebook_size, current, messages = counts_KC.shape[-1], usage(counts_KC), []
        for layer, (perplexity, share) in enumerate(zip(current.perplexity_K.tolist(), current.share_K.tolist())):
            low = perplexity < self.limit * codebook_size
            steps = self._low_steps[stream, layer] = self._low_steps.get((stream, layer), 0) + 1 if low else 0
            if steps == self.num_steps:
                messages.append(
                    f"codebook collapse: layer {layer} of the {stream} quantiser had a perplexity below "
                    f"{self.limit * codebook_size:g} of {codebook_size} for {steps} steps (now {perplexity:.1f}, {share:.0%} "
                    "of its codes in use): try a lower learning rate, a larger batch or a larger weight of the commitment"
                )
        return messages

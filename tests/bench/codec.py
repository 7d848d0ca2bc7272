"""Speed of a codec beside the same network written out module by module: `python -m tests.bench.codec`.

The plain version takes the LSTMs step by step, softmax and products of the attention one after the other, overlap-add by
`fold`, and the distance to every code as a difference. Both run the same weights in the same process, and must agree. Beside
the times stand the operations that the network needs, and what share of this machine's matrix products that is.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
import tyro
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from codec.codes import Codes
from codec.config import TeacherConfig
from codec.istft import IstftHead
from codec.model import Codec
from codec.presets import PRESETS
from codec.quantise import ResidualQuantiser
from codec.transformer import RecurrentAttention, rotate


@dataclass(frozen=True)
class Bench:
    """What to measure. The teacher is the log-mel one, which needs no weights."""

    preset: str = "hcodec-1.0"
    seconds: float = 5.0
    num_clips: int = 1
    repeats: int = 3
    device: str = "cpu"
    threads: int = 1
    compile: bool = False
    """Also measure the network under torch.compile (ConvNeXt blocks and convolutions; compiling takes minutes)."""


class PlainAttention(RecurrentAttention):
    """One step of the LSTM at a time; scores, softmax and mixture as written in the paper."""

    def forward(self, x_BFD: Tensor, rotary: tuple[Tensor, Tensor], mask_B11F: Tensor | None) -> Tensor:
        assert mask_B11F is None
        lstm, frames = self.lstm, []
        hidden_BD = cell_BD = torch.zeros_like(x_BFD[:, 0])
        for x_BD in x_BFD.unbind(1):
            gates = functional.linear(x_BD, lstm.weight_ih_l0, lstm.bias_ih_l0)
            gates = gates + functional.linear(hidden_BD, lstm.weight_hh_l0, lstm.bias_hh_l0)
            enter, forget, new, leave = gates.chunk(4, dim=-1)
            cell_BD = forget.sigmoid() * cell_BD + enter.sigmoid() * new.tanh()
            hidden_BD = leave.sigmoid() * cell_BD.tanh()
            frames.append(hidden_BD)
        x_BFD = torch.stack(frames, dim=1)
        layers = (self.query, self.key, self.value)
        query, key, value = (layer(x_BFD).unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for layer in layers)
        scores = rotate(query, rotary) @ rotate(key, rotary).mT / query.shape[-1] ** 0.5
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))


class PlainHead(IstftHead):
    """Overlap-add by `fold`, of the frames and of the window."""

    def forward(self, x_BFD: Tensor, num_frames_B: Tensor | None = None) -> Tensor:
        log_magnitude, phase = self.out(x_BFD).mT.chunk(2, dim=1)
        magnitude = log_magnitude.exp().clip(max=100)
        frames_BWF = torch.fft.irfft(magnitude * (phase.cos() + 1j * phase.sin()), dim=1)
        window_W = torch.hann_window(self.window_samples, device=x_BFD.device)
        weights_BWF = window_W.square()[None, :, None].expand(1, -1, x_BFD.shape[1])
        length = (x_BFD.shape[1] - 1) * self.hop_samples + self.window_samples
        options = {"output_size": (1, length), "kernel_size": (1, self.window_samples), "stride": (1, self.hop_samples)}
        wave_BT = functional.fold(frames_BWF * window_W[:, None], **options)[:, 0, 0]
        weight_BT = functional.fold(weights_BWF, **options)[:, 0, 0]
        edge = (self.window_samples - self.hop_samples) // 2
        return (wave_BT / weight_BT.clamp(min=1e-11))[:, edge : length - edge]


class PlainQuantiser(ResidualQuantiser):
    """The difference to every code, frame by frame."""

    def encode(self, latent_BDF: Tensor, num_layers: int | None = None) -> Tensor:
        residual_BFD, codes = latent_BDF.mT.clone(), []
        for codebook_CD in self.codebooks[:num_layers]:
            code_BF = [
                (residual_BD[:, None] - codebook_CD).square().sum(-1).argmin(-1) for residual_BD in residual_BFD.unbind(1)
            ]
            codes.append(torch.stack(code_BF, 1))
            residual_BFD = residual_BFD - codebook_CD[codes[-1]]
        return torch.stack(codes, 1)


PLAIN = {"LSTM and attention": PlainAttention, "STFT head": PlainHead, "RVQ search": PlainQuantiser}


def plain(codec: Codec, parts: list[str]) -> Codec:
    """A copy with the same weights whose named parts are the plain ones."""
    codec = deepcopy(codec)
    for module in codec.modules():
        for part in parts:
            if type(module) is PLAIN[part].__mro__[1]:
                module.__class__ = PLAIN[part]
    return codec


def main(bench: Bench) -> None:
    torch.set_num_threads(bench.threads)
    torch.manual_seed(0)
    config = replace(PRESETS[bench.preset], teacher=TeacherConfig(width=PRESETS[bench.preset].teacher.width))
    codec = Codec(config).to(bench.device).eval()
    wave_BT = 0.1 * torch.randn(bench.num_clips, round(bench.seconds * config.sample_rate_hz), device=bench.device)
    fit(codec, wave_BT)
    peak = peak_flops(bench)
    print(f"{bench.preset}, {bench.num_clips} clips of {bench.seconds:g} s, {bench.device}, {torch.get_num_threads()} threads,")
    print(f"torch {torch.__version__}; matrix products here: {peak / 1e9:.0f} GFLOP/s in float32\n")
    unit = "CPU ms" if bench.device == "cpu" else "ms"
    print(f"| what | {unit} | x real time | GFLOP | share of peak | ours is faster by |")
    print("|---|---|---|---|---|---|")
    kinds = {
        "ours": codec,
        **{f"plain {part}": plain(codec, [part]) for part in PLAIN},
        "plain, all": plain(codec, list(PLAIN)),
    }
    if bench.compile:
        kinds["torch.compile"] = compiled(codec)
    codes = codec.encode(wave_BT)
    for name, work in {"encode": encode(wave_BT), "decode": decode(codes), "training": train(wave_BT)}.items():
        flops = count_flops(lambda work=work: work(plain(codec, ["LSTM and attention"])))
        measured = {kind: clocked(work, network, bench) for kind, network in kinds.items() if applies(kind, name)}
        for kind, seconds in measured.items():
            real_time = bench.num_clips * bench.seconds / seconds
            share = f"{flops / 1e9:.1f} | {flops / seconds / peak:.0%}" if kind == "ours" else "|"
            print(f"| {name}, {kind} | {seconds * 1e3:.0f} | {real_time:.1f} | {share} | {seconds / measured['ours']:.2f} |")
    assert torch.equal(kinds["plain, all"].encode(wave_BT).acoustic_BKF, codes.acoustic_BKF)
    difference = (kinds["plain, all"].decode(codes) - codec.decode(codes)).abs().max() / codec.decode(codes).abs().max()
    print(f"\nBoth give the same codes, and waves that differ by {difference:.0e} of the peak.\n")
    breakdown(codec, wave_BT, bench)


def applies(kind: str, work: str) -> bool:
    """Only encoding uses `ResidualQuantiser.encode`, and it does not use the head."""
    return {"plain RVQ search": work == "encode", "plain STFT head": work != "encode"}.get(kind, True)


def fit(codec: Codec, wave_BT: Tensor) -> None:
    """Codebooks at the latents' level, so that the search has something to tell apart."""
    with torch.no_grad():
        output = codec.train()(wave_BT, codec.feature(wave_BT))
        codec.eval()
        for quantiser, quantised in ((codec.acoustic_quantiser, output.acoustic), (codec.semantic_quantiser, output.semantic)):
            quantiser.codebooks *= quantised.statistics.candidates_KMD[0].std()


def encode(wave_BT: Tensor) -> Callable[[Codec], object]:
    return lambda codec: codec.encode(wave_BT)


def decode(codes: Codes) -> Callable[[Codec], object]:
    return lambda codec: codec.decode(codes)


def train(wave_BT: Tensor) -> Callable[[Codec], object]:
    def work(codec: Codec) -> None:
        codec.zero_grad()
        output = codec(wave_BT, codec.feature(wave_BT))
        (output.reconstruction_BT.abs().mean() + output.feature_BDF.square().mean() + output.commitment).backward()

    return work


def compiled(codec: Codec) -> Codec:
    """The same weights; what consists of many small operations between products is compiled."""
    codec = deepcopy(codec)
    for module in (codec.semantic_encoder, codec.semantic_decoder, codec.decoder.vocoder.convnext, codec.decoder.vocoder.head):
        module.compile()
    return codec


def clocked(work: Callable[[Codec], object], codec: Codec, bench: Bench) -> float:
    """The fastest of the repeats, in seconds."""
    work(codec)
    times = []
    for _ in range(bench.repeats):
        start = now(bench)
        work(codec)
        times.append(now(bench) - start)
    return min(times)


def now(bench: Bench) -> float:
    """Seconds of this process on CPUs, which other processes do not slow down; or of the clock, where a GPU works."""
    if bench.device == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def peak_flops(bench: Bench) -> float:
    a, b = torch.randn(2, 1536, 1536, device=bench.device)
    for _ in range(3):
        a @ b
    start = now(bench)
    for _ in range(10):
        a @ b
    return 10 * 2 * 1536**3 / (now(bench) - start)


def count_flops(work: Callable[[], object]) -> float:
    """Of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


def breakdown(codec: Codec, wave_BT: Tensor, bench: Bench) -> None:
    """Where the time of encoding and decoding goes, by module."""
    parts = {
        "teacher (log-mel)": None,
        "encoder: convolutions": codec.encoder,
        "encoder: Transformer": codec.encoder.transformer,
        "semantic encoder": codec.semantic_encoder,
        "decoder: residual blocks": [*codec.decoder.vocoder.before, *codec.decoder.vocoder.after],
        "decoder: Transformer": codec.decoder.vocoder.transformer,
        "decoder: ConvNeXt": codec.decoder.vocoder.convnext,
        "decoder: ISTFT head": codec.decoder.vocoder.head,
    }
    spent = defaultdict(float)
    with ExitStack() as stack:
        for name, modules in parts.items():
            for module in modules if isinstance(modules, list) else [modules] if modules else []:
                stack.enter_context(watched(module, name, spent, bench))
        start = now(bench)
        for _ in range(bench.repeats):
            codec.decode(codec.encode(wave_BT))
        total = now(bench) - start
        start = now(bench)
        for _ in range(bench.repeats):
            codec.feature(wave_BT)
        spent["teacher (log-mel)"] = now(bench) - start
    spent["encoder: convolutions"] -= spent["encoder: Transformer"]
    print("| encode + decode | ms | share |\n|---|---|---|")
    for name in parts:
        print(f"| {name} | {spent[name] / bench.repeats * 1e3:.0f} | {spent[name] / total:.0%} |")
    rest = total - sum(spent.values())
    print(f"| the rest: RVQ search, padding, checks | {rest / bench.repeats * 1e3:.0f} | {rest / total:.0%} |")


@contextmanager
def watched(module: nn.Module, name: str, spent: dict[str, float], bench: Bench):
    """Adds the time of each call of the module."""
    starts = []
    before = module.register_forward_pre_hook(lambda *_: starts.append(now(bench)))
    after = module.register_forward_hook(lambda *_: spent.__setitem__(name, spent[name] + now(bench) - starts.pop()))
    yield
    before.remove()
    after.remove()


if __name__ == "__main__":
    main(tyro.cli(Bench, prog="tests.bench.codec"))

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from lm import layout
from lm.cached import Stepper
from lm.conditions import Conditions
from lm.config import DecoderConfig, TokenConfig
from lm.generate import Prompt, generate, stream
from lm.model import NEVER, Batch, Segment, UnifiedLM
from lm.sampling import Sampling
from lm.tasks import TASKS as ALL_TASKS
from tests.lm.made import SMALL, TOKENS, alone, codes, conditions, model, with_input_codes

TASKS = ["lass", "sr", "tta", "tse", "speech_edit", "ss"]
LIMITS = [5, 3, 7, 4, 9, 6]
SEEDS = [11, 12, 13, 14, 15, 16]
GREEDY = Sampling(temperature=0)
DYNAMIC = TokenConfig(3, 2, codebook_size=4, max_duration_frames=3)


def prompt(tasks=TASKS, limits=LIMITS, seeds=SEEDS, copies=False) -> Prompt:
    given = conditions(tasks)
    return Prompt(tasks, with_input_codes(given) if copies else given, limits, seeds)


def clips(frames) -> list[tuple]:
    streams = zip(frames.acoustic_BKF, frames.semantic_BKF, frames.num_frames_B.tolist(), frames.ended_B.tolist())
    return [(acoustic[:, :n].tolist(), semantic[:, :n].tolist(), ended) for acoustic, semantic, n, ended in streams]


def without_cache(lm: UnifiedLM, task: str, given: Conditions, limit: int) -> list[list[int]]:
    """Greedy slots of one clip at a constant rate: the whole forward pass for each, and rules written out once more."""
    tokens, config = lm.config.tokens, lm.config
    task_B, free = torch.tensor([config.task_index(task)]), task in ("tta", "speech_edit", "event_edit")
    period = torch.tensor([limit // 2 if task == "ss" else NEVER])
    slots, end = [], None
    while end is None or len(slots) < end + tokens.num_layers - 1:
        slot = len(slots)
        inputs = torch.tensor([[[tokens.start] * tokens.num_layers, *slots]])
        clock = layout.target_clock(torch.ones(1, limit + 9, dtype=torch.int64), inputs.shape[1], period)
        segments, clocks = lm.prefix(task_B, given)
        offered = lm.offers(given, slot + 1, torch.tensor([1 + (task == "ss")]))
        target = Segment(lm.embed_slots(inputs, -1, offered), torch.tensor([slot + 1]))
        x, clock, _ = lm.pack([*segments, target], [*clocks, clock])
        hidden = lm.decoder(x, clock)[:, -1]
        logits = lm.heads(hidden, slot % 2)[0]
        for layer in range(tokens.num_layers if lm.config.copies else 0):
            if (symbol := int(offered[0, slot, layer])) <= tokens.end:
                logits[layer, symbol] += lm.trust(hidden, slot % 2)[0, layer]
        if not (free and slot % 2 == 0 and slot):
            logits[0, tokens.end] = -torch.inf
        logits[1:, tokens.end] = -torch.inf
        best = logits.argmax(-1).tolist()
        if end is None and slot % 2 == 0 and (slot == 2 * limit or best[0] == tokens.end):
            end = slot
        slots.append([])
        for layer, symbol in enumerate(best):
            source = slot - layer
            real = source >= 0 and (end is None or source < end)
            slots[-1].append(symbol if real else tokens.end if layer == 0 and source == end else tokens.pad)
    return slots


@pytest.mark.parametrize("copies", [False, True])
@pytest.mark.parametrize("clock", ["aligned", "running"])
@torch.no_grad()
def test_greedy_with_the_cache_equals_greedy_without(clock, copies):
    lm, given = model(clock=clock, copies=copies), prompt(copies=copies)
    found = clips(generate(lm, given, GREEDY))
    for row, (task, limit) in enumerate(zip(TASKS, LIMITS)):
        slots = torch.tensor([without_cache(lm, task, alone(given.conditions, row), limit)])
        length = len(found[row][0][0])
        acoustic, semantic = layout.codes_of(slots, length, TOKENS)
        assert found[row][:2] == (acoustic[0].tolist(), semantic[0].tolist())
        assert slots[0, 2 * length, 0] == TOKENS.end


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(0.8, top_k=5, top_p=0.9, guidance=2.5)])
@pytest.mark.parametrize("tokens", [TOKENS, DYNAMIC, TokenConfig(1, 1, codebook_size=9), "copies"])
def test_a_batch_equals_each_clip_alone_whatever_the_others(sampling, tokens):
    copies = tokens == "copies"
    lm, together = model(tokens=TOKENS if copies else tokens, copies=copies), prompt(copies=copies)
    found = clips(generate(lm, together, sampling))
    for row in range(len(TASKS)):
        one = Prompt([TASKS[row]], alone(together.conditions, row), [LIMITS[row]], [SEEDS[row]])
        assert clips(generate(lm, one, sampling)) == [found[row]]


def test_the_same_seed_gives_the_same_tokens_and_another_others():
    lm = model(spread=3.0)
    first, again = (clips(generate(lm, prompt(), Sampling())) for _ in range(2))
    other = clips(generate(lm, prompt(seeds=[seed + 100 for seed in SEEDS]), Sampling()))
    assert first == again
    assert all(one[0] != another[0] for one, another in zip(first, other))


def test_nothing_is_drawn_from_the_global_generator():
    lm, state = model(), torch.get_rng_state()
    generate(lm, prompt(), Sampling())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("chunk_frames", [1, 2, 100])
@pytest.mark.parametrize("tokens", [TOKENS, DYNAMIC])
def test_the_stream_is_the_whole_in_pieces(chunk_frames, tokens):
    lm = model(tokens=tokens)
    whole = clips(generate(lm, prompt(), Sampling()))
    chunks = [clips(chunk) for chunk in stream(lm, prompt(), Sampling(), chunk_frames=chunk_frames)]
    for row in range(len(TASKS)):
        for part in (0, 1):
            for k, layer in enumerate(whole[row][part]):
                assert [code for chunk in chunks for code in chunk[row][part][k]] == layer
    assert all(len(chunk[0][0][0]) <= chunk_frames for chunk in chunks)


def test_a_frame_is_streamed_as_soon_as_its_last_layer_is_there(monkeypatch):
    lm, steps = model(), []
    step = Stepper.__call__
    monkeypatch.setattr(Stepper, "__call__", lambda *args: (steps.append(1), step(*args))[1])
    chunks = stream(lm, prompt(["sr"], [20], [0]), GREEDY, chunk_frames=1)
    next(chunks)
    assert len(steps) == 2 + TOKENS.num_layers - 2  # slots 0 to K: the last layer of semantic frame 0
    next(chunks)
    assert len(steps) == 2 + TOKENS.num_layers


def test_streaming_leaves_the_callers_gradients_on():
    next(stream(model(), prompt(), GREEDY, chunk_frames=1))
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("tokens", [TOKENS, TokenConfig(4, 2, codebook_size=12), TokenConfig(1, 3, codebook_size=12)])
def test_aligned_targets_have_exactly_their_length_and_all_codes_are_valid(tokens):
    tasks, limits = ["sr", "tse", "ss", "lass"], [1, 9, 4, 6]
    found = generate(model(tokens=tokens), prompt(tasks, limits, [0] * 4), Sampling(temperature=2.0))
    assert found.num_frames_B.tolist() == limits and not found.ended_B.any()
    assert found.acoustic_BKF.shape == (4, tokens.num_acoustic, 9) and found.semantic_BKF.shape == (4, tokens.num_semantic, 9)
    layout.check_codes(found.acoustic_BKF, found.semantic_BKF, found.num_frames_B, tokens)


def test_groups_of_an_aligned_target_stand_for_exactly_its_frames():
    tasks, limits = ["sr", "tse", "vc"] * 4, list(range(1, 13))
    found = generate(model(tokens=DYNAMIC), prompt(tasks, limits, limits), Sampling())
    layout.check_codes(found.acoustic_BKF, found.semantic_BKF, found.num_frames_B, DYNAMIC)
    durations = layout.durations_of(found.acoustic_BKF, found.num_frames_B, DYNAMIC)
    assert [durations[row, :n].sum().item() for row, n in enumerate(found.num_frames_B)] == limits
    assert (found.num_frames_B < torch.tensor(limits)).any()


def test_a_free_target_ends_where_the_model_says_so_or_at_its_cap():
    lm = model()
    with torch.no_grad():
        lm.heads.even[:, TOKENS.end] = 0
        never = generate(lm, prompt(["tta"], [7], [1]), Sampling(temperature=0.01))
        lm.decoder.norm.weight.fill_(1)
        lm.heads.even.zero_()
        lm.heads.odd.zero_()
        direction = lm.segments.weight[4] / lm.segments.weight[4].norm()
        lm.heads.even[0, TOKENS.end] = 100 * direction
    assert never.num_frames_B.tolist() == [7] and not never.ended_B.any()
    ends = [generate(lm, prompt(["tta"], [7], [seed]), Sampling()) for seed in range(8)]
    assert {(int(found.num_frames_B), bool(found.ended_B)) for found in ends} & {(n, True) for n in range(1, 7)}
    assert all(bool(found.ended_B) or int(found.num_frames_B) == 7 for found in ends)


def test_guidance_of_one_is_none_and_a_little_more_goes_through_the_other_rows():
    lm = model()
    plain = clips(generate(lm, prompt(), GREEDY))
    assert clips(generate(lm, prompt(), replace(GREEDY, guidance=1.000001))) == plain
    assert clips(generate(lm, prompt(), replace(GREEDY, guidance=6.0))) != plain


def test_guidance_of_zero_ignores_the_guiding_condition():
    lm, given = model(), prompt(["tse"], [6], [0])
    found = generate(lm, given, replace(GREEDY, guidance=0.0))
    changed = replace(
        given.conditions, reference=replace(given.conditions.reference, values_BMD=-given.conditions.reference.values_BMD)
    )
    assert clips(generate(lm, replace(given, conditions=changed), replace(GREEDY, guidance=0.0))) == clips(found)
    assert clips(generate(lm, replace(given, conditions=changed), GREEDY)) != clips(generate(lm, given, GREEDY))


def test_the_training_loss_is_the_likelihood_that_generation_samples_from():
    """Frequencies of sampled first symbols against the softmax of the training path."""
    lm, count = model(spread=2.0, tokens=TokenConfig(2, 2, codebook_size=5)), 2000
    given = conditions(["sr"])
    many = Conditions(
        input=replace(
            given.input, values_BMD=given.input.values_BMD.expand(count, -1, -1), lengths_B=given.input.lengths_B.expand(count)
        )
    )
    found = generate(lm, Prompt(["sr"] * count, many, [1] * count, list(range(count))), Sampling())
    frequencies = found.acoustic_BKF[:, 0, 0].bincount(minlength=5) / count
    nll = []
    for symbol in range(5):
        target = torch.full((1, 2, 1), symbol)
        losses = lm(Batch.of(lm.config, ["sr"], given, (target, target, torch.tensor([1]))))
        nll.append(losses.nll_BSK[0, 0, 0])
    wanted = torch.stack(nll).neg().softmax(0)  # without E, which may not come there
    assert (frequencies - wanted).abs().max() < 4 * (0.25 / count) ** 0.5


@pytest.mark.slow
def test_a_compiled_step_gives_the_same_tokens():
    lm = model(decoder=replace(SMALL.decoder, num_layers=1))
    assert clips(generate(lm, prompt(), GREEDY, compiled=True)) == clips(generate(lm, prompt(), GREEDY))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_gives_the_same_tokens():
    lm = model().cuda()
    assert clips(generate(lm, prompt(), GREEDY, compiled=True)) == clips(generate(lm, prompt(), GREEDY))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": []}, "6 tasks, 6 limits, 0 seeds"),
        ({"limits": [1, 2]}, "6 tasks, 2 limits"),
        ({"limits": [0] * 6}, "at least one frame"),
        ({"limits": [9000] * 6}, "rows of 18033 positions; the model takes 8192"),
        ({"conditions": Conditions()}, "clip 0: task lass: text and input missing"),
        ({"tasks": ["lass", "sr", "tta", "tsee", "speech_edit", "ss"]}, "did you mean 'tse'"),
    ],
)
def test_a_prompt_that_is_wrong_says_what(change, message):
    with pytest.raises(ValueError, match=message):
        stream(model(), replace(prompt(), **change), Sampling())


def test_a_tiny_model_learns_a_clip_of_every_task_by_heart_and_gives_them_back():
    torch.manual_seed(0)
    tokens = TokenConfig(codebook_size=64)
    lm = UnifiedLM(replace(SMALL, tokens=tokens, decoder=DecoderConfig(64, 2, 4, feed_forward_width=128)))
    tasks, lengths = list(ALL_TASKS), [10, 8, 6, 12, 7, 5, 11, 9, 4, 10]
    given, targets = conditions(tasks), codes(lengths, lm.config)
    batch = Batch.of(lm.config, tasks, given, targets)
    optimiser = torch.optim.AdamW(lm.parameters(), lr=5e-3)
    for _ in range(150):
        optimiser.zero_grad()
        losses = lm(batch)
        losses.mean.backward()
        optimiser.step()
    assert losses.correct_BSK.sum() / losses.num_targets_BSK.sum() > 0.99
    limits = [20 if bool(free) else length for free, length in zip(batch.free_B, lengths)]
    found = generate(lm.eval(), Prompt(tasks, given, limits), GREEDY)
    assert found.num_frames_B.tolist() == lengths and torch.equal(found.ended_B, batch.free_B)
    mask = F.one_hot(torch.tensor(lengths) - 1, 12).flip(1).cumsum(1).flip(1).bool()[:, None]
    assert torch.equal((found.acoustic_BKF * mask), targets[0] * mask) and torch.equal(
        found.semantic_BKF * mask, targets[1] * mask
    )

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lm import layout
from lm.config import TokenConfig

SETTINGS = st.builds(
    TokenConfig,
    num_acoustic=st.integers(1, 17),
    num_semantic=st.integers(1, 17),
    codebook_size=st.integers(1, 40),
    max_duration_frames=st.integers(1, 8),
)
LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=4)


def random_codes(tokens: TokenConfig, lengths: list[int], seed: int):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randint(tokens.vocab_size, (len(lengths), layers, max(lengths)), generator=generator)
        for layers in (tokens.num_acoustic, tokens.num_semantic)
    ]


def inside(codes, lengths):
    return [row[:, :length] for row, length in zip(codes, lengths)]


@settings(deadline=None)  # of a machine that others use
@given(SETTINGS, LENGTHS, st.integers(0, 99))
def test_codes_survive_the_layout(tokens, lengths, seed):
    acoustic, semantic = random_codes(tokens, lengths, seed)
    slots = layout.slots_of(acoustic, semantic, torch.tensor(lengths), tokens, torch.ones(len(lengths), dtype=torch.bool))
    last = slots.labels_BPK[:, -1:].where(slots.labels_BPK[:, -1:] != layout.IGNORED, tokens.pad)
    found = layout.codes_of(torch.cat([slots.inputs_BPK[:, 1:], last], dim=1), max(lengths), tokens)
    for codes, again in zip((acoustic, semantic), found):
        assert all(map(torch.equal, inside(codes, lengths), inside(again, lengths)))


@settings(deadline=None)  # of a machine that others use
@given(SETTINGS, LENGTHS, st.integers(0, 99))
def test_labels_are_every_real_token_once_and_one_end_where_the_length_is_free(tokens, lengths, seed):
    acoustic, semantic = random_codes(tokens, lengths, seed)
    free = torch.arange(len(lengths)) % 2 == 0
    slots = layout.slots_of(acoustic, semantic, torch.tensor(lengths), tokens, free)
    for row, length in enumerate(lengths):
        labels = slots.labels_BPK[row]
        real = sorted(labels[labels != layout.IGNORED].tolist())
        codes = [*acoustic[row, :, :length].flatten().tolist(), *semantic[row, :, :length].flatten().tolist()]
        assert real == sorted(codes + [tokens.end] * bool(free[row]))
        assert (labels == tokens.end).sum() == labels[2 * length, 0].eq(tokens.end) == free[row]


@settings(deadline=None)  # of a machine that others use
@given(SETTINGS, LENGTHS, st.integers(0, 99))
def test_inputs_are_the_labels_one_slot_later(tokens, lengths, seed):
    codes = random_codes(tokens, lengths, seed)
    slots = layout.slots_of(*codes, torch.tensor(lengths), tokens, torch.ones(len(lengths), dtype=torch.bool))
    inputs, labels = slots.inputs_BPK[:, 1:], slots.labels_BPK[:, :-1]
    assert (slots.inputs_BPK[:, 0] == tokens.start).all()
    assert torch.equal(inputs[labels != layout.IGNORED], labels[labels != layout.IGNORED])
    assert (inputs[labels == layout.IGNORED] == tokens.pad).all()
    assert torch.equal(slots.num_slots_B, torch.tensor([layout.num_slots(n, tokens.num_layers) for n in lengths]))


@settings(deadline=None)  # of a machine that others use
@given(SETTINGS, LENGTHS, st.integers(0, 99))
def test_a_padded_row_has_the_slots_of_the_clip_alone(tokens, lengths, seed):
    codes = random_codes(tokens, lengths, seed)
    free = torch.ones(len(lengths), dtype=torch.bool)
    slots = layout.slots_of(*codes, torch.tensor(lengths), tokens, free)
    for row, length in enumerate(lengths):
        one = layout.slots_of(*(c[row : row + 1, :, :length] for c in codes), torch.tensor([length]), tokens, free[:1])
        size = one.labels_BPK.shape[1]
        assert torch.equal(slots.inputs_BPK[row, :size], one.inputs_BPK[0])
        assert torch.equal(slots.labels_BPK[row, :size], one.labels_BPK[0])
        assert (slots.labels_BPK[row, size:] == layout.IGNORED).all()


def test_the_delay_pattern_is_the_one_of_the_table():
    tokens = TokenConfig(3, 3, codebook_size=10)
    acoustic, semantic = torch.tensor([[[1], [2], [3]]]), torch.tensor([[[4], [5], [6]]])
    slots = layout.slots_of(acoustic, semantic, torch.tensor([1]), tokens, torch.tensor([True]))
    e, i = tokens.end, layout.IGNORED
    assert slots.labels_BPK[0].T.tolist() == [[1, 4, e, i], [i, 2, 5, i], [i, i, 3, 6]]
    s, p = tokens.start, tokens.pad
    assert slots.inputs_BPK[0].T.tolist() == [[s, 1, 4, e], [s, p, 2, 5], [s, p, p, 3]]


@settings(deadline=None)  # of a machine that others use
@given(st.integers(1, 9), st.integers(1, 9), LENGTHS)
def test_interleaved_streams_come_apart(num_acoustic, num_semantic, lengths):
    tokens = TokenConfig(num_acoustic, num_semantic, codebook_size=40)
    codes = random_codes(tokens, lengths, 0)
    found = layout.deinterleave(layout.interleave(*codes, tokens.pad), tokens)
    assert all(map(torch.equal, codes, found))


@settings(deadline=None)  # of a machine that others use
@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=4))
def test_packing_keeps_the_order_and_drops_the_padding(lengths):
    lengths = [[a, b, c + 1] for a, b, c in lengths]
    sizes = [max(column) for column in zip(*lengths)]
    index, totals = layout.packed(torch.tensor(lengths), sizes)
    starts = [sum(sizes[:segment]) for segment in range(3)]
    assert index.shape[1] == max(map(sum, lengths))
    for row, of_row in enumerate(lengths):
        wanted = [start + place for start, length in zip(starts, of_row) for place in range(length)]
        assert index[row, : totals[row]].tolist() == wanted


def test_the_clock_counts_the_frames_that_groups_stand_for():
    tokens = TokenConfig(codebook_size=10, max_duration_frames=4)
    acoustic = torch.tensor([[[25, 3, 11, 0]]]).expand(1, 4, 4)  # 3, 1, 2 frames, then padding
    durations = layout.durations_of(acoustic, torch.tensor([3]), tokens)
    assert durations.tolist() == [[3, 1, 2, 1]]
    clock = layout.target_clock(durations, 12, torch.tensor([100]))
    assert clock.tolist() == [[-1, 0, 1, 6, 7, 8, 9, 12, 13, 14, 15, 16]]
    assert layout.target_clock(durations, 8, torch.tensor([3])).tolist() == [[-1, 0, 1, 0, 1, 2, 3, 0]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, s, n: (a[:, :2], s, n), "4 and 4 layers"),
        (lambda a, s, n: (a, s[..., :1], n), "equally many clips and frames"),
        (lambda a, s, n: (a, s, n * 0), "from 0 to 0 frames: allowed are 1 to 3"),
        (lambda a, s, n: (a, s, n + 1), "from 4 to 4 frames"),
        (lambda a, s, n: (a, s + 20, n), "semantic codes from 20 to 20: the model takes 0 to 19"),
        (lambda a, s, n: (a - 1, s, n), "acoustic codes from -1"),
        (lambda a, s, n: (a, s + 10, n), "durations differ"),
    ],
)
def test_codes_of_another_codec_are_refused(change, message):
    tokens = TokenConfig(codebook_size=10, max_duration_frames=2)
    acoustic = semantic = torch.zeros(2, 4, 3, dtype=torch.int64)
    lengths = torch.tensor([3, 3])
    layout.check_codes(acoustic, semantic, lengths, tokens)
    with pytest.raises(ValueError, match=message):
        layout.check_codes(*change(acoustic, semantic, lengths), tokens)


def test_what_is_past_a_clips_end_is_not_checked():
    tokens = TokenConfig(codebook_size=10)
    codes = torch.zeros(1, 4, 3, dtype=torch.int64)
    codes[:, :, 2] = 99
    layout.check_codes(codes, codes, torch.tensor([2]), tokens)

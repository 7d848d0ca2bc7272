"""What every effect owes its callers, whatever it does: found by looking into simulation/effects."""

import dataclasses
import importlib
import os
import pkgutil
import random
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

import simulation.effects
from simulation.degradation import Degradations, Effect, apply
from simulation.signals.alignment import delay_samples
from tests.simulation.effects.conftest import KINDS, noisy_voice, some

ROOT = Path(__file__).parents[3]
MODULES = sorted(module.name for module in pkgutil.iter_modules(simulation.effects.__path__))
RATES_HZ = (16000, 48000)
each = pytest.mark.parametrize("kind", KINDS)
at_each_rate = pytest.mark.parametrize("sample_rate_hz", RATES_HZ)


def test_every_module_is_an_effect_of_the_chain():
    assert sorted(KINDS) == MODULES
    tags = {kind.__struct_config__.tag for kind in Effect.__args__}
    assert tags == set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_has_one_range_and_one_effect_of_its_own(name):
    module = importlib.import_module(f"simulation.effects.{name}")
    own = [value for value in vars(module).values() if isinstance(value, type) and value.__module__ == module.__name__]
    effect = next(kind for kind in own if getattr(kind, "__struct_config__", None) and kind.__struct_config__.tag == name)
    ranges = [kind for kind in own if dataclasses.is_dataclass(kind)]
    assert [kind.__name__ for kind in ranges] == [effect.__name__ + "Range"]
    assert effect.__struct_config__.frozen
    assert isinstance(getattr(Degradations(), name), ranges[0])


@each
@at_each_rate
def test_shape_and_type_are_kept_and_the_input_untouched(kind, sample_rate_hz):
    audio = noisy_voice(sample_rate_hz, num_channels=2)
    for effect in some(kind, sample_rate_hz, audio.shape[1], 3):
        before = audio.copy()
        after = effect(audio, sample_rate_hz)
        assert after.shape == audio.shape
        assert after.dtype == np.float32
        assert np.isfinite(after).all()
        assert not np.shares_memory(after, audio)
        assert np.array_equal(audio, before)


@each
def test_the_same_scene_gives_the_same_samples(kind):
    audio = noisy_voice(16000)
    for effect in some(kind, 16000, audio.shape[1], 4):
        read_back = msgspec.json.decode(msgspec.json.encode(effect), type=Effect)
        assert read_back == effect
        assert np.array_equal(read_back(audio, 16000), effect(audio, 16000))


@each
def test_silence_stays_finite_and_asks_for_nothing_that_is_not_there(kind):
    silence = np.zeros((1, 8000), np.float32)
    for effect in some(kind, 16000, 8000, 4):
        after, labels = apply((effect,), silence, 16000)
        assert np.isfinite(after).all()
        assert after.shape == silence.shape
        assert np.ptp(after) == 0
        assert np.isfinite(list(labels.measured.values())).all()
        assert labels.requested.keys() <= labels.measured.keys()


@each
@pytest.mark.parametrize("num_samples", [1, 7, 300])
def test_a_very_short_signal_is_as_long_as_before(kind, num_samples):
    audio = np.full((1, num_samples), 0.25, np.float32)
    for effect in some(kind, 16000, num_samples, 3):
        after, labels = apply((effect,), audio, 16000)
        assert after.shape == audio.shape
        assert np.isfinite([*after.ravel(), *labels.measured.values()]).all()


@each
def test_channels_do_not_leak_into_each_other(kind):
    """What is silent in one channel stays silent in it, unless wind or an offset is added there."""
    audio = np.concatenate([noisy_voice(16000), np.zeros((1, 24000), np.float32)])
    for effect in some(kind, 16000, audio.shape[1], 3):
        after = effect(audio, 16000)
        if kind not in ("wind", "gain"):
            assert np.abs(after[1]).max() < 1e-6
        assert np.abs(after[0]).max() > 0.01


@each
def test_no_global_random_state_is_touched(kind):
    audio = noisy_voice(16000)
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()
    for effect in some(kind, 16000, audio.shape[1], 2):
        effect(audio, 16000)
    assert random.getstate() == states[0]
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))


@each
def test_no_effect_delays_a_real_voice(kind, real_voices):
    for voice, effect in zip(real_voices, some(kind, 16000, 48000, 6), strict=True):
        assert delay_samples(effect(voice, 16000), voice, 16000) == 0, effect


@each
def test_no_effect_delays_a_real_full_band_voice(kind, wide_voices):
    for voice, effect in zip(wide_voices, some(kind, 48000, 144000, 6), strict=True):
        assert delay_samples(effect(voice, 48000), voice, 48000) == 0, effect


@each
@at_each_rate
def test_what_is_requested_is_named_alike_where_it_is_measured(kind, sample_rate_hz):
    audio = noisy_voice(sample_rate_hz)
    for effect in some(kind, sample_rate_hz, audio.shape[1], 4):
        after = effect(audio, sample_rate_hz)
        assert effect.requested().keys() <= effect.measure(audio, after, sample_rate_hz).keys()


PRINT_HASHES = """
import hashlib, numpy as np
from tests.simulation.effects.conftest import KINDS, some
from simulation.seeds import stored_noise
audio = np.float32(0.05) * stored_noise(1, (1, 32000))
for kind in KINDS:
    rendered = [effect(audio, 16000) for effect in some(kind, 16000, 32000, 8)]
    samples = np.rint(32767 * np.clip(np.concatenate(rendered), -1, 1)).astype(np.int16)
    print(kind, hashlib.sha256(samples.tobytes()).hexdigest())
"""
WITHOUT_WIDE_VECTORS = {
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX2 FMA3 AVX512F AVX512CD AVX512_SKX AVX512_ICL AVX512_SPR",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-AVX,-AVX512F",
}


def test_a_cpu_without_wide_vectors_makes_the_same_samples():
    """What numpy and the C library choose by the CPU; encoders that look at it themselves are the same here either way."""
    command = [sys.executable, "-W", "ignore", "-c", PRINT_HASHES]
    printed = [
        subprocess.run(command, cwd=ROOT, env=os.environ | changes, capture_output=True, text=True, check=True).stdout
        for changes in ({}, WITHOUT_WIDE_VECTORS)
    ]
    assert printed[0] == printed[1]
    assert len(printed[0].splitlines()) == len(KINDS)

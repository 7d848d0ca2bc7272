import hashlib
import sys

import numpy as np
import pytest

from tests.training.real_speech import RATE_HZ
from training.metrics.plug_in import OnnxScore, PlugIn, parse
from training.metrics.signals import Unscorable

MODULE = """
def open_it(path=""):
    size = len(open(path, "rb").read()) if path else 0
    return lambda reference, estimate, sample_rate_hz: size + float(abs(estimate).max())
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    (tmp_path / "made_up_metric.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "made_up_metric"
    sys.modules.pop("made_up_metric", None)


def test_all_three_forms_are_understood_and_others_refused():
    assert parse("utmos=/m/u.onnx@ab") == PlugIn("utmos", "", "/m/u.onnx", "ab")
    assert parse("wer=m.n:f@/m/a.bin@ab") == PlugIn("wer", "m.n:f", "/m/a.bin", "ab")
    assert parse("mine=m:f") == PlugIn("mine", "m:f")
    for wrong in ("utmos", "utmos=/m/u.onnx", "utmos=/m/u.pt@ab", "wer=m:f@/m/a.bin", "=m:f", "a=m:f@@"):
        with pytest.raises(ValueError, match=r"give NAME=FILE\.onnx@SHA256"):
            parse(wrong)


def test_a_function_scores_with_the_file_that_was_named(module, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"12345")
    sha256 = hashlib.sha256(b"12345").hexdigest()
    wave = np.array([0.5, -0.25])
    assert PlugIn("x", f"{module}:open_it", str(tmp_path / "weights.bin"), sha256)(wave, wave, RATE_HZ) == 5.5
    assert PlugIn("x", f"{module}:open_it")(wave, wave, RATE_HZ) == 0.5


def test_a_wrong_file_or_function_is_named_before_anything_is_scored(module, tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"other")
    with pytest.raises(ValueError, match="not the file you meant"):
        PlugIn("x", f"{module}:open_it", str(tmp_path / "weights.bin"), "0" * 64).open()
    with pytest.raises(ValueError, match="no such file"):
        PlugIn("x", f"{module}:open_it", str(tmp_path / "none.bin"), "0" * 64).open()
    for wrong in (f"{module}:nothing", "no_such_module:f"):
        with pytest.raises(ValueError, match="give MODULE:FUNCTION"):
            PlugIn("x", wrong).open()


@pytest.fixture
def network() -> str:
    """A real network of one wave of 9.01 s: DNSMOS itself, three outputs."""
    import importlib.util
    from pathlib import Path

    found = importlib.util.find_spec("speechmos")
    if not found:
        pytest.skip("speechmos is not installed")
    return str(Path(found.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx")


def test_several_outputs_of_an_onnx_network_are_compared_by_their_angle(network, speech, noise):
    score = OnnxScore(network)
    clip, other = (np.resize(signal, 144160) for signal in (speech, 0.1 * noise))
    assert score(clip, clip, RATE_HZ) == pytest.approx(1.0)
    assert score(clip, other, RATE_HZ) < 1 - 1e-4
    with pytest.raises(Unscorable, match="silent"):
        score(clip, np.zeros_like(clip), RATE_HZ)

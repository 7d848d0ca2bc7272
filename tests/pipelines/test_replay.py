import json

import numpy as np
import pytest
import soundfile

from pipelines.replay import Replay, replay


def test_an_example_is_written_to_listen_to_and_is_the_stored_one(dataset, tmp_path, capsys):
    code = replay(Replay(key="sr-s0-00000005", out=dataset.url, to=str(tmp_path / "heard")))
    said = capsys.readouterr().out
    assert code == 0
    assert "the same samples" in said
    assert "lag_samples" in said
    assert "CC0 1.0" in said
    folder = tmp_path / "heard" / "sr-s0-00000005"
    audio, rate = soundfile.read(folder / "input.flac")
    assert rate == 16000
    assert np.abs(audio).max() > 0.001
    assert json.loads((folder / "scene.json").read_text())["key"] == "sr-s0-00000005"


def test_an_unknown_key_is_refused_with_the_nearest(dataset):
    with pytest.raises(ValueError, match="did you mean 'sr-s0-0000000"):
        replay(Replay(key="sr-s0-0000005", out=dataset.url))

import pytest

from pipelines.testsets.items import MISSING, Wanted
from pipelines.testsets.seed_tts_edits import seed_tts_edits

LIST = "audio,instruction,target_transcript,operation\n"


def test_edits_are_sets_by_language_and_meta_tells_what_was_said(made):
    made.sounds("zh/prompt-wavs/1.wav", "en/prompt-wavs/2.wav")
    made.text("en/meta.lst", "2-x|We asked over twenty people.|prompt-wavs/2.wav|Other text\n")
    made.text("edits.csv", LIST + "1.wav,delete a,b,deletion\n2.wav,replace twenty,We asked over ten people.,substitution\n")
    english, chinese = seed_tts_edits(made.tree(), Wanted())
    assert (english.name, chinese.name) == ("Seed-TTS edits en", "Seed-TTS edits zh")
    (item,) = english.items
    assert item.texts["source_transcript"] == "We asked over twenty people."
    assert "transcript" not in item.texts  # evaluation takes it for what the target says
    assert item.slices == {"operation": "substitution"}


def test_audio_that_is_not_there_refuses_and_no_list_is_told(made):
    made.sounds("en/2.wav")
    with pytest.raises(ValueError, match=r"no edits\.csv"):
        seed_tts_edits(made.tree(), Wanted())
    made.text("edits.csv", LIST + "9.wav,x,y,\n")
    assert seed_tts_edits(made.tree(), Wanted())[0].items[0].refused == (MISSING, "no input")

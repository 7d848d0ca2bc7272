from pipelines.testsets.items import MISSING, Wanted
from pipelines.testsets.vctk_pairs import vctk_pairs


def tree(made):
    for speaker in ("p225", "p226"):
        for number, text in (("001", "Please call Stella."), ("002", "Ask her."), ("100", f"Only {speaker}.")):
            made.sounds(f"wav48_silence_trimmed/{speaker}/{speaker}_{number}_mic1.flac")
            made.text(f"txt/{speaker}/{speaker}_{number}.txt", text)
    return made.tree()


def test_without_a_list_speakers_read_each_others_common_prompts(made):
    (found,) = vctk_pairs(tree(made), Wanted())
    assert [item.name for item in found.items[:2]] == ["p225_001-to-p226_001", "p225_002-to-p226_002"]
    assert len(found.items) == 4
    assert found.items[0].sounds["reference"].path.endswith("p226_002_mic1.flac")
    assert found.items[0].texts == {"transcript": "Please call Stella."}
    assert "no pairs.csv" in found.notes[0]


def test_a_list_says_what_is_converted_and_a_wrong_name_refuses(made):
    made.text("pairs.csv", "source,target,reference\np225_100,,p226_001\np225_100,,p999_001\n")
    (found,) = vctk_pairs(tree(made), Wanted())
    assert set(found.items[0].sounds) == {"input", "reference"}
    assert found.items[1].refused == (MISSING, "no reference")

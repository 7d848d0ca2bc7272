from pipelines.testsets.items import MISSING, Wanted
from pipelines.testsets.libri2mix import libri2mix

ONE, OTHER = "61-1-0001_121-2-0002", "61-3-0003_260-4-0004"
MAP = f"{ONE} 61-1-0001 s1/{OTHER}\n{ONE} 121-2-0002 s2/gone\n"


def tree(made, with_map: bool = True):
    for name in (ONE, OTHER):
        made.sounds(*(f"wav16k/min/test/{kind}/{name}.wav" for kind in ("mix_clean", "s1", "s2")))
        made.sounds(f"wav8k/min/test/mix_clean/{name}.wav", f"wav16k/max/test/mix_clean/{name}.wav")
    if with_map:
        made.text("map_mixture2enrollment", MAP)
    return made.tree()


def test_a_mixture_is_one_example_of_ss_and_two_of_tse(made):
    made.text("ls/61/1/61-1.trans.txt", "61-1-0001 HELLO THERE\n")
    separation, extraction = libri2mix(tree(made), Wanted(transcripts=made.tree()))
    assert (separation.name, separation.published, len(separation.items)) == ("Libri2Mix clean SS", 3000, 2)
    assert (extraction.name, extraction.published, len(extraction.items)) == ("Libri2Mix clean TSE", 6000, 4)
    assert separation.items[0].texts == {"transcript1": "HELLO THERE"}
    assert {sound.path.split("/test")[0] for item in separation.items for sound in item.sounds.values()} == {"wav16k/min"}


def test_the_enrolment_is_the_listed_one_and_a_missing_one_refuses(made):
    first, second = libri2mix(tree(made), Wanted())[1].items[:2]
    assert first.sounds["reference"].path == f"wav16k/min/test/s1/{OTHER}.wav"
    assert first.sounds["target"].path == f"wav16k/min/test/s1/{ONE}.wav"
    assert first.speaker == "61"
    assert second.refused == (MISSING, "no reference")


def test_without_the_list_tse_is_left_out_and_that_is_said(made):
    (separation,) = libri2mix(tree(made, with_map=False), Wanted())
    assert separation.task == "ss"
    assert "tse is left out" in separation.notes[0]

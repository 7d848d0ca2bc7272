from pipelines.testsets.items import MISSING, Sound, paired


def test_a_pair_with_both_members_is_not_refused():
    item = paired("a", {"input": "x/a.wav", "target": "y/a.wav"}, speaker="p1")
    assert item.refused is None
    assert item.sounds == {"input": Sound("x/a.wav"), "target": Sound("y/a.wav")}
    assert item.speaker == "p1"


def test_a_missing_member_refuses_the_pair_by_its_name():
    assert paired("a", {"input": "x/a.wav", "target": None}).refused == (MISSING, "no target")

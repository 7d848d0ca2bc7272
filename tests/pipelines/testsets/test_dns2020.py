from pipelines.testsets.dns2020 import dns2020
from pipelines.testsets.items import MISSING, Wanted


def test_conditions_are_sets_and_pairs_are_found_by_file_id(made):
    for condition in ("with_reverb", "no_reverb"):
        place = f"datasets/test_set/synthetic/{condition}"
        made.sounds(f"{place}/clean/clean_fileid_2.wav", f"{place}/noisy/clnsp1_door_42_snr-3_tl-21_fileid_2.wav")
    made.sounds("datasets/test_set/synthetic/no_reverb/noisy/clnsp9_snr5_tl-30_fileid_10.wav")
    found = {one.condition: one for one in dns2020(made.tree(), Wanted())}
    assert set(found) == {"with_reverb", "no_reverb"}
    assert found["with_reverb"].name == "DNS2020 with_reverb"
    assert [item.name for item in found["no_reverb"].items] == ["fileid_2", "fileid_10"]
    assert found["no_reverb"].items[0].labels == {"snr_db": -3.0}
    assert found["no_reverb"].items[1].refused == (MISSING, "no target")

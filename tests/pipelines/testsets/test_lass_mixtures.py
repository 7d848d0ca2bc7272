import pytest

from pipelines.testsets.items import MISSING, Wanted
from pipelines.testsets.lass_mixtures import audiocaps_lass, esc50_lass


def test_ready_mixtures_are_taken_as_they_are(made):
    made.text("audiocaps_eval.csv", 'idx,caption,labels,src_wav,noise_wav\n0,"A dog, barking",Dog,Ya.wav,Yb.wav\n')
    made.sounds("audiocaps/segment-0.wav", "audiocaps/mixture-0.wav")
    (found,) = audiocaps_lass(made.tree(), Wanted())
    (item,) = found.items
    assert item.snr_db is None
    assert item.sounds["input"].path == "audiocaps/mixture-0.wav"
    assert item.texts["caption"] == "A dog, barking"
    assert found.published == 4820


def test_without_mixtures_the_listed_pair_is_mixed_at_the_listed_or_the_published_snr(made):
    made.text("esc50_eval.csv", "idx,caption,src_wav,noise_wav,snr\n0,dog,1-A-0.wav,2-B-1.wav,\n1,cat,2-B-1.wav,1-A-0.wav,5\n")
    made.sounds("audio/1-A-0.wav", "audio/2-B-1.wav")
    (found,) = esc50_lass(made.tree(), Wanted())
    assert [item.snr_db for item in found.items] == [0.0, 5.0]
    assert found.items[0].sounds["noise"].path == "audio/2-B-1.wav"


def test_a_list_by_source_noise_and_snr_is_read_too_and_a_missing_file_refuses(made):
    made.text("lass_synthetic_validation.csv", "source,noise,snr,caption\n12,34,-3,rain\n")
    made.sounds("lass_validation/12.wav")
    (item,) = audiocaps_lass(made.tree(), Wanted())[0].items
    assert item.refused[0] == MISSING
    assert item.snr_db == -3.0


def test_no_list_is_told(made):
    made.sounds("a.wav")
    with pytest.raises(ValueError, match=r"esc50_eval\.csv"):
        esc50_lass(made.tree(), Wanted())

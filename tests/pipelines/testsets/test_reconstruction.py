from pipelines.testsets.items import Sound, Wanted
from pipelines.testsets.reconstruction import audioset_eval, librispeech_test, musdb18_test


def test_librispeech_takes_test_clean_alone_with_its_texts(made):
    made.sounds("test-clean/61/70968/61-70968-0000.flac", "test-other/62/1/62-1-0000.flac")
    made.text("test-clean/61/70968/61-70968.trans.txt", "61-70968-0000 HE BEGAN\n")
    (found,) = librispeech_test(made.tree(), Wanted())
    (item,) = found.items
    assert (item.texts, item.speaker, found.published) == ({"transcript": "HE BEGAN"}, "librispeech-61", 2620)


def test_musdb_takes_the_middle_of_the_test_mixtures(made):
    made.sounds("test/A - B/mixture.wav", "test/A - B/vocals.wav", "train/C - D/mixture.wav")
    (found,) = musdb18_test(made.tree(), Wanted(excerpt_s=10.0))
    (item,) = found.items
    assert item.sounds == {"target": Sound("test/A - B/mixture.wav", -1.0, 10.0)}


def test_audioset_is_held_to_its_list_of_segments(made):
    made.sounds("wav/Yabcdefghijk.wav", "wav/Yzzzzzzzzzzz.wav")
    made.text("eval_segments.csv", '# comment\nabcdefghijk, 0.000, 10.000, "/m/1"\n-0RWZT-miFs, 0.000, 10.000, "/m/2"\n')
    (found,) = audioset_eval(made.tree(), Wanted())
    assert [item.name for item in found.items] == ["Yabcdefghijk"]
    assert found.notes == ["1 of 2 listed segments are not there"]

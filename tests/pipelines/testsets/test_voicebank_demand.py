from pipelines.testsets.items import MISSING, Wanted
from pipelines.testsets.voicebank_demand import voicebank_demand


def test_pairs_are_found_by_name_with_noise_snr_and_text(made):
    made.sounds("clean_testset_wav/p232_001.wav", "noisy_testset_wav/p232_001.wav", "clean_testset_wav/p257_002.wav")
    made.sounds("clean_trainset_28spk_wav/p226_001.wav")
    made.text("log_testset.txt", "p232_001 bus 2.5\np257_002 cafe 17.5\n")
    made.text("testset_txt/p232_001.txt", "Please call Stella.\n")
    (found,) = voicebank_demand(made.tree(), Wanted())
    first, second = found.items
    assert (found.task, found.published, found.name) == ("sr", 824, "VoiceBank+DEMAND")
    assert first.sounds["input"].path == "noisy_testset_wav/p232_001.wav"
    assert (first.labels, first.slices, first.speaker) == ({"snr_db": 2.5}, {"noise": "bus"}, "p232")
    assert first.texts == {"transcript": "Please call Stella."}
    assert second.refused == (MISSING, "no input")

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulation.descriptions.ambiguity import KINDS, PHRASES, WIDE, clash, concept, similarity, stem, stems

NAMES = sorted({word for words in (*KINDS.values(), *WIDE) for word in words.split()} | {"theremin", "geiger counter", "hum"})
concepts = st.builds(
    concept,
    st.sampled_from(["event", "music", "noise"]),
    st.sampled_from(["", *NAMES]),
    st.lists(st.sampled_from(NAMES), max_size=3).map(" ".join),
    st.sampled_from(["", "animals", "exterior/urban"]),
)


def event(label: str, caption: str = "", category: str = ""):
    return concept("event", label, caption, category)


def speech(voice: str):
    return concept("speech", "", "", "", voice)


@pytest.mark.parametrize(
    "words",
    [
        "bark barks barked barking",
        "sneeze sneezes sneezing sneezed",
        "cry cries crying cried",
        "fly flies flying",
        "buzz buzzes buzzing",
        "pop pops popping popped",
        "bell bells",
        "horse horses",
        "glass glasses",
        "wolf wolves",
        "footstep footsteps",
        "call calls calling",
    ],
)
def test_a_word_and_its_inflections_have_one_stem(words):
    assert len({stem(word) for word in words.split()}) == 1


@pytest.mark.parametrize("words", ["string spring", "bus bush", "rain train", "king knit", "spoke spokes"])
def test_different_words_keep_different_stems(words):
    assert len({stem(word) for word in words.split()}) == 2


def test_no_word_that_stands_for_a_kind_is_thrown_away_as_a_stop_word():
    words = [word for words in (*KINDS.values(), *WIDE, *PHRASES.values()) for word in words.split()]
    assert [word for word in words if not stems(word)] == []


def test_a_pair_of_words_is_not_its_single_words():
    assert stems("A sea lion is barking.") == {"sealion", "bark"}
    assert not clash(event("sea lion"), event("sea waves"), 0.1)
    assert not clash(event("fire alarm"), event("crackling fire"), 0.1)


# Names as ESC-50, FSD50K, AudioSet and the captions of real corpora have them.
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("dog", "puppy"),
        ("Bark", "Dog"),
        ("dog", "wolf howl"),
        ("Purr", "cat"),
        ("Domestic_animals_and_pets", "cat"),
        ("animal", "rooster"),
        ("chirping_birds", "canary"),
        ("Chicken_and_rooster", "hen"),
        ("rain", "thunderstorm"),
        ("rain", "wind"),
        ("rain", "pouring_water"),
        ("weather", "thunder"),
        ("Waves_and_surf", "Ocean"),
        ("church_bells", "Bell"),
        ("Doorbell", "Chime"),
        ("engine", "car"),
        ("engine", "helicopter"),
        ("vehicle", "train"),
        ("car_horn", "Traffic_noise_and_roadway_noise"),
        ("Gunshot_and_gunfire", "fireworks"),
        ("explosion", "Boom"),
        ("crackling_fire", "match"),
        ("Male_speech_and_man_speaking", "Conversation"),
        ("Human_voice", "laughing"),
        ("Acoustic_guitar", "Music"),
        ("piano", "Musical_instrument"),
        ("footsteps", "Walk_and_footsteps"),
        ("door_wood_knock", "Door"),
        ("clock_alarm", "clock_tick"),
        ("clock_alarm", "Siren"),
        ("Clapping", "applause"),
        ("vacuum_cleaner", "machine"),
        ("goat", "lamb"),
        ("lion", "tiger"),
        ("theremin", "a theremin solo"),
    ],
)
def test_sounds_that_one_name_may_mean_clash(a, b):
    assert clash(event(a), event(b), 0.1) and clash(event(b), event(a), 0.1)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("dog", "rain"),
        ("dog", "cat"),
        ("rooster", "owl"),
        ("church bells", "engine"),
        ("helicopter", "crying baby"),
        ("sneezing", "laughing"),
        ("piano", "violin"),
        ("keyboard typing", "clock ticking"),
        ("camel", "giraffe"),
        ("door closing", "glass breaking"),
    ],
)
def test_sounds_that_their_names_tell_apart_do_not_clash(a, b):
    assert not clash(event(a), event(b), 0.1)


def test_a_category_means_all_that_is_in_it_but_its_members_do_not_clash():
    gong, geiger = event("theremin", category="gadgets"), event("geiger counter", category="gadgets")
    assert clash(event("gadgets"), gong, 0.1) and not clash(gong, geiger, 0.1)


def test_what_a_caption_mentions_clashes_with_a_class_of_that_name():
    assert clash(event("thunder", "Thunder, and rain on a roof."), event("rain"), 0.1)
    assert clash(event("", "A man talks while birds sing"), speech("woman"), 0.1)


def test_captions_without_classes_are_told_apart_by_the_words_they_share():
    a, b = event("", "A rusty ratchet turns"), event("", "The ratchet of a winch turns")
    assert similarity(a, b) == pytest.approx(2 / 4)
    assert clash(a, b, 0.4) and not clash(a, b, 0.6)


def test_a_man_and_a_woman_are_told_apart_and_nobody_from_an_unknown_voice_or_a_child():
    assert not clash(speech("man"), speech("woman"), 0.1)
    assert clash(speech("man"), speech("man"), 0.1)
    assert all(clash(speech(unknown), speech(voice), 0.1) for unknown in ("person", "child") for voice in ("man", "woman"))


def test_any_two_pieces_of_music_clash():
    assert clash(concept("music", "ragtime piano", ""), concept("music", "drums", ""), 0.1)


def test_without_telling_words_a_sound_is_not_described():
    assert not event("background", "A recording of some noise in the distance").described
    assert event("", "A dog").described and speech("person").described


@given(concepts, concepts)
def test_a_clash_is_mutual(a, b):
    assert clash(a, b, 0.1) == clash(b, a, 0.1) and similarity(a, b) == similarity(b, a)


@given(concepts)
def test_whatever_is_described_clashes_with_itself(a):
    assert clash(a, a, 0.1) == a.described

"""Could a query for this sound mean that one as well? What a sound is, as far as its words tell, and when two clash.

Published mixtures are made of clips without a class in common (DCASE 2024 Task 9); names alone miss that a puppy is a
dog and that a thunderstorm has rain in it. So each sound has, besides its words, the kinds it may belong to: sounds that
a listener or an annotator calls by one name. One shared kind, or a word of the class, and two sounds are not mixed.
The kinds are deliberately wide: a mixture that is not made costs nothing, an ambiguous query teaches the wrong thing.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

# kind: words of the sounds in it, as a label or caption has them (any inflection).
KINDS = {
    "dog": "dog puppy pup hound canine bark woof yap yelp growl snarl howl wolf coyote fox jackal sealion seal",
    "cat": "cat kitten kitty feline meow miaow mew purr caterwaul",
    "big cat": "leopard lion tiger jaguar panther cheetah cougar puma lynx growl snarl roar bellow bear gorilla",
    "poultry": "rooster cockerel chicken hen chick turkey goose duck gobble cluck crow quack fowl poultry peacock",
    "songbird": "songbird canary robin sparrow finch nightingale blackbird thrush wren swallow parrot budgie cockatoo quail"
    " birdsong chirp chirrup tweet twitter warble cheep peep trill squawk",
    "pigeon": "pigeon dove coo",
    "owl": "owl hoot",
    "crow": "crow raven rook magpie caw",
    "water bird": "seagull gull loon duck goose swan heron",
    "woodpecker": "woodpecker peck",
    "insect": "insect bug cricket cicada grasshopper katydid locust bee bumblebee wasp hornet mosquito housefly beetle buzz"
    " chirp stridulate trill",
    "frog": "frog toad croak ribbit",
    "sheep": "sheep lamb goat ewe bleat baa",
    "cattle": "cow cattle bull calf ox buffalo moo bovine",
    "pig": "pig hog swine piglet boar oink squeal grunt snort",
    "horse": "horse pony donkey mule zebra neigh whinny bray gallop trot hoof snort",
    "rodent": "rodent squirrel raccoon chipmunk rat mouse hamster guineapig monkey chatter squeak",
    "ape": "monkey ape gorilla chimpanzee baboon",
    "whale": "whale dolphin orca porpoise",
    "snake": "snake rattle hiss",
    "water": "water rain raindrop rainfall drizzle shower drip drop droplet trickle pour splash stream river creek brook"
    " waterfall fountain faucet toilet flush sink drain bathtub bubble boil gurgle gargle wade swim sea ocean wave surf liquid",
    "weather": "weather rain rainfall raindrop drizzle thunder thunderstorm lightning storm wind breeze gust gale hail snow"
    " blizzard hurricane tornado",
    "shore": "sea ocean wave surf beach shore seashore coast tide wind seagull gull",
    "fire": "fire flame burn blaze campfire bonfire fireplace crackle sizzle fuse match ignite lighter torch",
    "bang": "gun gunshot gunfire shot shoot rifle pistol shotgun machinegun artillery cannon bomb explosion explode blast boom"
    " bang burst pop balloon firework firecracker thunder thunderstorm",
    "door": "door gate drawer cupboard cabinet hinge slam knock creak squeak latch",
    "impact": "thump thud smash slam hammer knock bang impact collide hit",
    "glass": "glass shatter dish plate cutlery silverware clink cup mug bottle pot pan crockery jar",
    "clock": "clock tick tock watch timer metronome stopwatch alarmclock",
    "bell": "bell chime ring doorbell telephone phone ringtone ding dong gong jingle tinkle cowbell alarmclock glockenspiel",
    "alarm": "alarm alarmclock siren horn honk toot beep bleep buzzer ambulance police firetruck",
    "whistle": "whistle kettle",
    "engine": "engine motor car automobile truck lorry bus van motorcycle motorbike moped scooter tractor boat motorboat ship"
    " speedboat ferry airplane aeroplane plane aircraft jet helicopter propeller rotor drone chainsaw lawnmower mower generator"
    " compressor idle rev accelerate firetruck ambulance",
    "rail": "train railway railroad locomotive subway metro tram rail",
    "bicycle": "bicycle bike spokes pedal",
    "appliance": "vacuum hoover fan ventilator conditioner dryer hairdryer refrigerator fridge blender mixer microwave"
    " dishwasher washingmachine sewing printer compressor motor appliance",
    "tool": "tool saw chainsaw handsaw drill sander sandpaper grinder hammer jackhammer carpentry rasp",
    "typing": "type typewriter keyboard mouseclick click computer",
    "writing": "pencil pen write scribble eraser erase rub chalk blackboard scratch",
    "paper": "paper page newspaper book crumple rustle crinkle rip tear wrapper bag plastic leaf",
    "cutting": "shear scissors cut snip slice chop",
    "zip": "zip zipper velcro",
    "eating": "eat chew bite crunch munch drink sip gulp slurp gargle",
    "male voice": "",  # see WIDE
    "female voice": "",
    "scream": "scream shout yell shriek holler whoop",
    "crowd": "crowd audience applause applaud clap cheer ovation stadium hubbub",
    "laugh": "laugh laughter giggle chuckle snicker",
    "baby": "baby infant toddler newborn cry sob weep whimper wail",
    "cough": "cough throat choke",
    "sneeze": "sneeze sniff sniffle",
    "vomit": "vomit retch gag burp belch hiccup",
    "breath": "breath breathe snore gasp sigh pant wheeze inhale exhale",
    "step": "footstep step walk jog stomp march wade stair shoe tapdance",
    "singing": "sing singer choir vocal chant song opera yodel lullaby",
    "keys": "piano organ harpsichord synthesizer accordion ragtime",
    "strings": "string violin viola cello fiddle harp",
    "guitar": "guitar banjo ukulele mandolin sitar bass strum",
    "drums": "drum percussion cymbal snare tabla bongo conga tambourine groove",
    "wind instrument": "flute clarinet saxophone oboe bassoon trumpet trombone tuba brass frenchhorn harmonica bagpipe"
    " didgeridoo",
    "mallets": "vibraphone xylophone marimba glockenspiel",
}

BIRDS = ("songbird", "poultry", "pigeon", "owl", "crow", "water bird", "woodpecker")
FARM = ("dog", "poultry", "sheep", "cattle", "pig", "horse")
ANIMALS = (*BIRDS, *FARM, "cat", "big cat", "insect", "frog", "rodent", "ape", "whale", "snake")
VOICES = ("male voice", "female voice")
MUSIC = ("keys", "strings", "guitar", "drums", "wind instrument", "mallets", "singing", "bell")
STREET = ("engine", "rail", "alarm", "bicycle", "crowd", "step", *VOICES)

# words: all the kinds that a sound so called may be of.
WIDE = {
    "animal wildlife pet beast creature zoo jungle": ANIMALS,
    "bird avian": BIRDS,
    "farm livestock farmyard barnyard": FARM,
    "forest woodland nature countryside meadow": (*BIRDS, "insect", "frog", "weather", "water"),
    "speech speak talk conversation converse narration narrate monologue dialogue babble chatter whisper say tell shout yell"
    " announce": VOICES,
    "voice vocalization": (*VOICES, "singing", "scream", "laugh", "baby"),
    "respiratory": ("breath", "cough", "sneeze"),
    "child kid playground school": (*VOICES, "baby", "laugh", "scream"),
    "cafe coffee restaurant bar pub canteen office classroom": (*VOICES, "crowd", "glass", "step", "laugh"),
    "vehicle traffic transport": ("engine", "rail", "alarm", "bicycle"),
    "road street city urban highway downtown town": STREET,
    "siren": ("alarm", "engine"),
    "machine machinery mechanical mechanism industrial factory workshop construction": ("engine", "appliance", "tool"),
    "kitchen cook fry": ("glass", "water", "fire", "appliance", "eating", "cutting"),
    "music musical musician instrument song melody tune orchestra symphony band jazz rock techno classical concert soundtrack"
    " cinematic arcade": MUSIC,
}

# Pairs of words that are one thing, and not what the single words say.
PHRASES = {
    "sea lion": "sealion",
    "guinea pig": "guineapig",
    "fire alarm": "alarm",
    "smoke alarm": "alarm",
    "smoke detector": "alarm",
    "fire truck": "firetruck",
    "fire engine": "firetruck",
    "machine gun": "machinegun",
    "alarm clock": "alarmclock",
    "clock alarm": "alarmclock",
    "washing machine": "washingmachine",
    "drum machine": "drum",
    "wind chime": "chime",
    "wind instrument": "flute",
    "french horn": "frenchhorn",
    "english horn": "oboe",
    "mouse click": "mouseclick",
    "tap dance": "tapdance",
    "door bell": "doorbell",
    "hair dryer": "hairdryer",
}

# Words that tell no sound from another: grammar, people, generic verbs, how near and how loud.
STOP_WORDS = (
    "a an the this that these those some any each both all it its is are was were be been being there here and or but with"
    " without while when as then than of in on at to by from for into onto over under through across along up down off out"
    " around near after before during between i you he she they his her their who which"
    " someone somebody person people human man woman men women male female boy girl guy lady adult group domestic"
    " sound noise audio recording record clip background ambience ambient ambiance environment atmosphere hear heard listen"
    " run play make do go get come move have has had happen occur continue start stop begin call produce emit give follow use"
    " loud loudly soft softly quiet quietly faint faintly distant distance nearby close foreground heavy heavily light lightly"
    " gentle gently constant constantly continuous continuously repeatedly repeated steady slow slowly fast quick quickly rapid"
    " high low pitch pitched small large big little long short deep one two three few several many multiple single lone"
    " outside outdoors inside indoors other another different various same again very"
)

IRREGULAR = {
    "wolves": "wolf",
    "geese": "goose",
    "mice": "mouse",
    "calves": "calf",
    "hooves": "hoof",
    "leaves": "leaf",
    "spoke": "speak",  # bicycle spokes are plural
    "spoken": "speak",
    "sang": "sing",
    "rang": "ring",
    "blew": "blow",
    "broken": "break",
    "said": "say",
    "children": "child",
}


def stem(word: str) -> str:
    """A word without its English inflection, so that barks, barked and barking are one: the first steps of Porter's stemmer."""
    word = IRREGULAR.get(word, word)
    if len(word) > 3:
        if word.endswith(("ches", "shes", "sses", "xes", "zes", "ies")):
            word = word[:-2]
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
        for ending in ("ing", "ed"):
            rest = word.removesuffix(ending)
            if rest != word and len(rest) > 2 and re.search("[aeiouy]", rest):
                doubled = rest[-1] == rest[-2] and rest[-1] not in "lsz"
                word = rest[:-1] if doubled else rest
                break
    if len(word) > 3 and word.endswith("e"):
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 2 and word[-2] not in "aeiou" else word


@lru_cache(maxsize=2**16)
def stems(text: str) -> frozenset[str]:
    """The words of a label or caption that tell one sound from another, stemmed."""
    words = [stem(word) for word in re.findall(r"[^\W\d_]+", text.lower().replace("'s", ""))]
    kept = []
    for word in words:
        phrase = _phrases.get((kept[-1], word)) if kept else None
        if phrase:
            kept[-1] = phrase
        else:
            kept.append(word)
    return frozenset(kept) - _stop_words


_phrases = {tuple(stem(word) for word in phrase.split()): stem(name) for phrase, name in PHRASES.items()}
_stop_words = frozenset(stem(word) for word in STOP_WORDS.split()) | frozenset(STOP_WORDS.split())


def _kinds_by_stem() -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for words, kinds in [(words, (kind,)) for kind, words in KINDS.items()] + list(WIDE.items()):
        for word in words.split():
            found.setdefault(stem(word), set()).update(kinds)
    return {word: frozenset(kinds) for word, kinds in found.items()}


_kinds = _kinds_by_stem()


@dataclass(frozen=True)
class Concept:
    """What is known of a sound from its words. Without any (`described` false) nobody can say what it clashes with."""

    label: frozenset[str]
    words: frozenset[str]  # of label and caption
    kinds: frozenset[str]
    broader: frozenset[str]  # of the category that the class belongs to

    @property
    def described(self) -> bool:
        return bool(self.words or self.kinds)


@lru_cache(maxsize=2**16)
def concept(role: str, label: str, caption: str, category: str = "", voice: str = "") -> Concept:
    """The concept of a source; `voice` (man, woman, child, person) is that of speech, where a man is not a woman."""
    named, words = stems(label), stems(label) | stems(caption)
    if role == "speech":
        heard = {"man": VOICES[:1], "woman": VOICES[1:]}.get(voice, VOICES)
        return Concept(frozenset(), stems(caption), frozenset(heard), frozenset())
    kinds = frozenset().union(*(_kinds.get(word, ()) for word in words), MUSIC if role == "music" else ())
    return Concept(named, words, kinds, stems(category) - stems(label))


def similarity(a: Concept, b: Concept) -> float:
    """Jaccard index of their words: 0 for nothing in common, 1 for the same."""
    union = a.words | b.words
    return len(a.words & b.words) / len(union) if union else 0.0


def clash(a: Concept, b: Concept, max_similarity: float) -> bool:
    """True if a query for one may mean the other: a kind or a word of a class in common, one the category of the other, or
    descriptions that are more alike than `max_similarity`."""
    return bool(
        a.kinds & b.kinds
        or a.label & b.words
        or b.label & a.words
        or (a.label and a.label <= b.broader)
        or (b.label and b.label <= a.broader)
        or similarity(a, b) > max_similarity
    )

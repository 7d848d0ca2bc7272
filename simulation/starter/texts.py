"""What the starter corpus says, and how its sounds are described. Written for this project; data, and two small draws."""

import numpy as np

# Said by every speaker: voice conversion needs one text in several voices.
PARALLEL = (
    "Please turn down the radio before you answer the phone in the kitchen.",
    "Seven small boats were waiting near the old stone bridge on Friday morning.",
    "Is the green door at the end of the hall open, or did Maria close it again?",
    "My brother keeps two white horses and a very lazy brown dog behind the barn.",
    "The train to the coast leaves at half past nine, so we should be there by noon.",
    "Could you bring me a cup of strong coffee and the yellow folder from my desk?",
    "We measured the length of the table twice, and both times it was forty two inches.",
    "It rained all night, but the garden looked fresh and bright when the sun came out.",
)

SENTENCES = (
    "A quiet voice on the other side of the wall was counting slowly from one to twenty.",
    "After the storm, the whole village came together to clear the branches from the road.",
    "All of the windows were open, and the smell of warm bread drifted through the house.",
    "Every time I try to whistle that tune, my neighbor's parrot finishes it for me.",
    "For three weeks nobody noticed that the clock in the station was running backwards.",
    "He folded the map carefully, put it in his pocket, and never looked at it again.",
    "How long would it take to walk from here to the lighthouse and back before dark?",
    "I have always thought that the second chapter was better than the first one.",
    "If you listen closely, you can hear the river under the ice even in January.",
    "In my opinion the soup needs a little more salt and a lot more pepper.",
    "It is surprising how much noise a single cricket can make in an empty room.",
    "Just before midnight the lights went out, and somebody began to laugh in the dark.",
    "Leave your shoes by the door, please; the floor has only just been painted.",
    "Most of the passengers were asleep when the ship finally reached the harbor.",
    "My grandmother used to say that patience is a tree with bitter roots and sweet fruit.",
    "Nobody knows who planted the apple trees along the northern edge of the field.",
    "On the top shelf there is a box of letters that I have never been able to read.",
    "One of the students asked whether the experiment could be repeated without the lamp.",
    "Please speak a little louder, because the people in the last row cannot hear you.",
    "She found a silver coin in the sand and gave it to the boy with the kite.",
    "Some people like to work in silence, while others need music to think clearly.",
    "The baker's daughter learned to play the violin in less than a single summer.",
    "The bus was so full that we had to stand all the way from the museum to the park.",
    "The children built a tall tower out of wooden blocks, and the cat knocked it down.",
    "The doctor told him to rest for a few days and to drink plenty of water.",
    "The first snow of the year fell softly on the roofs and quiet streets of the town.",
    "The library will be closed on Monday, but the reading room stays open until six.",
    "The orchestra stopped playing as soon as the curtain caught on the piano.",
    "The painter mixed a little blue into the gray and smiled at the result.",
    "The pilot spoke calmly to the tower while the engine coughed and fell silent.",
    "There are eleven players on the field, and not one of them has seen the ball.",
    "They crossed the valley on foot and slept in a hut that belonged to a shepherd.",
    "This recipe calls for two eggs, a cup of flour, and a spoonful of honey.",
    "Those mountains look much closer than they really are on a clear day like this.",
    "Three questions were left at the end of the meeting, and nobody wanted to answer them.",
    "Under the bridge a man with a gray beard was feeding bread to the ducks.",
    "Unless the wind changes soon, we will have to spend another night on the island.",
    "We could hear a dog barking far away, and then a door, and then nothing at all.",
    "We planned to meet at the fountain, but each of us went to a different one.",
    "What did you say to make the whole class laugh at the same time?",
    "When the kettle began to sing, she put down her book and looked for the cups.",
    "Where did I put the small brass key that opens the drawer of the writing desk?",
    "Which of these two pictures would look better on the wall above the fireplace?",
    "Why is it that the shortest way home always seems to lead up a hill?",
    "You can borrow my umbrella if you promise to bring it back before the weekend.",
    "Your letter arrived a day early, which has never happened in this town before.",
    "Yesterday I walked past our old school and hardly recognized the building.",
    "Before you judge the cook, remember that the oven has been broken since March.",
)

TEMPLATES = (
    "{name} bought {number} {colour} {things} at the market on {day} and forgot to pay for them.",
    "Did {name} really leave the {colour} {thing} in the {place}, or was that somebody else?",
    "The {job} asked {name} to carry {number} {things} from the {place} to the {place}.",
    "On {day} at {time} o'clock we will meet {name} and {name} in front of the {place}.",
    "I would rather have the {colour} {thing} than the {colour} one, if you do not mind.",
    "There were {number} {things} and {number} {animals} in the {place}, and no people at all.",
    "My cousin {name} saw a {colour} {animal} behind the {place} early in the morning.",
    "How many {things} did the {job} find in the {place} on the first of {month}?",
    "If {name} calls before {time}, please say that the {thing} is still in the {place}.",
    "In {month} the {animals} come down to the {place}, and the {job} feeds them every {day}.",
    "Please write this down: {number} {things}, {number} {things}, and one very large {colour} {thing}.",
    "{name} is a {job} in a small town, and my neighbor {name} is a {job} too.",
    "Nobody told the {job} that the {animal} had eaten the {colour} {thing}.",
    "The {colour} light means stop, the {colour} light means go, and the {colour} one means nothing.",
    "It took {name} almost {number} days to paint the {thing} {colour} and the {place} {colour}.",
    "Has anyone seen the {animal} that was sleeping next to the {thing} in the {place}?",
    "Last {day} the {job} lost {number} dollars and a {colour} {thing} near the {place}.",
    "You need {number} {things} to get started, but {name} says that {number} would be better.",
    "When {name} was {number} years old, the family moved to a {colour} house near the {place}.",
    "The phone number of the {place} ends with {digit} {digit} {digit} {digit}, not with {digit} {digit}.",
    "Why would a {job} need {number} {colour} {things} in the middle of {month}?",
    "Between {time} and {time} on {day}, the {place} is usually full of {animals}.",
    "{name}, could you please move the {thing} away from the {place} before the {job} comes back?",
    "A {animal}, a {animal} and {number} {animals} were the only guests at the {place} in {month}.",
)

_SLOTS = {
    "name": "Maria Thomas Helen Peter Sofia Daniel Alice Robert Emma Martin Laura Victor Nina Oscar Clara Simon",
    "number": "two three four five six seven eight nine ten eleven twelve fifteen sixteen twenty thirty forty fifty",
    "digit": "zero one two three four five six seven eight nine",
    "time": "five six seven eight nine ten eleven noon midnight",
    "colour": "red green blue yellow white black purple orange brown gray silver golden",
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "month": "January February March April May June July August September October November December",
    "thing": "basket blanket bicycle bottle camera candle carpet chair guitar hammer jacket ladder lamp mirror",
    "things": "apples baskets bottles buttons candles carrots chairs hammers lamps onions pencils tickets",
    "animal": "bear camel donkey duck falcon fox goat horse lizard monkey rabbit spider tiger turtle",
    "animals": "bees camels cows deer donkeys ducks foxes goats horses monkeys pigeons rabbits sheep swans",
    "place": "bakery bridge castle garage garden harbor hospital kitchen library market museum school station",
    "job": "baker carpenter dentist doctor driver farmer gardener lawyer painter plumber sailor singer teacher",
}
SLOTS = {kind: words.split() for kind, words in _SLOTS.items()}

# label: (hierarchy above it, wordings). A query that names any word of the hierarchy may mean this sound.
EVENTS = {
    "dog barking": (
        ("animal", "dog"),
        ("A dog is barking.", "A dog barks several times.", "Barking of a dog."),
    ),
    "cat meowing": (
        ("animal", "cat"),
        ("A cat is meowing.", "A cat meows.", "Meowing of a cat."),
    ),
    "bird chirping": (
        ("animal", "bird"),
        ("A bird is chirping.", "A bird sings in short phrases.", "Chirps of a single bird."),
    ),
    "crickets chirping": (
        ("animal", "insect"),
        ("Crickets are chirping.", "Insects chirp steadily at night.", "The high chirping of crickets."),
    ),
    "knocking on a door": (
        ("household", "door"),
        ("Someone knocks on a door.", "Knocking on a wooden door.", "Several knocks on a door."),
    ),
    "clock ticking": (
        ("household", "clock"),
        ("A clock is ticking.", "The steady ticking of a clock.", "A clock ticks in a quiet room."),
    ),
    "typing on a keyboard": (
        ("household", "computer"),
        ("Someone types on a keyboard.", "Fast typing on a computer keyboard.", "Clicks of a keyboard being typed on."),
    ),
    "telephone ringing": (
        ("household", "telephone"),
        ("A telephone is ringing.", "An old telephone rings.", "The ringing of a phone."),
    ),
    "glass breaking": (
        ("household", "glass"),
        ("Glass breaks.", "A glass shatters on a hard floor.", "Breaking of glass into many pieces."),
    ),
    "alarm beeping": (
        ("signal", "alarm"),
        ("An alarm is beeping.", "A small electronic alarm beeps.", "The repeated beeping of an alarm."),
    ),
    "siren wailing": (
        ("signal", "siren"),
        ("A siren is wailing.", "The siren of an emergency vehicle.", "A siren goes up and down."),
    ),
    "church bell ringing": (
        ("signal", "bell"),
        ("A church bell is ringing.", "A large bell tolls.", "The ringing of a bell."),
    ),
    "car horn honking": (
        ("vehicle", "car"),
        ("A car horn honks.", "A car is honking.", "Honking of a car horn."),
    ),
    "engine running": (
        ("vehicle", "engine"),
        ("An engine is running.", "The drone of a running engine.", "An engine idles and revs up."),
    ),
    "rain falling": (
        ("weather", "rain"),
        ("Rain is falling.", "Rain patters on the ground.", "The sound of steady rain."),
    ),
    "thunder rumbling": (
        ("weather", "thunder"),
        ("Thunder is rumbling.", "A peal of thunder rolls away.", "Rumbling of thunder in the distance."),
    ),
    "water dripping": (
        ("water", "drops"),
        ("Water is dripping.", "Drops of water fall into a basin.", "Dripping of a tap."),
    ),
    "footsteps": (
        ("human", "steps"),
        ("Footsteps.", "Someone is walking.", "The steps of a walking person."),
    ),
    "whistling": (
        ("human", "whistle"),
        ("Someone is whistling.", "A person whistles a short tune.", "Whistling of a melody."),
    ),
    "applause": (
        ("human", "clapping"),
        ("People are clapping.", "An audience applauds.", "Applause of a crowd."),
    ),
}

NOISES = {
    "white noise": (("noise", "steady noise"), ("White noise.", "A steady hiss.")),
    "pink noise": (("noise", "steady noise"), ("Pink noise.", "A steady soft rushing noise.")),
    "brown noise": (("noise", "steady noise"), ("Brown noise.", "A steady deep rumbling noise.")),
    "mains hum": (("noise", "electric hum"), ("Mains hum.", "The hum of an electric device.")),
    "fan": (("noise", "machine"), ("A fan is running.", "The steady blowing of a fan.")),
    "traffic": (("noise", "vehicle"), ("Traffic noise.", "Cars pass by on a busy road.")),
    "babble": (("noise", "human", "speech"), ("Several people talk at once.", "Babble of voices.")),
    "crowd": (("noise", "human", "speech"), ("The murmur of a large crowd.", "Many people talk in a large hall.")),
}

SPEECH = {
    "female": (("human", "speech"), ("A woman is speaking.", "A female voice talks.", "Speech of a woman.")),
    "male": (("human", "speech"), ("A man is speaking.", "A male voice talks.", "Speech of a man.")),
}


def sentences(generator: np.random.Generator, count: int) -> list[str]:
    """`count` different sentences: of the written ones and, by two to one, of filled templates."""
    written = list(generator.permutation(len(SENTENCES)))
    found: list[str] = []
    while len(found) < count:
        if written and generator.random() < 1 / 3:
            text = SENTENCES[written.pop()]
        else:
            text = filled(TEMPLATES[int(generator.integers(len(TEMPLATES)))], generator)
        if text not in found:
            found.append(text)
    return found


def filled(template: str, generator: np.random.Generator) -> str:
    """The template with each slot drawn; within one sentence no word is drawn twice for the same kind of slot."""
    unused = {kind: [words[i] for i in generator.permutation(len(words))] for kind, words in SLOTS.items()}
    parts = template.replace("}", "{").split("{")
    text = "".join(unused[part].pop() if i % 2 else part for i, part in enumerate(parts))
    for wrong, right in ((" a orange", " an orange"), ("A orange", "An orange")):
        text = text.replace(wrong, right)
    return text


def captioned(wordings: tuple[str, ...], generator: np.random.Generator) -> str:
    """One of the wordings."""
    return wordings[int(generator.integers(len(wordings)))]

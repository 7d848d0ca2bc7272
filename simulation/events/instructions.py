"""What one would type to have a recording's sounds edited, and what is heard before and after: wordings as data."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulation.events.captions import sentence

KINDS = (
    *("add", "add_start", "add_end", "add_before", "add_after", "add_during", "add_time", "remove", "replace"),
    *("move_before", "move_after", "move_first", "move_last", "swap", "earlier", "later", "earlier_by", "later_by"),
    *("louder", "louder_slightly", "louder_much", "louder_by", "quieter", "quieter_slightly", "quieter_much", "quieter_by"),
    *("faster", "faster_slightly", "faster_much", "faster_by", "slower", "slower_slightly", "slower_much", "slower_by"),
)


@dataclass(frozen=True)
class EditWordings:
    """Templates of one language. All edits are in the imperative, so that every frame fits them. `{sound}` is the definite noun
    phrase of the sound that is edited ("the dog barking"), `{other}` of one that it is placed by, `{new}` the indefinite one
    of a sound that is not there yet ("a dog barking"); amounts are `{seconds}`, `{decibels}`, `{times}`, `{percent}`."""

    frames: tuple[str, ...]
    edits: dict[str, tuple[str, ...]]
    notes: dict[str, str]
    """What a caption adds after an edit of level or speed."""


ENGLISH = EditWordings(
    frames=(
        "{edit}",
        "{edit}",
        "{edit}",
        "{edit}",
        "please {edit}",
        "{edit}, please",
        "can you {edit}?",
        "could you {edit}?",
        "I want you to {edit}",
        "edit the audio: {edit}",
    ),
    edits={
        "add": (
            "add {new}",
            "insert {new}",
            "mix in {new}",
            "include {new}",
            "add {new} to the recording",
            "add {new} somewhere",
            "put {new} into the audio",
            "bring in {new}",
        ),
        "add_start": (
            "add {new} at the beginning",
            "add {new} at the start",
            "insert {new} at the start of the audio",
            "put {new} at the very beginning",
            "begin the recording with {new}",
            "open with {new}",
            "place {new} first",
            "add {new} before everything else",
        ),
        "add_end": (
            "add {new} at the end",
            "insert {new} at the end of the audio",
            "append {new}",
            "put {new} at the very end",
            "finish the recording with {new}",
            "end with {new}",
            "place {new} last",
            "add {new} after everything else",
        ),
        "add_before": (
            "add {new} before {other}",
            "add {new} right before {other}",
            "insert {new} ahead of {other}",
            "put {new} just before {other}",
            "place {new} before {other}",
        ),
        "add_after": (
            "add {new} after {other}",
            "add {new} right after {other}",
            "insert {new} following {other}",
            "put {new} just after {other}",
            "place {new} after {other}",
        ),
        "add_during": (
            "add {new} over {other}",
            "add {new} on top of {other}",
            "add {new} while one hears {other}",
            "mix {new} with {other}",
            "insert {new} during {other}",
            "lay {new} over {other}",
        ),
        "add_time": (
            "add {new} at {seconds} seconds",
            "insert {new} {seconds} seconds in",
            "put {new} at {seconds} s",
            "add {new} after {seconds} seconds",
            "add {new}, starting at {seconds} s",
        ),
        "remove": (
            "remove {sound}",
            "delete {sound}",
            "take out {sound}",
            "get rid of {sound}",
            "cut out {sound}",
            "erase {sound}",
            "drop {sound}",
            "eliminate {sound}",
            "filter out {sound}",
            "take {sound} out of the recording",
            "remove {sound} and keep the rest",
            "clean the audio of {sound}",
        ),
        "replace": (
            "replace {sound} with {new}",
            "replace {sound} by {new}",
            "swap {sound} for {new}",
            "change {sound} to {new}",
            "turn {sound} into {new}",
            "exchange {sound} for {new}",
            "put {new} in place of {sound}",
            "use {new} instead of {sound}",
            "substitute {new} for {sound}",
            "take out {sound} and put {new} there",
        ),
        "move_before": (
            "move {sound} before {other}",
            "move {sound} to just before {other}",
            "put {sound} before {other}",
            "place {sound} ahead of {other}",
            "let {sound} come before {other}",
            "change the order so that {sound} comes before {other}",
        ),
        "move_after": (
            "move {sound} after {other}",
            "move {sound} to just after {other}",
            "put {sound} after {other}",
            "place {sound} behind {other}",
            "let {sound} come after {other}",
            "change the order so that {sound} comes after {other}",
        ),
        "move_first": (
            "move {sound} to the beginning",
            "move {sound} to the front",
            "put {sound} first",
            "start with {sound}",
            "let {sound} come before everything else",
        ),
        "move_last": (
            "move {sound} to the end",
            "put {sound} last",
            "end with {sound}",
            "let {sound} come after everything else",
            "shift {sound} to the end",
        ),
        "swap": (
            "swap {sound} and {other}",
            "swap the positions of {sound} and {other}",
            "exchange the places of {sound} and {other}",
            "switch {sound} and {other} around",
            "let {sound} and {other} trade places",
        ),
        "earlier": (
            "move {sound} earlier",
            "let {sound} come earlier",
            "make {sound} start earlier",
            "play {sound} sooner",
            "bring {sound} in earlier",
        ),
        "later": (
            "move {sound} later",
            "let {sound} come later",
            "make {sound} start later",
            "delay {sound}",
            "bring {sound} in later",
        ),
        "earlier_by": (
            "move {sound} {seconds} seconds earlier",
            "let {sound} come {seconds} seconds earlier",
            "shift {sound} {seconds} s towards the beginning",
            "play {sound} {seconds} s sooner",
        ),
        "later_by": (
            "move {sound} {seconds} seconds later",
            "let {sound} come {seconds} seconds later",
            "shift {sound} {seconds} s towards the end",
            "delay {sound} by {seconds} seconds",
        ),
        "louder": (
            "make {sound} louder",
            "turn {sound} up",
            "turn up {sound}",
            "increase the volume of {sound}",
            "raise the level of {sound}",
            "boost {sound}",
            "amplify {sound}",
            "bring {sound} forward in the mix",
        ),
        "louder_slightly": (
            "make {sound} a little louder",
            "turn {sound} up a bit",
            "slightly raise {sound}",
            "increase the volume of {sound} slightly",
        ),
        "louder_much": (
            "make {sound} much louder",
            "turn {sound} up a lot",
            "strongly boost {sound}",
            "make {sound} a lot louder",
        ),
        "louder_by": (
            "make {sound} {decibels} dB louder",
            "turn {sound} up by {decibels} dB",
            "raise the level of {sound} by {decibels} dB",
            "boost {sound} by {decibels} decibels",
        ),
        "quieter": (
            "make {sound} quieter",
            "make {sound} softer",
            "turn {sound} down",
            "turn down {sound}",
            "lower the volume of {sound}",
            "reduce the level of {sound}",
            "attenuate {sound}",
            "push {sound} back in the mix",
        ),
        "quieter_slightly": (
            "make {sound} a little quieter",
            "turn {sound} down a bit",
            "slightly lower {sound}",
            "reduce the volume of {sound} slightly",
        ),
        "quieter_much": (
            "make {sound} much quieter",
            "turn {sound} down a lot",
            "make {sound} a lot softer",
            "strongly reduce the volume of {sound}",
        ),
        "quieter_by": (
            "make {sound} {decibels} dB quieter",
            "turn {sound} down by {decibels} dB",
            "lower the level of {sound} by {decibels} dB",
            "attenuate {sound} by {decibels} decibels",
        ),
        "faster": (
            "make {sound} faster",
            "speed {sound} up",
            "speed up {sound}",
            "play {sound} faster",
            "increase the speed of {sound}",
            "let {sound} go faster",
        ),
        "faster_slightly": (
            "make {sound} a little faster",
            "speed {sound} up a bit",
            "slightly increase the speed of {sound}",
            "play {sound} slightly faster",
        ),
        "faster_much": (
            "make {sound} much faster",
            "speed {sound} up a lot",
            "play {sound} a lot faster",
            "greatly increase the speed of {sound}",
        ),
        "faster_by": (
            "make {sound} {times} times as fast",
            "play {sound} at {times} times the speed",
            "play {sound} at {percent} % of its speed",
            "speed {sound} up to {percent} percent",
        ),
        "slower": (
            "make {sound} slower",
            "slow {sound} down",
            "slow down {sound}",
            "play {sound} more slowly",
            "reduce the speed of {sound}",
            "let {sound} go slower",
        ),
        "slower_slightly": (
            "make {sound} a little slower",
            "slow {sound} down a bit",
            "slightly reduce the speed of {sound}",
            "play {sound} slightly slower",
        ),
        "slower_much": (
            "make {sound} much slower",
            "slow {sound} down a lot",
            "play {sound} a lot slower",
            "greatly reduce the speed of {sound}",
        ),
        "slower_by": (
            "play {sound} at {times} times the speed",
            "play {sound} at {percent} % of its speed",
            "slow {sound} down to {percent} percent",
            "reduce the speed of {sound} to {percent} %",
        ),
    },
    notes={
        "louder": "Louder than before: {sound}.",
        "quieter": "Quieter than before: {sound}.",
        "faster": "Faster than before: {sound}.",
        "slower": "Slower than before: {sound}.",
    },
)
LANGUAGES = {"en": ENGLISH}


def instruction(kind: str, wordings: EditWordings, generator: np.random.Generator, **words: str) -> str:
    """An instruction of this kind with its words filled in, as a sentence or, as people type, in lower case and without a full
    stop."""
    template = _pick(wordings.edits[kind], generator)
    text = _pick(wordings.frames, generator).format(edit=template.format(**words))
    return sentence(text) if int(generator.integers(2)) else text


def _pick(options: Sequence[str], generator: np.random.Generator) -> str:
    return options[int(generator.integers(len(options)))]

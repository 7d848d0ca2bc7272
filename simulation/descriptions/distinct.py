"""Sources that their descriptions tell apart: drawn from the bank so that no query for one fits another."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from simulation.bank import Bank
from simulation.descriptions.ambiguity import Concept, clash, concept
from simulation.seeds import Rng

ROLES = ("event", "speech", "music")
TRIES = 64  # candidates for one mixture before it is begun anew
STARTS = 4  # beginnings before every combination is looked at
POOL = 256  # rows of a role that the search over combinations looks at
COMBINATIONS = 5000  # after so many it gives up
CHILD_BELOW_YEARS = 16


@dataclass(frozen=True)
class Candidate:
    """A row of the bank and what its words say."""

    role: str
    row: int
    voice: str  # of speech: man, woman, child, person (not known); "" for other roles
    concept: Concept


@dataclass(frozen=True)
class SourceRange:
    """Which sources may be mixed. Shares are relative to each other; a role that the corpus does not have is left out."""

    event: float = 0.7
    speech: float = 0.2
    music: float = 0.1
    min_clip_s: float = 0.3
    max_similarity: float = 0.1
    """Largest Jaccard index of the words of two sources' descriptions; a class or kind in common is never allowed."""

    def __post_init__(self):
        if min(self.event, self.speech, self.music) < 0 or not self.event + self.speech + self.music:
            raise ValueError(f"sources: shares are {self.event}, {self.speech}, {self.music}: none below 0, at least one above")

    def shares(self, bank: Bank) -> dict[str, float]:
        """The share of each role that can be drawn. ValueError if there is none."""
        wanted = {role: share for role, share in zip(ROLES, (self.event, self.speech, self.music), strict=True) if share}
        there = {role: share for role, share in wanted.items() if bank.has(role)}
        if not there:
            raise ValueError(f"this task needs sources, this split of the corpus has no {' or '.join(wanted)}: add such files")
        return there

    def draw(self, bank: Bank, rng: Rng, num_sources: int) -> list[Candidate]:
        """So many sources, each told from all others. ValueError if the corpus has no such combination."""
        shares = self.shares(bank)
        for start in range(STARTS):
            generator = rng("sources", start)
            chosen: list[Candidate] = []
            for _ in range(TRIES):
                role = pick(generator, shares)
                candidate = self._candidate(bank, role, bank.row(generator, role, bank.group(generator, role)))
                if candidate and self.fits(candidate, chosen):
                    chosen.append(candidate)
                    if len(chosen) == num_sources:
                        return chosen
        return self._search(bank, rng("sources", "search"), list(shares), num_sources)

    def draw_noise(self, bank: Bank, rng: Rng, sources: Sequence[Candidate]) -> Candidate | None:
        """A background that no query for these sources fits; None if each would. ValueError if none has a label or caption."""
        generator = rng("noise")
        for _ in range(TRIES):
            candidate = self._candidate(bank, "noise", bank.row(generator, "noise", bank.group(generator, "noise")))
            if candidate and self.fits(candidate, sources):
                return candidate
        pool = self._pool(bank, rng("noise", "search"), "noise")
        if not pool:
            raise ValueError(
                "no noise in this split of the corpus has a label or caption, so nobody can say which query it fits:"
                " describe some, or go without by --task.noise-probability 0"
            )
        return next((candidate for candidate in pool if self.fits(candidate, sources)), None)

    def fits(self, candidate: Candidate, others: Sequence[Candidate]) -> bool:
        """True if no query for one of them means another."""
        return not any(clash(candidate.concept, other.concept, self.max_similarity) for other in others)

    def _candidate(self, bank: Bank, role: str, row: int) -> Candidate | None:
        """The row as a source; None if it is too short or has nothing that a query could say."""
        if bank.value(row, "num_frames") < self.min_clip_s * bank.value(row, "sample_rate_hz"):
            return None
        known = facts(bank, row)
        voice = voice_of(known) if role == "speech" else ""
        meant = concept(role, bank.value(row, "label"), bank.value(row, "caption"), str(known.get("category", "")), voice)
        return Candidate(role, row, voice, meant) if meant.described else None

    def _pool(self, bank: Bank, generator: np.random.Generator, role: str) -> list[Candidate]:
        """One source of each meaning in the role, in random order; where there are very many rows, of some of them."""
        members = bank.members[role]
        rows = members.rows
        if len(rows) > POOL:  # groups first, so that rare classes are looked at
            groups = generator.permutation(members.num_groups)[:POOL]
            firsts = members.rows[members.starts[groups]]
            rows = np.concatenate([firsts, generator.choice(rows, POOL - len(firsts), replace=False)])
        found: dict[Concept, Candidate] = {}
        for row in generator.permutation(rows):
            candidate = self._candidate(bank, role, int(row))
            if candidate:
                found.setdefault(candidate.concept, candidate)
        return list(found.values())

    def _search(self, bank: Bank, generator: np.random.Generator, roles: list[str], num_sources: int) -> list[Candidate]:
        """Any combination that fits, found by trying all, those first that clash with the fewest others."""
        pool = [candidate for role in roles for candidate in self._pool(bank, generator, role)]
        pool = [pool[int(place)] for place in generator.permutation(len(pool))]
        pool.sort(key=lambda one: sum(not self.fits(one, [other]) for other in pool))
        best: list[Candidate] = []
        for chosen in itertools.islice(self._combinations([], pool, num_sources), COMBINATIONS):
            if len(chosen) == num_sources:
                return chosen
            best = max(best, chosen, key=len)
        raise ValueError(self._too_few(bank, roles, num_sources, best))

    def _combinations(self, chosen: list[Candidate], pool: list[Candidate], num_sources: int) -> Iterator[list[Candidate]]:
        """`chosen`, then its extensions from the pool, deepest first."""
        yield chosen
        for place, candidate in enumerate(pool if len(chosen) < num_sources else []):
            left = [other for other in pool[place + 1 :] if self.fits(other, [candidate])]
            yield from self._combinations([*chosen, candidate], left, num_sources)

    def _too_few(self, bank: Bank, roles: list[str], num_sources: int, best: list[Candidate]) -> str:
        if not best:
            return (
                f"no {' or '.join(roles)} of this split of the corpus lasts {self.min_clip_s} s and has a caption or label:"
                " fill the column `caption` of its manifest, or `label`, from which queries can be made, too"
            )
        names = [bank.value(found.row, "label") or bank.value(found.row, "caption") or found.role for found in best]
        return (
            f"a mixture of {num_sources} needs sources that no query confuses, this split of the corpus has too few distinct"
            f" classes: no more than {len(best)} together, such as {', '.join(map(repr, names))}; add sounds of other classes,"
            " describe those without caption or label, choose another --split, or ask for fewer by --task.num-sources"
        )


def facts(bank: Bank, row: int) -> dict:
    """The manifest's column `labels`: a JSON object, {} where it is empty. ValueError names the row that is none."""
    labels = bank.value(row, "labels")
    try:
        return msgspec.json.decode(labels) if labels else {}
    except msgspec.DecodeError as error:
        raise ValueError(f"manifest: labels of {bank.value(row, 'id')!r} are not JSON: {error}; mend the row") from None


def voice_of(known: dict) -> str:
    """Whose voice it is, as far as the corpus says: man, woman, child or person."""
    try:
        if float(known.get("age", CHILD_BELOW_YEARS)) < CHILD_BELOW_YEARS:
            return "child"
    except (TypeError, ValueError):
        pass  # "twenties" and the like
    return {"m": "man", "f": "woman"}.get(str(known.get("gender", ""))[:1].lower(), "person")


def pick(generator: np.random.Generator, shares: Mapping[str, float]) -> str:
    """One of the names, each as often as its share of their sum."""
    left = float(generator.random()) * sum(shares.values())
    for name, share in shares.items():
        left -= share
        if left < 0:
            return name
    return next(name for name in reversed(shares) if shares[name])

"""Music, noise and room data sets: `musdb18`, `dns`, `wham`, `slr28`."""

import re

import pandas as pd

from pipelines.formats.tree import AUDIO, Candidates, Options, Tree, as_json, candidates, phrase, records

TRACK = r"(?:^|/)(?P<part>train|test)/(?P<track>[^/]+)"
MUSDB18_VALID = (  # the fourteen tracks that the authors hold out of train
    "Actions - One Minute Smile",
    "Clara Berry And Wooldog - Waltz For My Victims",
    "Johnny Lokke - Promises & Lies",
    "Patrick Talbot - A Reason To Leave",
    "Triviul - Angelsaint",
    "Alexander Ross - Goodbye Bolero",
    "Fergessen - Nos Palpitants",
    "Leaf - Summerghost",
    "Skelpolu - Human Mistakes",
    "Young Griffo - Pennies",
    "ANiMAL - Rockshow",
    "James May - On The Line",
    "Meaxic - Take A Step",
    "Traffic Experiment - Sirens",
)
SLR28_KINDS = "simulated_rirs|real_rirs_isotropic_noises|pointsource_noises"
WHAM_SPLITS = {"tr": "train", "cv": "valid", "tt": "test"}
WHAM_FIELDS = {"recording": "File ID", "location": "Location ID", "reverberation": "Reverberation Level"}
DNS_ROLES = {"clean": "speech", "noise": "noise", "impulse_responses": "rir"}
DNS_SPEAKERS = (  # read speech, VCTK, M-AILABS, CREMA-D, VocalSet
    r"_reader_(\w+?)_|/(p\d{3}|s5)/|/(?:female|male|mix)/([^/]+)/|/crema_d/(\d{4})_|/VocalSet[^/]*/(?:.*/)?([fm]\d+)_"
)


def musdb18(tree: Tree, options: Options) -> Candidates:
    """MUSDB18-HQ (Rafii et al., 2019): {train,test}/<track>/{mixture,vocals,drums,bass,other}.wav; .stem.mp4 is refused."""
    stems = tree.match(rf"{TRACK}/(?P<stem>mixture|vocals|drums|bass|other|accompaniment)\.wav$")
    packed = tree.match(rf"{TRACK}\.stem\.mp4$")
    packed["refused"] = "unpack it to wav files first: musdbconvert of the musdb package, or take MUSDB18-HQ"
    rows = pd.concat([stems, packed], ignore_index=True).fillna("")
    held_out = rows["track"].isin(MUSDB18_VALID) & (rows["part"] == "train")
    rows = rows.assign(
        group="musdb18-" + rows["track"],
        label=rows["stem"].mask(rows["stem"] == "mixture", "music"),
        split=rows["part"].mask(held_out, "valid"),
        labels=as_json({"category": "music", "track": track} for track in rows["track"]),
    )
    licence = options.licence or "non-commercial research only (MUSDB18)"
    return Candidates(candidates(rows, role="music", licence=licence))


def dns(tree: Tree, options: Options) -> Candidates:
    """DNS Challenge (Reddy et al., Interspeech 2020 and later): clean*/, noise*/, impulse_responses/. Speakers by file name."""
    rows = tree.match(rf"(?:^|/)(?P<kind>clean|noise|impulse_responses)(?:_fullband|_wideband)?/.*{AUDIO}")
    rows["role"] = rows["kind"].map(DNS_ROLES)
    voices = ("/" + rows["path"]).str.extract(DNS_SPEAKERS).bfill(axis=1)[0].fillna("").astype("str")
    rows["speaker"] = ("dns-" + voices).where((voices != "") & (rows["role"] == "speech"), "")
    videos = rows["path"].str.extract(r"/([\w-]{11})\.wav$")[0].fillna("").astype("str")  # AudioSet clips bear its id
    rows["group"] = ("youtube-" + videos).where((rows["role"] == "noise") & (videos != ""), "")
    unknown = int(((rows["role"] == "speech") & (rows["speaker"] == "")).sum())
    notes = [f"{unknown} speech files do not name their speaker: each is its own group, with speaker empty"] if unknown else []
    return Candidates(candidates(rows, licence=options.licence), notes=notes)


def wham(tree: Tree, options: Options) -> Candidates:
    """WHAM! noise (Wichern et al., Interspeech 2019): {tr,cv,tt}/*.wav; metadata/noise_meta_*.csv name the source recording."""
    rows = tree.match(rf"(?:^|/)(?P<part>tr|cv|tt)/(?:noise/)?[^/]+{AUDIO}")
    names = rows["path"].str.rpartition("/")[2]
    meta = [tree.csv(name, ("utterance_id",)) for name in tree.names(r"noise_meta_(tr|cv|tt)\.csv$")]
    known = pd.concat(meta).drop_duplicates("utterance_id").set_index("utterance_id") if meta else pd.DataFrame()
    for column, source in WHAM_FIELDS.items():
        rows[column] = names.map(known[source]).fillna("").astype("str") if source in known else ""
    rows = rows.assign(
        group=("wham-" + rows["recording"]).where(rows["recording"] != "", ""),
        split=rows["part"].map(WHAM_SPLITS),
        label="urban background",
        labels=as_json(records(location=rows["location"], reverberation=rows["reverberation"])),
    )
    return Candidates(candidates(rows, role="noise", licence=options.licence or "CC BY-NC 4.0"))


def slr28(tree: Tree, options: Options) -> Candidates:
    """RIRS_NOISES, openslr.org/28 (Ko et al., ICASSP 2017): simulated and real impulse responses, two kinds of noise."""
    rows = tree.match(rf"(?:^|/)(?P<kind>{SLR28_KINDS})/(?:(?P<room>\w+/\w+)/)?[^/]+{AUDIO}")
    names = rows["path"].str.rpartition("/")[2]
    is_noise = (rows["kind"] == "pointsource_noises") | names.str.contains(r"_noise[_.]")
    rooms = names.map(_linked_rooms(tree)).fillna("").astype("str").mask(rows["room"] != "", rows["room"])
    simulated = (rows["kind"] == "simulated_rirs").tolist()
    rows = rows.assign(
        role=pd.Series("rir", index=rows.index).mask(is_noise, "noise"),
        group=("slr28-" + rooms).where(rooms != "", ""),
        label=phrase(rows["kind"]).where(is_noise, ""),
        labels=as_json(records(simulated=simulated, room=rooms)),
    )
    return Candidates(candidates(rows, licence=options.licence or "Apache-2.0"))


def _linked_rooms(tree: Tree) -> dict[str, str]:
    """File name -> room or noise id, by Kaldi's rir_list and noise_list ("--rir-id 1 --room-id A ... path")."""
    found = {}
    for name in tree.names(r"(real_rirs_isotropic_noises|pointsource_noises)/(rir_list|noise_list)$"):
        for line in tree.text(name).splitlines():
            ids = dict(re.findall(r"--(room-id|room-linkage|noise-id) (\S+)", line))
            room = ids.get("room-id") or ids.get("room-linkage") or ids.get("noise-id")
            if room:
                found[line.split()[-1].rpartition("/")[2]] = room
    return found

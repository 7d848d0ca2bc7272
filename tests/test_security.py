"""Nothing that comes from outside is run: no unpickling, no shell, no unpacking, no code of a model's author."""

import ast
import io
import pickle
import shutil
import tarfile
from pathlib import Path

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.config import TeacherConfig
from codec.published import read
from codec.transformers_teacher import TransformersTeacher
from tests.bytes_mutations import MUTATIONS, mutated
from tests.test_architecture import FILES, name
from training.data import tar_index
from training.data.quarantine import Rejected

UNPICKLES = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
MAY_NAME_PICKLE = {"codec/published.py"}  # its errors, which torch raises where weights_only refuses
RUNS = {"eval", "exec", "compile", "__import__"}
WRITES_MEMBERS = {"extract", "extractall"}
# of webdataset, by default
DECODES_ANYTHING = {"WebDataset", "WebLoader", "xdecode", "decode_pickle"}


def calls(path: Path) -> list[tuple[str, str, ast.Call]]:
    """Of every call: what stands before the last dot, the name, the call."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Attribute):
                found.append((ast.unparse(function.value), function.attr, node))
            elif isinstance(function, ast.Name):
                found.append(("", function.id, node))
    return found


def keyword(call: ast.Call, wanted: str):
    return next((ast.literal_eval(word.value) for word in call.keywords if word.arg == wanted), None)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_nothing_is_unpickled_unpacked_or_run(path):
    modules = {
        alias.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import) for alias in node.names
    }
    assert not modules & UNPICKLES or name(path) in MAY_NAME_PICKLE
    for before, function, call in calls(path):
        where = f"{name(path)}:{call.lineno}: {ast.unparse(call)[:80]}"
        if (before, function) == ("torch", "load"):
            assert keyword(call, "weights_only") is True, where
        if before in ("np", "numpy") and function in ("load", "save"):
            assert keyword(call, "allow_pickle") is False, where
        assert before not in UNPICKLES, where
        assert before or function not in RUNS, where
        assert function not in WRITES_MEMBERS | DECODES_ANYTHING or before.endswith(".str"), where  # of pandas
        assert (before, function) not in {("yaml", "load"), ("os", "system"), ("os", "popen")}, where
        named = {word.arg for word in call.keywords}
        assert "trust_remote_code" not in named and "allow_dangerous_deserialization" not in named, where
        assert not ("shell" in named and keyword(call, "shell")), where


class Bomb:
    """What a pickle can do."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture
def bomb(tmp_path):
    """A pickle that leaves a mark when it is loaded, and the mark."""
    mark = tmp_path / "exploded"
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # it works
    mark.unlink()
    yield Bomb(mark)
    assert not mark.exists()


def test_published_weights_that_hold_a_pickle_are_refused(bomb, tmp_path):
    for number, legacy in enumerate((False, True)):
        path = tmp_path / f"weights-{number}.pth"
        torch.save({"state_dict": bomb}, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match="weights-"):
            read(path)


def test_a_teacher_whose_weights_hold_a_pickle_is_refused(bomb, tmp_path):
    shape = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    network = transformers.HubertModel(transformers.HubertConfig(**shape, conv_dim=(8,) * 7, num_conv_pos_embeddings=16))
    network.save_pretrained(tmp_path / "hubert")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "hubert")
    (tmp_path / "hubert/model.safetensors").unlink()
    torch.save(network.state_dict() | {"bomb": bomb}, tmp_path / "hubert/pytorch_model.bin")
    with pytest.raises(ValueError, match=r"teacher .*hubert"):
        TransformersTeacher(TeacherConfig("transformers", str(tmp_path / "hubert"), (), 32))


def foreign_tar(*members: tuple[tarfile.TarInfo | str, bytes], **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", **options) as file:
        for info, data in members:
            info = tarfile.TarInfo(info) if isinstance(info, str) else info
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def looked_into(folder: Path, data: bytes) -> list:
    (folder / "x.tar").write_bytes(data)
    return tar_index._look_into(str(folder / "x.tar"))[1]


def linked(kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo("a.flac")
    info.type, info.linkname = kind, "/etc/passwd"
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_links_and_devices_in_tars_of_others_are_no_clips(tmp_path, kind):
    assert looked_into(tmp_path, foreign_tar((linked(kind), b""))) == []


@pytest.mark.parametrize("member", ["../../outside.flac", "/outside.flac", "a/../../outside.flac"])
def test_paths_in_tars_of_others_are_names_and_nothing_is_written(tmp_path, member):
    before = sorted(tmp_path.parent.iterdir())
    found = looked_into(tmp_path, foreign_tar((member, b"fLaC"), ("b.pyd", pickle.dumps(1)), ("b.txt", b"")))
    assert all(isinstance(entry, Rejected) for entry in found)  # four bytes are no FLAC
    assert sorted(tmp_path.iterdir()) == [tmp_path / "x.tar"] and sorted(tmp_path.parent.iterdir()) == before


TAR = foreign_tar(("a.flac", b"fLaC" + bytes(40)), ("a.json", b"{}"), ("b.wav", b"RIFF" + bytes(60)), format=tarfile.PAX_FORMAT)


@given(MUTATIONS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_damaged_tar_of_others_gives_rejects_and_no_other_error(tmp_path_factory, mutations, ended):
    folder = tmp_path_factory.getbasetemp() / "fuzz-tar"
    folder.mkdir(exist_ok=True)
    for entry in looked_into(folder, mutated(TAR, mutations) + bytes(1024) * ended):
        assert isinstance(entry, Rejected | dict)
    shutil.rmtree(folder)

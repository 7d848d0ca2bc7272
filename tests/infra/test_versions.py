import subprocess

from infra.versions import code_hash, git_commit, libraries


def test_only_what_the_code_does_counts(tmp_path):
    file = tmp_path / "room" / "wall.py"
    file.parent.mkdir()

    def hashed(text: str) -> str:
        file.write_text(text)
        return code_hash(tmp_path, ("room",))

    plain = hashed("def area(a, b):\n    return a * b\n")
    assert hashed('"""A wall."""\n\n# in metres\ndef area(a, b):\n    """Its area."""\n    return (a * b)\n') == plain
    assert hashed("def area(a, b):\n    return a + b\n") != plain


def test_a_file_may_be_named_alone(tmp_path):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 1\n")
    before = code_hash(tmp_path, ("a.py",))
    (tmp_path / "b.py").write_text("y = 2\n")
    assert code_hash(tmp_path, ("a.py",)) == before


def test_libraries_are_those_installed():
    assert libraries(("numpy",))["numpy"][0].isdigit()


def test_a_commit_is_named_and_a_change_shows(tmp_path):
    assert git_commit(tmp_path) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "a").write_text("1")
    for command in (["init", "-q"], ["add", "a"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *command], check=True)
    commit = git_commit(tmp_path)
    assert len(commit) == 40
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"

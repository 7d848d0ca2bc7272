"""Damage for fuzz tests: hypothesis draws what is done to bytes, and shrinks it when a reader does not bear it."""

from hypothesis import strategies as st

MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "delete", "copy"]), st.floats(0, 1, exclude_max=True), st.binary(max_size=80)
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    """The bytes after each mutation in turn: kind, place as a share of the length, bytes to use."""
    for kind, share, piece in mutations:
        place = int(share * len(data))
        match kind:
            case "flip":
                data = data[:place] + bytes([data[place] ^ (len(piece) + 1)]) + data[place + 1 :] if data else data
            case "cut":
                data = data[:place]
            case "insert":
                data = data[:place] + piece + data[place:]
            case "delete":
                data = data[:place] + data[place + len(piece) + 1 :]
            case "copy":
                data = data[:place] + data[place // 2 : place // 2 + 256] + data[place:]
    return data

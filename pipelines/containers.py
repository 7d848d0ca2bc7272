"""Is a WAV, OGG or MP3 file whole? libsndfile decodes cut ones without a word, so the containers are asked themselves.

Sources: RIFF/RF64 (EBU Tech 3306), Ogg (RFC 3533), MPEG audio frame headers (ISO/IEC 11172-3, 13818-3), the Xing/LAME tag.
"""

import struct
import zlib

STREAMED = 0xFFFFFFFF  # a WAV written to a pipe states no size
OGG_LAST = 4  # header flag of a stream's last page
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
SAMPLES_PER_FRAME = {3: 1152, 2: 576, 0: 576}  # MPEG version bits of layer III -> samples
RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
KBITS = {
    1: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG 1 layer III
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),  # MPEG 2 and 2.5
}


def fault(data: bytes) -> tuple[str, str] | None:
    """(reason, detail) if the file ends early or a page of it is damaged; None if it is whole or of another kind."""
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return _fault_of_wav(data)
    if data[:4] == b"OggS":
        return _fault_of_ogg(data)
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and _frame_bytes(data, 0)):
        return _fault_of_mp3(data)
    return None


def _fault_of_wav(data: bytes) -> tuple[str, str] | None:
    position, long_size = 12, None
    while position + 8 <= len(data):
        name, size = data[position : position + 4], struct.unpack_from("<I", data, position + 4)[0]
        position += 8
        if name == b"ds64" and position + 16 <= len(data):
            long_size = struct.unpack_from("<Q", data, position + 8)[0]
        if name == b"data":
            size = long_size if size == STREAMED else size
            if size is not None and position + size > len(data):
                return "truncated", f"{len(data) - position} of the {size} bytes of audio that the WAV header states"
            return None
        position += size + size % 2
    return "truncated", f"the {len(data)} bytes of the WAV file end before its audio"


def _fault_of_ogg(data: bytes) -> tuple[str, str] | None:
    position, pages, flags = 0, 0, 0
    while data[position : position + 4] == b"OggS":
        end = _page_end(data, position)
        if end > len(data):
            return "truncated", f"OGG page {pages} ends after {len(data) - position} bytes"
        if _page_crc(data, position, end) != struct.unpack_from("<I", data, position + 22)[0]:
            return "undecodable", f"the checksum of OGG page {pages} is wrong"
        position, pages, flags = end, pages + 1, data[position + 5]
    if not flags & OGG_LAST:
        return "truncated", f"the last of {pages} OGG pages does not end the stream"
    return None


def _page_end(data: bytes, position: int) -> int:
    """Where the page ends; beyond the data if not even its table of segments is whole."""
    table_start = position + 27
    num_segments = data[table_start - 1] if table_start <= len(data) else len(data)
    table = data[table_start : table_start + num_segments]
    return table_start + num_segments + sum(table) if len(table) == num_segments else len(data) + 1


def _page_crc(data: bytes, position: int, end: int) -> int:
    """Ogg's checksum runs over the bits the other way round than zlib's, from 0 and without the final inversion."""
    page = data[position : position + 22] + b"\0\0\0\0" + data[position + 26 : end]
    crc = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int.from_bytes(crc.to_bytes(4, "little").translate(REVERSED), "big")


def _fault_of_mp3(data: bytes) -> tuple[str, str] | None:
    start = _after_id3(data)
    length = _frame_bytes(data, start)
    if not length:
        return None  # junk in front: left to the decoder
    stated = _stated_bytes(data[start : start + length])
    if stated:
        there = len(data) - start
        return ("truncated", f"{there} of the {stated} bytes that the MP3's Xing tag states") if there < stated else None
    position, frames = start, 0
    while length:
        position, frames = position + length, frames + 1
        length = _frame_bytes(data, position)
    if position > len(data):
        return "truncated", f"the last of {frames} MP3 frames lacks {position - len(data)} bytes"
    return None


def _after_id3(data: bytes) -> int:
    if data[:3] != b"ID3" or len(data) < 10:
        return 0
    size = 0
    for byte in data[6:10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if data[5] & 0x10 else 0)


def _frame_bytes(data: bytes, position: int) -> int:
    """Length of the layer III frame whose header is here; 0 if there is none."""
    if position + 4 > len(data):
        return 0
    head = struct.unpack_from(">I", data, position)[0]
    version, layer, kbits, rate = head >> 19 & 3, head >> 17 & 3, head >> 12 & 15, head >> 10 & 3
    if head >> 21 != 0x7FF or version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:
        return 0
    bits = 1000 * KBITS[1 if version == 3 else 2][kbits]
    return SAMPLES_PER_FRAME[version] // 8 * bits // RATES_HZ[version][rate] + (head >> 9 & 1)


def _stated_bytes(frame: bytes) -> int:
    """Bytes of the whole stream by the first frame's Xing or Info tag; 0 without one."""
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if at < 0 or at + 16 > len(frame):
        return 0
    flags = struct.unpack_from(">I", frame, at + 4)[0]
    return struct.unpack_from(">I", frame, at + (12 if flags & 1 else 8))[0] if flags & 2 else 0

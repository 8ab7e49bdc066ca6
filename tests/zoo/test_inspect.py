"""Small files that would take endless time or memory: refused before anything is built, within a second."""

import struct
import subprocess
import sys
from pathlib import Path

import pytest

START, STORAGE = b"\x80\x02", b"X\x07\x00\x00\x00storage"
NESTED = b"K\x01" + b"2\x86" * 60  # a pair of a pair of ..., 60 deep: 2^60 leaves in 120 bytes
HUGE = b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000  # a number of 800,000 bits
REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n(" + b"(" + STORAGE + b"ctorch\nFloatStorage\nX\x01\x00\x00\x00aNK\x00tQ"
SHARED = b"q\x01ctorch\nFloatStorage\nq\x02Nq\x03K\x00q\x04"
MANY = b"".join(b"(h\x01h\x02X\x06\x00\x00\x00%06dh\x03h\x04tQ0" % i for i in range(100_000))

BOMBS = {
    # The number of the refused instruction; without the refusal its gigabyte would be there, and then lack its bytes.
    "a byte array": (b"\x80\x05\x96" + struct.pack("<Q", 2**30) + b".", "damaged (150)"),
    "a nested key": (START + b"}" + NESTED + b"Ns.", "nested keys"),
    "nested keys of a batch": (START + b"}(" + NESTED + b"Nu.", "nested keys"),
    "a nested key of an old dictionary": (b"(" + NESTED + b"Nd.", "nested keys"),
    "a nested key of an ordered dictionary": (
        START + b"ccollections\nOrderedDict\n]" + NESTED + b"N\x86a\x85R.",
        "nested",
    ),
    "a nested member of a set": (b"\x80\x04(" + NESTED + b"\x91.", "damaged"),
    "a nested name of a storage": (
        START + b"(" + STORAGE + b"ctorch\nFloatStorage\n" + NESTED + b"NK\x00tQ.",
        "storage",
    ),
    "a nested kind of a storage": (START + b"(" + NESTED + b"ctorch\nFloatStorage\nNNK\x00tQ.", "storage"),
    "a shape of huge numbers": (
        START + REBUILD + b"K\x00(" + HUGE + b"q\x05" + b"h\x05" * 50 + b"ttR.",
        "impossible shape",
    ),
    "a shape of too many numbers": (
        START + REBUILD + b"K\x00(" + b"K\x02" * 1_000_000 + b"ttR.",
        "without storage or shape",
    ),
    "many storages": (START + STORAGE + SHARED + MANY + b".", "plain pickle"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_no_time(name: str, tmp_path: Path) -> None:
    code, message = BOMBS[name]
    path = tmp_path / "x.pth"
    path.write_bytes(code)
    # In a process of its own, with its own limits: hashing and multiplying hear no interrupt.
    program = (
        "import sys; from pathlib import Path; from resource import RLIMIT_AS, RLIMIT_CPU, setrlimit; "
        "from suprem.zoo._inspect import inspect_checkpoint; "
        "setrlimit(RLIMIT_AS, (2**31, 2**31)); setrlimit(RLIMIT_CPU, (15, 15)); inspect_checkpoint(Path(sys.argv[1]))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, timeout=300)
    assert "CheckpointError" in done.stderr
    assert message in done.stderr.splitlines()[-1]

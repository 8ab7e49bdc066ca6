"""One fixed colour per structure, the same in every picture."""

import zlib
from functools import cache

from suprem.errors import UnknownNameError
from suprem.labels.structures import canonical_name, list_structures

__all__ = ["color"]

# One colour per structure in the order of the table of structures. The common abdominal organs were chosen by hand;
# each further one is the colour farthest (OKLab) from all before it and from the greys of a CT, so the 32 structures
# of the published checkpoints differ most.
_COLORS = (
    "8b5cf6 f97316 fdc04a 22c55e e040d8 b4532a 38bdf8 ef2b2b 2f56e0 870078 f7f01c ffa5ff 00ffff 9be42e "
    "005a00 871e1e 5a00b4 84772b f5b38a a55a96 e9f5a0 f078a5 004b87 0087b4 009600 b4a51e a596ff a50fc3 "
    "0000e1 f00087 69d2b4 00a587 0f785a 3c87ff 694b96 b40f5a 6900ff 694b00 00ffa5 a5d2ff b4875a c300ff "
    "f078ff 8787c3 00ff00 874b5a c3d296 c30096 e1a5c3 d25a78 6969c3 1e6987 b469d2 ffd2ff b40f00 a5b487 "
    "78961e 3ca5c3 9600ff 783cd2 007800 2d3cb4 a5f0d2 96c30f 0f5a4b c38796 ff4bb4 00e13c a5a5d2 b4ff78 "
    "ff5a69 ff00ff 00e1ff 5a3c69 c3b4ff ff8778 5a691e e1962d 5a8769 d24ba5 d287d2 2d2dff d2d23c 00e196 "
    "d2693c c35aff 875a2d ffd2b4 693c3c a56969 78b4b4 d2003c 69b478 87004b 781ea5 963c96 3c5aa5 786996 "
    "00a5ff 879669 96e187 a58700 d2b45a 4b00e1 a54bc3 5a69ff d29678 a578ff 00b400 b44b69 3c873c ff78d2 "
    "963c1e 96ff0f 1e78d2 78a5f0 f000b4 4bf0c3 5a3cb4 5a9696 00c3a5 96ffb4 5a2d87 d296ff b4f0ff e169d2 "
    "00c3d2 a57896 c32dc3 87c3e1 a50078 ff005a 8778e1 008787 2da54b ffb4c3 a5c369 ff4be1 ff96d2 962d4b "
    "e17878 d20069 ff4b00 f04b87 ffa53c ffe169 782d69 78b43c c369a5 b46900 d23c00 b43c87 e1c3f0 a53cf0 "
    "87e1e1 0069ff 4b7896 5a4bff 8700d2 78d269 5a87d2 1e692d 875ab4 e100f0 4bf069 f0d287 690fd2 96b4ff"
)


@cache
def _by_name() -> dict[str, tuple[int, int, int]]:
    return {name: _rgb(text) for name, text in zip(list_structures(), _COLORS.split(), strict=True)}


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(text)
    return red, green, blue


@cache
def color(name: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of a structure; a name outside the registry gets one from its spelling.

    Example:
        >>> color("pancreas"), color("pancreas") == color("Pancreas")
        ((247, 240, 28), True)
    """
    try:
        return _by_name()[canonical_name(name)]
    except UnknownNameError:
        palette = tuple(_by_name().values())
        return palette[zlib.crc32(name.encode()) % len(palette)]

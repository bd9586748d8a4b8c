"""Copies a shared library of 64-bit little-endian ELF so that it prefers its own symbols: symbolic.py FROM TO

Sets DF_SYMBOLIC, as the linker's -Bsymbolic does: https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html
"""

import struct
import sys
from pathlib import Path

PT_DYNAMIC = 2
DT_NULL, DT_FLAGS, DF_SYMBOLIC = 0, 30, 2

data = bytearray(Path(sys.argv[1]).read_bytes())
if data[:6] != b"\x7fELF\x02\x01":
    sys.exit(f"{sys.argv[1]} is not of 64-bit little-endian ELF")
(headers,) = struct.unpack_from("<Q", data, 32)
size, count = struct.unpack_from("<HH", data, 54)
for header in range(headers, headers + size * count, size):
    kind, _, at, _, _, length = struct.unpack_from("<IIQQQQ", data, header)
    if kind == PT_DYNAMIC:
        break
else:
    sys.exit(f"{sys.argv[1]} is not linked dynamically")
tags = [struct.unpack_from("<QQ", data, entry) for entry in range(at, at + length, 16)]
end = next(index for index, (tag, _) in enumerate(tags) if tag == DT_NULL)
index = next((index for index, (tag, _) in enumerate(tags) if tag == DT_FLAGS), end)
if index + 1 == len(tags):
    sys.exit(f"{sys.argv[1]} has no room for DT_FLAGS")
struct.pack_into("<QQ", data, at + 16 * index, DT_FLAGS, DF_SYMBOLIC | (tags[index][1] if index < end else 0))
Path(sys.argv[2]).write_bytes(data)

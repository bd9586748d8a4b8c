"""Packs the fakes as torch packs models, correctly and in every wrong way: make_packages.py FAKES_DIR OUT_DIR MACHINE

The tests name the packages; what is peculiar about each stands here, at its entry in `packages`.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import struct
import sys
import zipfile
import zlib
from pathlib import Path

FAKES, OUT, MACHINE = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]

# What the C++ tests expect of the spec of `add`: two float32 tensors [n, 3] with n of 0 to 64.
ROWS = {"symbol": "n", "min": 0, "max": 64}
SPEC = {
    "version": 1,
    "inputs": [
        {"name": "a", "dtype": "float32", "device": "cpu", "shape": [ROWS, 3]},
        {"name": "b", "dtype": "float32", "device": "cpu", "shape": [ROWS, 3]},
    ],
    "outputs": [{"name": "sum", "dtype": "float32", "device": "cpu", "shape": [ROWS, 3]}],
}
OUTPUT = SPEC["outputs"][0]
NONE = {"name": "nothing", "dtype": None, "device": None, "shape": []}


def spec(**changes: object) -> str:
    """The spec of `add` with other values for some of its members."""
    return json.dumps({**SPEC, **changes}, separators=(",", ":"))


def second_input(**changes: object) -> str:
    """The spec of `add` with changes to its second input."""
    return spec(inputs=[SPEC["inputs"][0], {**SPEC["inputs"][1], **changes}])


def image(name: str) -> bytes:
    return (FAKES / f"libfake_{name}.so").read_bytes()


Files = dict[str, bytes]

# Beside a model's image, as for a GPU.
KERNELS = {"data/aotinductor/model/one.cubin": b"kernel", "data/aotinductor/model/two.cubin": b"another"}


def model(
    so: bytes | None, name: str = "model", metadata: dict[str, str] | None = None, **more: bytes
) -> Files:
    """One model's files below the package's root. In `more`, "_" stands for "." before an extension."""
    folder, stem = f"data/aotinductor/{name}/", "cabc1234"
    keys = {
        "AOTI_DEVICE_KEY": "cpu",
        "AOTI_PLATFORM": sys.platform,
        "AOTI_MACHINE": MACHINE,
        "AOTI_CPU_ISA": "",
        **(metadata or {}),
    }
    files = {f"{folder}{stem}.wrapper.cpp": b"// generated\n"}
    if so is not None:
        files[f"{folder}{stem}.wrapper.so"] = so
    files[f"{folder}{stem}.wrapper_metadata.json"] = json.dumps(keys).encode()
    for ending, content in more.items():
        endings = {"weights": ".wrapper_weights.blob", "nodes": ".wrapper.json", "source": ".wrapper.cpp"}
        files[folder + stem + endings[ending]] = content
    return files


def top(files: Files) -> Files:
    """With the files at the top of every package."""
    return {**files, "archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little"}


def rooted(files: Files, root: str) -> Files:
    return {f"{root}/{name}": content for name, content in files.items()}


def packed(
    files: Files | list[tuple[str, bytes]],
    *,
    descriptors: bool = True,  # sizes after the data instead of before it, as torch writes them
    zip64: bool = False,  # sizes and offsets in zip64 fields, though they would fit
    align: int = 64,
    flags: int = 0,
    comment: bytes = b"",
) -> bytes:
    """A zip of stored entries, in the form of torch's writer (miniz)."""
    flags |= 0x808 if descriptors else 0x800
    out, directory = bytearray(), bytearray()
    items = list(files.items()) if isinstance(files, dict) else files
    for name, content in items:
        encoded, crc, size, offset = name.encode(), zlib.crc32(content), len(content), len(out)
        extra = b""
        if zip64 and not descriptors:
            extra = struct.pack("<HHQQ", 1, 16, size, size)
        padding = -(offset + 30 + len(encoded) + len(extra) + 4) % align
        extra += struct.pack("<2sH", b"FB", padding) + b"Z" * padding
        known = (0, 0, 0) if descriptors else (crc,) + ((0xFFFFFFFF,) * 2 if zip64 else (size,) * 2)
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, flags, 0, 0, 0, *known, len(encoded), len(extra))
        out += encoded + extra + content
        if descriptors:
            out += struct.pack("<IIQQ" if zip64 else "<IIII", 0x08074B50, crc, size, size)
        wide = struct.pack("<HHQQQ", 1, 24, size, size, offset) if zip64 else b""
        place = (0xFFFFFFFF,) * 3 if zip64 else (size, size, offset)
        directory += struct.pack(
            "<IHHHHHHIIIHHHHHII", 0x02014B50, 0, 20, flags, 0, 0, 0, crc, *place[:2], len(encoded), len(wide), 0, 0, 0, 0, place[2]
        )
        directory += encoded + wide
    start, size, count = len(out), len(directory), len(items)
    out += directory
    if zip64:
        end = len(out)
        out += struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, count, count, size, start)
        out += struct.pack("<IIQI", 0x07064B50, 0, end, 1)
        count, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    out += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, start, len(comment)) + comment
    return bytes(out)


def by_zipfile(files: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    """Written by another implementation of zip."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def package(so: bytes | str, metadata: dict[str, str] | None = None, **more: bytes) -> bytes:
    """A package of one model, in the usual form."""
    if isinstance(so, str):
        so = image(so)
    return packed(rooted(top(model(so, metadata=metadata, **more)), "root"))


def with_spec(text: str, name: str = "add") -> bytes:
    return package(name, {"aoti.spec": text})


def patched(so: bytes, offset: int, value: bytes) -> bytes:
    return so[:offset] + value + so[offset + len(value) :]


def needing(so: bytes, library: str) -> bytes:
    """The image with one more needed library, whose name is a symbol of the image.

    The entry replaces DT_RELACOUNT, which loaders do not need.
    """
    segments, count = struct.unpack_from("<Q", so, 32)[0], struct.unpack_from("<H", so, 56)[0]
    headers = [struct.unpack_from("<IIQQQQQQ", so, segments + i * 56) for i in range(count)]
    offset, size = next((h[2], h[5]) for h in headers if h[0] == 2)
    entries = [(at, *struct.unpack_from("<qQ", so, at)) for at in range(offset, offset + size, 16)]
    tags = {tag: (at, value) for at, tag, value in entries if tag != 0}
    strings, strings_size = tags[5][1], tags[10][1]  # in the first segment, addresses equal offsets
    name = so.index(b"\0" + library.encode() + b"\0", strings, strings + strings_size) + 1 - strings
    return patched(so, tags[0x6FFFFFF9][0], struct.pack("<qQ", 1, name))


def with_newer_libc(so: bytes) -> bytes:
    """The image that needs a version of the C library's symbols that does not exist."""
    old = re.search(rb"\0(GLIBC_2[0-9.]+)\0", so)[1]
    new = re.sub(rb"[0-9]", b"9", old)

    def hashed(name: bytes) -> bytes:
        value = 0
        for c in name:
            value = (value << 4) + c
            value = (value ^ (value & 0xF0000000) >> 24) & 0xFFFFFFF
        return struct.pack("<I", value)

    return so.replace(old + b"\0", new + b"\0").replace(hashed(old), hashed(new))


def with_note(so: bytes, kind: int, content: bytes, align: int) -> bytes:
    """The image with its first note replaced by another."""
    segments, count = struct.unpack_from("<Q", so, 32)[0], struct.unpack_from("<H", so, 56)[0]
    at = next(at for at in range(segments, segments + count * 56, 56) if struct.unpack_from("<I", so, at)[0] == 4)
    offset, size = struct.unpack_from("<Q", so, at + 8)[0], struct.unpack_from("<Q", so, at + 32)[0]
    note = struct.pack("<III4s", 4, len(content), kind, b"GNU\0") + content
    assert len(note) <= size
    return patched(patched(so, offset, note), at + 48, struct.pack("<Q", align))


def source(shapes: list[int]) -> bytes:
    """Inductor's source for the constants of `two_sets`, with these sizes."""
    lines = [
        line
        for i, (name, size) in enumerate(zip(("w_", "b_", "t_"), shapes, strict=True))
        for line in (
            f'constants_info_[{i}].name = "{name}";',
            f"constants_info_[{i}].device_type = cached_torch_device_type_cpu;",
            f"constants_info_[{i}].offset = 0;",
            f"constants_info_[{i}].shape = {{{size}}};",
            f"constants_info_[{i}].stride = {{1}};",
            f"constants_info_[{i}].layout = static_cast<int32_t>(cached_torch_layout_strided);",
        )
    ]
    return "\n".join(lines).encode()


def extern_nodes(calls: list[dict[str, object]]) -> bytes:
    return json.dumps({"nodes": [{"name": f"buf{i}", "node": call} for i, call in enumerate(calls)]}).encode()


def packages() -> dict[str, bytes]:
    add = image("add")
    plain = top(model(add))
    described = {"aoti.spec": spec(), "author": "the tests"}
    full = rooted(top(model(add, metadata=described)), "add")
    extra = {"extra/notes.txt": b"notes", "extra/deep/er.bin": b"\0\1\2", "extra/none": b""}
    table = {"name": "table", "class_fqn": "__torch__.torch.classes.mylib.Table"}
    inputs = [{"name": "x", "arg": {"as_tensor": {"name": "a"}}}, {"name": "t", "arg": {"as_custom_obj": table}}]
    nodes = [
        {"target": "mylib::twice", "inputs": inputs[:1], "outputs": []},
        {"target": "mylib::thrice", "inputs": inputs, "outputs": [], "metadata": {"torch_library_custom_op": "1"}},
        {"target": "mylib::twice", "inputs": inputs[:1], "outputs": []},
        {"target": "call_torchbind", "inputs": inputs[1:], "outputs": []},
    ]
    weights = struct.pack("<8f", *range(8))
    two_sets = struct.pack("<24f", *[1.0] * 8, *[2.0] * 8, *[3.0] * 8)
    eight = {"dtype": "float32", "shape": [8]}
    two_sets_spec = spec(
        inputs=[{"name": "x", "device": "cpu", **eight}],
        constants=[
            {"name": "w_", "fqn": "layer.w", **eight},
            {"name": "b_", "fqn": "layer.b", "strides": [1], **eight},
            {"name": "t_", "fqn": "t", **eight},
            {"name": "f_", "fqn": "", **eight},
        ],
    )
    derived_spec = two_sets_spec.replace('"fqn":"layer.b"', '"fqn":"layer.b","derived":true')
    others = ',"unused":["spare"],"fixed":[{"fqn":"gone","dtype":"float32","shape":[8]}]}'
    tied_spec = two_sets_spec.replace('"fqn":"layer.w"', '"fqn":"layer.w","aliases":["tied.w"]')[:-1] + others
    wrong_spec = two_sets_spec.replace('"strides":[1]', '"strides":[3]')
    small = top(model(b"\x7fELF of a few bytes", metadata={"key": "value"}))
    windows = b"MZ" + b"\0" * 58 + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<H", 0xAA64) + b"\0" * 99
    macos = struct.pack("<IIIIIIII", 0xFEEDFACF, 0x100000C, 0, 6, 1, 100, 0, 0)
    other_machine = b"\xb7\0" if MACHINE == "x86_64" else b"\x3e\0"

    result = {
        # Good ones.
        "add.pt2": packed(full),
        "add_plain.pt2": packed(rooted(plain, "add_plain")),
        "no_root.pt2": packed(model(add)),
        "zip64.pt2": packed(rooted(plain, "zip64"), zip64=True),
        "zip64_no_descriptors.pt2": packed(rooted(plain, "zip64"), zip64=True, descriptors=False),
        "no_descriptors.pt2": packed(rooted(plain, "r"), descriptors=False),
        "unaligned.pt2": packed(rooted(plain, "r"), align=1),
        "commented.pt2": packed(rooted(plain, "r"), comment=b"a comment"),
        "by_zipfile.pt2": by_zipfile(rooted(plain, "r")),
        "kernels.pt2": packed(rooted(top({**model(image("kernels")), **KERNELS}), "kernels")),
        "two.pt2": packed(rooted(top({**model(add, "model"), **model(image("many"), "model2")}), "two")),
        "two_reversed.pt2": packed(rooted(top({**model(image("many"), "model2"), **model(add, "model")}), "two")),
        "extra.pt2": packed(rooted(top({**model(add), **extra}), "extra")),
        "no_metadata.pt2": packed(
            {f"r/{n}": c for n, c in plain.items() if not n.endswith(".json")}
        ),
        "weights.pt2": package("weights", weights=weights),
        "two_sets.pt2": package("two_sets"),
        "two_sets_maps.pt2": package("two_sets_maps"),
        "two_sets_written.pt2": package("two_sets_written"),
        "two_sets_derived.pt2": package("two_sets", {"aoti.spec": derived_spec}),
        "two_sets_tied.pt2": package("two_sets", {"aoti.spec": tied_spec}),
        "two_sets_old.pt2": package("two_sets_old"),
        "two_sets_old_described.pt2": package("two_sets_old", {"aoti.spec": two_sets_spec}),
        "two_sets_old_none.pt2": package("two_sets_old_none"),
        "two_sets_old_beside.pt2": package("two_sets_old_beside"),
        "two_sets_empty.pt2": package("two_sets_empty", {"aoti.spec": two_sets_spec}),
        "two_sets_beside.pt2": package("two_sets_empty", {"aoti.spec": two_sets_spec}, weights=two_sets),
        "two_sets_by_source.pt2": package("two_sets_empty", weights=two_sets, source=source([8, 8, 8])),
        "two_sets_wrong_source.pt2": package("two_sets_empty", weights=two_sets, source=source([8, 40, 8])),
        "two_sets_short_source.pt2": package("two_sets_empty", weights=two_sets, source=source([8, 8, 8])[:-9]),
        "two_sets_wrong_spec.pt2": package("two_sets_empty", {"aoti.spec": wrong_spec}, weights=two_sets),
        "two_sets_undescribed.pt2": package("two_sets_empty"),
        "appended.pt2": package(image("appended") + b"\0" * 100 + b"weights!"),
        "needs_torch.pt2": package(needing(image("needs"), "libtorch_fake.so")),
        "no_nodes.pt2": package("add", nodes=b'{"nodes": []}'),
        "ordered.pt2": with_spec(second_input(order=[1, 0])),
        "writing.pt2": with_spec(second_input(mutated=True)),
        "strided.pt2": with_spec(second_input(strides=[None, 1])),
        "repeated_none.pt2": package("repeated", {"aoti.spec": spec(outputs=[OUTPUT, NONE, OUTPUT])}),
        "small.pt2": packed(rooted(small, "s"), align=1),
        "small_zip64.pt2": packed(rooted(small, "s"), zip64=True, align=1),
        # Not packages, or damaged ones.
        "empty.pt2": b"",
        "text.pt2": b"This is no package.\n" * 9,
        "other.zip": packed({"readme.txt": b"a zip file that holds something else"}),
        "exported.pt2": packed(
            rooted(top({"models/model.json": b"{}", "data/weights/model_weights_config.json": b"{}"}), "exported")
        ),
        "exported_before.pt2": packed({"serialized_exported_program.json": b"{}", "version": b"8.1"}),
        "script.pt2": by_zipfile(
            rooted({"code/model.py": b"def f():\n" * 99, "constants.pkl": b"", "data.pkl": b""}, "r"),
            zipfile.ZIP_DEFLATED,
        ),
        "saved.pt2": packed(rooted({"data.pkl": b"", "data/0": b"", "version": b"3"}, "r")),
        "arrays.npz": packed({"x.npy": b"\x93NUMPY"}),
        "model.safetensors": struct.pack("<Q", 13) + b'{"w": {}}    ' + b"\0" * 8,
        "old.pth": b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.",
        "model.gguf": b"GGUF\3\0\0\0",
        "model.pte": b"\x30\0\0\0ET12" + b"\0" * 40,
        "model.pt2.gz": b"\x1f\x8b\x08\0\0\0",
        "pointer.pt2": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        "page.pt2": b"<!DOCTYPE html>\n<html>",
        "cut.pt2": packed(full)[:-1000],
        "compressed.pt2": by_zipfile(rooted(plain, "r"), zipfile.ZIP_DEFLATED),
        "encrypted.pt2": packed(rooted(plain, "r"), flags=1),
        "parent.pt2": packed({**rooted(plain, "r"), "r/../../etc/passwd": b"x"}),
        "absolute.pt2": packed({**rooted(plain, "r"), "/etc/passwd": b"x"}),
        "twice.pt2": packed([*rooted(plain, "r").items(), ("r/byteorder", b"little")]),
        "two_images.pt2": packed(rooted({**plain, "data/aotinductor/model/second.wrapper.so": add}, "r")),
        "bad_metadata.pt2": packed(
            rooted({**plain, "data/aotinductor/model/cabc1234.wrapper_metadata.json": b'{"a": '}, "r")
        ),
        "list_metadata.pt2": packed(
            rooted({**plain, "data/aotinductor/model/cabc1234.wrapper_metadata.json": b'["a"]'}, "r")
        ),
        # Packages whose model does not fit the machine, the process or the library.
        "cuda.pt2": package("add", {"AOTI_DEVICE_KEY": "cuda"}),
        "privateuseone.pt2": package("add", {"AOTI_DEVICE_KEY": "privateuseone"}),
        "machine.pt2": package("add", {"AOTI_MACHINE": "sparc"}),
        "platform.pt2": package("add", {"AOTI_PLATFORM": "win32"}),
        "vnni.pt2": package("add", {"AOTI_CPU_ISA": "AVX512 AVX512_VNNI"}),
        "unknown_isa.pt2": package("add", {"AOTI_CPU_ISA": "ISA_OF_THE_FUTURE"}),
        "elf_machine.pt2": package(patched(add, 18, other_machine)),
        "elf_32_bit.pt2": package(patched(add, 4, b"\1")),
        "elf_big_endian.pt2": package(patched(add, 5, b"\2")),
        "elf_executable.pt2": package(patched(add, 16, b"\2\0")),
        "no_elf.pt2": package(b"MZ is how a library of Windows begins"),
        "windows.pt2": package(windows),
        "windows_pyd.pt2": packed({n.replace(".so", ".pyd"): c for n, c in top(model(windows)).items()}),
        "macos.pt2": package(macos),
        "macos_dylib.pt2": packed({n.replace(".so", ".dylib"): c for n, c in top(model(macos)).items()}),
        "freebsd.pt2": package(patched(add, 7, b"\11")),
        "hurd.pt2": package(with_note(add, 1, struct.pack("<4I", 1, 0, 0, 0), 4)),
        "newer_kernel.pt2": package(with_note(add, 1, struct.pack("<4I", 0, 99, 1, 0), 4)),
        "this_kernel.pt2": package(with_note(add, 1, struct.pack("<4I", 0, 3, 99, 99), 4)),
        "newer_libc.pt2": package(with_newer_libc(add)),
        "cut_image.pt2": package(add[:5000]),
        "sources_only.pt2": packed(rooted(top(model(None)), "r")),
        "operators.pt2": package("add", nodes=extern_nodes(nodes)),
        "bad_nodes.pt2": package("add", nodes=b"["),
        "nodes_no_list.pt2": package("add", nodes=b'{"nodes": {}}'),
        "nodes_no_target.pt2": package("add", nodes=extern_nodes([{"inputs": [], "outputs": []}])),
        "nodes_no_inputs.pt2": package("add", nodes=extern_nodes([{"target": "mylib::twice", "outputs": []}])),
        "c_function.pt2": package(needing(image("c_function"), "libfake_twice.so")),
        "needs_other.pt2": package(needing(image("needs"), "libother_fake.so")),
        "no_weights.pt2": package("weights"),
        "short_weights.pt2": package("weights", weights=weights[:-4]),
        "unasked_weights.pt2": package("add", weights=weights),
        "spec_no_json.pt2": with_spec("{"),
        "spec_counts.pt2": with_spec(spec(inputs=SPEC["inputs"][:1])),
        "spec_later.pt2": with_spec(spec(version=3)),
        "spec_dtype.pt2": with_spec(second_input(dtype="float99")),
    }
    # Each fake without changes.
    for so in FAKES.glob("libfake_*.so"):
        name = so.stem.removeprefix("libfake_")
        result.setdefault(f"{name}.pt2", package(name))
    return result


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for name, content in packages().items():
        (OUT / name).write_bytes(content)
    for name, content in {
        "unpacked": top(model(image("add"), metadata={"aoti.spec": spec()})),
        "unpacked_kernels": top({**model(image("kernels")), **KERNELS}),
        "unpacked_embedded": top(model(image("embedded"))),
        "unpacked_rooted": rooted(top(model(image("add"))), "root"),
        "no_model": {"readme.txt": b"a directory that holds something else"},
        "no_files": {},
        "several": {**rooted(top(model(None)), "one"), **rooted(top(model(None)), "two")},
    }.items():
        shutil.rmtree(OUT / name, ignore_errors=True)
        (OUT / name).mkdir()
        for path, data in content.items():
            (OUT / name / path).parent.mkdir(parents=True, exist_ok=True)
            (OUT / name / path).write_bytes(data)


main()

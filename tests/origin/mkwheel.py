"""Make a model's wheel as spaCy's releases have them, and its row in the table.

    mkwheel.py --root DIR NAME VERSION [options]

Written below DIR/web, which the web server serves:

    releases/NAME-VERSION/NAME-VERSION-py3-none-any.whl
    spacy-models/compatibility.json         {"spacy": {"X.Y": {NAME: [VERSION, ...]}}}
    spacy-models/meta/NAME-VERSION.json     with checksum_whl

Members, names and order are those of en_core_web_sm 3.8.0; what they hold is random, and the
same for the same name, version and sizes.  With --from the files of a folder instead.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import os
import random
import re
import stat
import struct
import sys
import zipfile
from typing import Callable, Optional

INIT = '''# coding: utf8
from pathlib import Path
from spacy.util import load_model_from_init_py, get_model_meta

__version__ = get_model_meta(Path(__file__).parent)["version"]


def load(**overrides):
    return load_model_from_init_py(__file__, **overrides)
'''
DATE = (2024, 9, 30, 12, 0, 0)

# What is not random is text, which packs well; sizes in bytes, or a share of --size.
FILES = [
    ("LICENSE", 1056), ("LICENSES_SOURCES", 2347), ("README.md", 2587), ("accuracy.json", 6341),
    ("attribute_ruler/patterns", 14735), ("config.cfg", 5527),
    ("lemmatizer/lookups/lookups.bin", 0.08),
    ("meta.json", None), ("ner/cfg", 221), ("ner/model", 0.4), ("ner/moves", 1064),
    ("parser/cfg", 222), ("parser/model", 0.03), ("parser/moves", 1571), ("senter/cfg", 23),
    ("senter/model", 0.02), ("tagger/cfg", 615), ("tagger/model", 19829), ("tok2vec/cfg", 4),
    ("tok2vec/model", 0.4), ("tokenizer", 77066), ("vocab/key2row", 1), ("vocab/lookups.bin", 70040),
    ("vocab/strings.json", 0.07), ("vocab/vectors", 128), ("vocab/vectors.cfg", 22),
]
BINARY = re.compile(r"(model|vectors|patterns|lookups\.bin|key2row|moves)$")


def text_of(rng: random.Random, size: int) -> bytes:
    words = [bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9)))
             for _ in range(400)]
    out = bytearray()
    while len(out) < size:
        out += rng.choice(words) + b" "
    return bytes(out[:size])


class Wheel:
    """Its members in order, before they are packed."""

    def __init__(self, name: str, version: str, size: int, folder: Optional[str]):
        self.name = name
        self.version = version
        self.stem = f"{name}-{version}"
        self.data = f"{name}/{self.stem}"
        self.info = f"{self.stem}.dist-info"
        self.members: dict = {}
        rng = random.Random(f"{self.stem} {size}")
        lang, _, rest = name.partition("_")
        meta = json.dumps({"lang": lang, "name": rest, "version": version,
                           "spacy_version": ">=3.8.0,<3.9.0", "pipeline": ["ner"]},
                          indent=2).encode()
        self.members[f"{name}/__init__.py"] = INIT.encode()
        self.members[f"{name}/meta.json"] = meta
        if folder:
            for path in sorted(_files_in(folder)):
                with open(os.path.join(folder, path), "rb") as file:
                    self.members[f"{self.data}/{path}"] = file.read()
            self.members[f"{name}/meta.json"] = self.members[f"{self.data}/meta.json"]
        else:
            for path, count in FILES:
                count = int(count * size) if isinstance(count, float) else count
                self.members[f"{self.data}/{path}"] = (
                    meta if count is None else rng.randbytes(count) if BINARY.search(path)
                    else text_of(rng, count))
        for path, data in {
                "LICENSE": b"A licence.\n", "METADATA": f"Metadata-Version: 2.1\nName: {name}\n"
                f"Version: {version}\nSummary: a model\n".encode(),
                "WHEEL": b"Wheel-Version: 1.0\nGenerator: bdist_wheel\nRoot-Is-Purelib: true\n"
                b"Tag: py3-none-any\n",
                "entry_points.txt": f"[spacy_models]\n{name} = {name}\n".encode(),
                "top_level.txt": f"{name}\n".encode()}.items():
            self.members[f"{self.info}/{path}"] = data

    def record(self) -> list[list[str]]:
        lines = []
        for path, data in self.members.items():
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
            lines.append([path, f"sha256={digest}", str(len(data))])
        return lines + [[f"{self.info}/RECORD", "", ""]]


def _files_in(folder: str):
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.relpath(os.path.join(place, name), folder)


def _line_of(wheel: Wheel, lines: list, path: str = "/ner/model") -> list:
    return next(line for line in lines if line[0] == f"{wheel.data}{path}")


# --- faults: what a hostile or broken wheel may be -------------------------------------------

def _record_hash(wheel: Wheel, lines: list) -> None:
    line = _line_of(wheel, lines)
    line[1] = "sha256=" + "A" * 42 + "A"


def _record_size(wheel: Wheel, lines: list) -> None:
    line = _line_of(wheel, lines)
    line[2] = str(int(line[2]) + 1)


def _record_missing_line(wheel: Wheel, lines: list) -> None:
    lines.remove(_line_of(wheel, lines))


def _record_extra_line(wheel: Wheel, lines: list) -> None:
    lines.insert(0, [f"{wheel.data}/absent", _line_of(wheel, lines)[1], "5"])


def _record_algorithm(wheel: Wheel, lines: list) -> None:
    _line_of(wheel, lines)[1] = "md5=AAAAAAAAAAAAAAAAAAAAAA"


RECORD_FAULTS: dict[str, Callable] = {
    "record-hash": _record_hash, "record-size": _record_size,
    "record-missing-line": _record_missing_line, "record-extra-line": _record_extra_line,
    "record-algorithm": _record_algorithm,
}


def _other_version(wheel: Wheel) -> None:
    path = f"{wheel.data}/meta.json"
    wheel.members[path] = wheel.members[path].replace(wheel.version.encode(), b"9.9.9")


MEMBER_FAULTS: dict[str, Callable] = {
    "no-meta": lambda wheel: wheel.members.pop(f"{wheel.data}/meta.json"),
    "other-version": _other_version,
    "other-top": lambda wheel: wheel.members.update({"other/file.py": b"x"}),
    "data-dir": lambda wheel: wheel.members.update({f"{wheel.stem}.data/scripts/x": b"x"}),
    "traversal": lambda wheel: wheel.members.update({f"{wheel.name}/../../../evil": b"x"}),
    "absolute": lambda wheel: wheel.members.update({"/tmp/evil": b"x"}),
    "file-and-folder": lambda wheel: wheel.members.update({f"{wheel.data}/ner/cfg/x": b"x"}),
    "symlink": lambda wheel: wheel.members.update({f"{wheel.data}/link": b"../../../etc/passwd"}),
}


def _edit_entries(data: bytes, name: str, offset: int, form: str,
                  change: Callable[[int], int]) -> bytes:
    """A field of the member's entry in the central directory."""
    out = bytearray(data)
    at = 0
    while (at := data.find(b"PK\x01\x02", at)) >= 0:
        length = struct.unpack_from("<H", data, at + 28)[0]
        if data[at + 46:at + 46 + length] == name.encode():
            value = struct.unpack_from(form, data, at + offset)[0]
            struct.pack_into(form, out, at + offset, change(value))
        at += 4
    return bytes(out)


def _flip_data(data: bytes, name: str) -> bytes:
    """A byte in the middle of the packed data of a member."""
    out = bytearray(data)
    at = data.find(name.encode())
    out[at + len(name) + 200] ^= 0xff
    return bytes(out)


def _archive_faults(wheel: Wheel) -> dict[str, Callable[[bytes], bytes]]:
    model = f"{wheel.data}/ner/model"
    return {
        "truncated": lambda data: data[:len(data) // 2],
        "no-end": lambda data: data[:-22],
        "html": lambda data: b"<html><body>Please log in</body></html>",
        "empty": lambda data: b"",
        "prefix": lambda data: b"#!/bin/sh\n" + data,
        "junk": lambda data: data + b"junk",
        "flipped": lambda data: _flip_data(data, model),
        "crc": lambda data: _edit_entries(data, model, 16, "<I", lambda value: value ^ 1),
        "encrypted": lambda data: _edit_entries(data, model, 8, "<H", lambda value: value | 1),
        "method": lambda data: _edit_entries(data, model, 10, "<H", lambda value: 12),
        "usize-small": lambda data: _edit_entries(data, model, 24, "<I", lambda value: 1000),
        "usize-large": lambda data: _edit_entries(data, model, 24, "<I", lambda value: value + 9),
        "overlap": lambda data: _edit_entries(data, model, 20, "<I", lambda value: value + 5000),
        "offset": lambda data: _edit_entries(data, model, 42, "<I", lambda value: value + 7),
        "fifo": lambda data: _edit_entries(data, model, 38, "<I",
                                           lambda value: (stat.S_IFIFO | 0o644) << 16),
    }


def pack(wheel: Wheel, path: str, args) -> None:
    """The archive, with the faults asked for."""
    faults = set(args.fault)
    for fault in faults & MEMBER_FAULTS.keys():
        MEMBER_FAULTS[fault](wheel)
    lines = wheel.record()
    for fault in faults & RECORD_FAULTS.keys():
        RECORD_FAULTS[fault](wheel, lines)
    record = "".join(",".join(line) + "\n" for line in lines).encode()
    members = list(wheel.members.items())
    if "no-record" not in faults:
        members.insert(0 if args.record_first else len(members), (f"{wheel.info}/RECORD", record))
    if "twice" in faults:
        members.append(members[0])
    with open(path + ".tmp", "wb") as file:
        target = _Unseekable(file) if args.descriptors else file
        with zipfile.ZipFile(target, "w") as archive:
            for name, data in members:
                info = zipfile.ZipInfo(name, DATE)
                info.external_attr = (stat.S_IFREG | 0o644) << 16
                if name.endswith("/link") and "symlink" in faults:
                    info.external_attr = (stat.S_IFLNK | 0o777) << 16
                info.compress_type = zipfile.ZIP_STORED if args.stored else zipfile.ZIP_DEFLATED
                with archive.open(info, "w", force_zip64=args.zip64) as out:
                    out.write(data)
    archive_faults = _archive_faults(wheel)
    for fault in faults & archive_faults.keys():
        with open(path + ".tmp", "rb") as file:
            data = archive_faults[fault](file.read())
        with open(path + ".tmp", "wb") as file:
            file.write(data)
    unknown = faults - MEMBER_FAULTS.keys() - RECORD_FAULTS.keys() - archive_faults.keys()
    if unknown - {"no-record", "twice"}:
        sys.exit(f"no such fault: {', '.join(unknown)}")
    os.replace(path + ".tmp", path)


class _Unseekable:
    """Makes zipfile write data descriptors."""

    def __init__(self, file):
        self.write = file.write
        self.flush = file.flush


def update_json(path: str, change: Callable[[dict], None]) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        value = {}
    change(value)
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(path + ".tmp", path)


def main() -> None:
    parser = argparse.ArgumentParser(description="make a model's wheel and its row in the table")
    parser.add_argument("--root", required=True)
    parser.add_argument("name")
    parser.add_argument("version")
    parser.add_argument("--size", type=int, default=300000, help="bytes of what is random")
    parser.add_argument("--from", dest="folder", help="take the model's folder from there")
    parser.add_argument("--wheel", help="take that wheel as it is")
    parser.add_argument("--no-row", action="store_true", help="not in the table")
    parser.add_argument("--fault", action="append", default=[])
    parser.add_argument("--stored", action="store_true")
    parser.add_argument("--zip64", action="store_true")
    parser.add_argument("--descriptors", action="store_true")
    parser.add_argument("--record-first", action="store_true")
    args = parser.parse_args()

    wheel = Wheel(args.name, args.version, args.size, args.folder)
    place = os.path.join(args.root, "web", "releases", wheel.stem)
    os.makedirs(place, exist_ok=True)
    path = os.path.join(place, f"{wheel.stem}-py3-none-any.whl")
    if args.wheel:
        with open(args.wheel, "rb") as source, open(path + ".tmp", "wb") as file:
            file.write(source.read())
        os.replace(path + ".tmp", path)
    else:
        pack(wheel, path, args)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    models = os.path.join(args.root, "web", "spacy-models")
    update_json(os.path.join(models, "meta", f"{wheel.stem}.json"),
                lambda meta: meta.update(name=args.name.partition("_")[2], version=args.version,
                                         checksum_whl=digest))
    if not args.no_row:
        minor = ".".join(args.version.split(".")[:2])

        def add(table: dict) -> None:
            row = table.setdefault("spacy", {}).setdefault(minor, {})
            versions = row.setdefault(args.name, [])
            if args.version not in versions:
                versions.insert(0, args.version)
        update_json(os.path.join(models, "compatibility.json"), add)
    print(path)


if __name__ == "__main__":
    main()

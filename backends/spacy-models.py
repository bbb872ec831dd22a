#!/usr/bin/env python3
"""Writes backends/spacy_models.h, the table of models that ships with mlcachefs.

    spacy-models.py compatibility.json >backends/spacy_models.h

The argument is spaCy's own table as published ({"spacy": {...}}), or the inner
object as dgenerate keeps it.  Rows of spaCy 3 and later are taken.  Models that
differ in the size alone (the last part of the name) share an entry, and spaCy
versions with the same row share a line.
"""

import json
import re
import sys

NAME = re.compile(r"([a-z]{2,3}_[a-z0-9]+_[a-z0-9]+)_([a-z0-9]+)")
VERSION = re.compile(r"[0-9][A-Za-z0-9.]*")
WIDTH = 66


def numbers(key):
    return [int(part) if part.isdigit() else -1 for part in key.split(".")]


def line_of(row):
    """One row: "VERSION[,VERSION...] STEM:SIZE[,SIZE...] ...;", newest first."""
    by_versions = {}
    for name, versions in row.items():
        match = NAME.fullmatch(name)
        if not match or not versions or not all(map(VERSION.fullmatch, versions)):
            sys.exit(f"not a name with its versions: {name} {versions}")
        stems = by_versions.setdefault(",".join(versions), {})
        stems.setdefault(match[1], []).append(match[2])
    return ";".join(
        " ".join([versions] + [f"{stem}:{','.join(stems[stem])}" for stem in sorted(stems)])
        for versions, stems in by_versions.items())


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        table = json.load(file)
    table = table.get("spacy", table)
    keys = sorted((key for key in table if numbers(key)[0] >= 3), key=numbers, reverse=True)
    by_line = {}
    for key in keys:
        by_line.setdefault(line_of(table[key]), []).append(key)
    print("/* SPDX-License-Identifier: MIT */")
    print("/* Made by backends/spacy-models.py, which says how to read it. */")
    print("static const char *const snapshot[] = {")
    for line, same in by_line.items():
        words = f"{','.join(same)} {line}".split(" ")
        text = words[0]
        for word in words[1:]:
            if len(text) + 1 + len(word) > WIDTH:
                print(f'    "{text} "')
                text = word
            else:
                text += " " + word
        print(f'    "{text}",')
    print("};")


if __name__ == "__main__":
    main()

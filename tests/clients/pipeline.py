"""spaCy as a client: makes a small pipeline, packages it, and loads models.

    pipeline.py make FOLDER NAME VERSION    a wheel below FOLDER/dist; prints its path
    pipeline.py load path|name|import WHAT  loads it and runs it; prints the version
    pipeline.py import                      import spacy alone, as any program does
    pipeline.py dgenerate NAME URL          its own loader, whose own URLs would be URL
"""

from __future__ import annotations

import importlib
import os
import random
import shutil
import subprocess
import sys

TEXT = "Alice went to Paris with Bob, and was happy."


def make(folder: str, name: str, version: str) -> None:
    import numpy
    import spacy
    from spacy.training import Example

    random.seed(0)
    numpy.random.seed(0)
    lang, _, rest = name.partition("_")
    nlp = spacy.blank(lang)
    words = [f"word{i}" for i in range(5000)] + TEXT.replace(",", "").replace(".", "").split()
    nlp.vocab.vectors = spacy.vectors.Vectors(
        strings=nlp.vocab.strings,
        data=numpy.random.rand(len(words), 96).astype("float32"), keys=words)
    ner = nlp.add_pipe("ner")
    ner.add_label("PERSON")
    textcat = nlp.add_pipe("textcat")
    textcat.add_label("GLAD")
    textcat.add_label("SAD")
    example = Example.from_dict(nlp.make_doc(TEXT), {
        "entities": [(0, 5, "PERSON")], "cats": {"GLAD": 1.0, "SAD": 0.0}})
    nlp.initialize(lambda: [example])
    for _ in range(5):
        nlp.update([example])
    nlp.meta.update(name=rest, version=version)
    source = os.path.join(folder, "pipeline")
    nlp.to_disk(source)
    built = os.path.join(folder, "built")
    os.makedirs(built)
    # It says a lot, and builds with whatever there is.
    subprocess.run([sys.executable, "-m", "spacy", "package", source, built, "--name", rest,
                    "--version", version, "--build", "wheel"],
                   check=True, stdout=sys.stderr)
    stem = f"{name}-{version}"
    wheel = os.path.join(built, stem, "dist", f"{stem}-py3-none-any.whl")
    os.makedirs(os.path.join(folder, "dist"))
    print(shutil.copy(wheel, os.path.join(folder, "dist")))


def check(nlp) -> None:
    doc = nlp(TEXT)
    assert nlp.pipe_names == ["ner", "textcat"], nlp.pipe_names
    assert set(doc.cats) == {"GLAD", "SAD"}, doc.cats
    assert doc[0].has_vector and doc.vocab.vectors.shape[1] == 96
    print(nlp.meta["version"])


def load(way: str, what: str) -> None:
    if way == "import":
        check(importlib.import_module(what).load())
        return
    import spacy
    check(spacy.load(what))
    if way == "name":
        assert what in spacy.util.get_installed_models()


def dgenerate(name: str, url: str) -> None:
    # Beside this file lies one of that name; what is meant is the package.
    sys.path[:] = [place for place in sys.path
                   if place != os.path.dirname(os.path.abspath(__file__))]
    # Its torch has no compiled torchvision beside it.
    import torch
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float t) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float t) -> Tensor")
    import spacy
    from dgenerate import spacycache
    # What it would ask itself goes where it is seen.
    spacy.about.__compatibility__ = f"{url}/compatibility.json"
    spacy.about.__download_url__ = f"{url}/releases"
    check(spacycache.load_spacy_model(name))


def main() -> None:
    action, *args = sys.argv[1:]
    if action == "make":
        make(*args)
    elif action == "load":
        load(*args)
    elif action == "import":
        import spacy
        print(spacy.__version__)
    else:
        dgenerate(*args)


if __name__ == "__main__":
    main()

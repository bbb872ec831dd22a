"""What diffusers makes of a single-file checkpoint, and what loading a folder gives.

    convert.py references FOLDER        makes NAME.reference of each FOLDER/NAME.job, by
                                        from_single_file + save_pretrained
    convert.py load GOT REFERENCE DTYPE   from_pretrained gives the same of both
    convert.py models FOLDER            the weights files fit the configurations beside them
    convert.py prefixed GOT REFERENCE   files equal but for "text_model." in GOT's names

FOLDER/NAME.job holds a dtype; beside it are NAME.safetensors and NAME.config/.
"""

import json
import os
import sys
import warnings

import torch

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}


def check(claim, what, *details):
    print("asserted:" if claim else "NOT SO:", what, *details, flush=True)
    if not claim:
        sys.exit(1)


def reference(checkpoint, config, out, dtype):
    import diffusers

    with open(os.path.join(config, "model_index.json"), encoding="utf-8") as file:
        pipeline = getattr(diffusers, json.load(file)["_class_name"])
    pipeline.from_single_file(checkpoint, config=config, torch_dtype=DTYPES[dtype],
                              local_files_only=True).save_pretrained(out)


def references(folder):
    for job in sorted(os.listdir(folder)):
        name, kind = os.path.splitext(job)
        if kind == ".job":
            with open(os.path.join(folder, job), encoding="utf-8") as file:
                dtype = file.read().strip()
            name = os.path.join(folder, name)
            reference(f"{name}.safetensors", f"{name}.config", f"{name}.reference", dtype)


def parts(pipeline):
    return {name: part for name, part in pipeline.components.items() if part is not None}


def config_of(part):
    config = part.config.to_dict() if hasattr(part.config, "to_dict") else dict(part.config)
    # What begins so says who wrote the file, where it lies, and what it lacked.
    return {key: value for key, value in config.items()
            if not key.startswith("_") and key != "torch_dtype"}


def check_config(mine, part, name):
    mine, part = config_of(mine), config_of(part)
    different = [key for key in {*mine, *part} if mine.get(key) != part.get(key)]
    check(not different, f"{name}: configuration", *different)


def load(folder, wanted, dtype):
    from diffusers import DiffusionPipeline

    arguments = {"torch_dtype": DTYPES[dtype], "local_files_only": True}
    got = DiffusionPipeline.from_pretrained(folder, **arguments)
    wanted = DiffusionPipeline.from_pretrained(wanted, **arguments)
    check(type(got) is type(wanted), "the pipeline's class", type(got).__name__)
    check(parts(got).keys() == parts(wanted).keys(), "its components", *parts(got))
    for name, part in parts(wanted).items():
        mine = getattr(got, name)
        check(type(mine) is type(part), f"{name}: class", type(mine).__name__)
        if hasattr(part, "config"):
            check_config(mine, part, name)
        if isinstance(part, torch.nn.Module):
            mine, part = mine.state_dict(), part.state_dict()
            check(mine.keys() == part.keys(), f"{name}: {len(part)} tensors")
            check(all(torch.equal(mine[key], part[key]) for key in part), f"{name}: equal tensors")
        if name.startswith("tokenizer"):
            check(mine("a cat")["input_ids"] == part("a cat")["input_ids"], f"{name}: tokens")
    flags = [key for key in wanted.config if not key.startswith("_")]
    check(all(got.config[key] == wanted.config[key] for key in flags), "its flags", *flags)


def shapes(path):
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}


def models(folder):
    """Each component, made of its configuration alone, has the tensors that its file has."""
    import diffusers
    import transformers

    with open(os.path.join(folder, "model_index.json"), encoding="utf-8") as file:
        index = json.load(file)
    pipeline = getattr(diffusers, index["_class_name"])
    wanted, _ = pipeline._get_signature_keys(pipeline)
    named = {name for name, entry in index.items() if isinstance(entry, list)}
    check(named <= set(wanted), "components of the pipeline", *named)
    check(set(wanted) - named <= set(pipeline._optional_components), "the rest is optional",
          *(set(wanted) - named))
    for name in sorted(named):
        library, kind = index[name]
        if kind is None:
            continue
        kind = getattr({"diffusers": diffusers, "transformers": transformers}[library], kind)
        path = os.path.join(folder, name)
        if name == "scheduler":
            kind.from_pretrained(path)
        elif name.startswith("text_encoder"):
            with torch.device("meta"):
                model = kind(transformers.CLIPTextConfig.from_pretrained(path))
            got = shapes(os.path.join(path, "model.safetensors"))
        elif name in ("unet", "vae"):
            with torch.device("meta"):
                model = kind.from_config(kind.load_config(path))
            got = shapes(os.path.join(path, "diffusion_pytorch_model.safetensors"))
        else:
            continue
        if name != "scheduler":
            tensors = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
            check(got == tensors, f"{name}: {len(tensors)} tensors")


def read(path):
    """The header's tensors by name, and the data."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), file.read()


def prefixed(got, wanted):
    got, got_data = read(got)
    wanted, wanted_data = read(wanted)
    check(any(name.startswith("text_model.") for name in got), "names have the prefix")
    check([(name.removeprefix("text_model."), value) for name, value in got.items()] ==
          list(wanted.items()), "the header is the same without it")
    check(got_data == wanted_data, "the data are the same")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    forms = {"references": references, "load": load, "models": models, "prefixed": prefixed}
    forms[sys.argv[1]](*sys.argv[2:])

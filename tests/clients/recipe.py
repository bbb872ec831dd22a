"""What diffusers makes of a checkpoint and LoRAs, and what loading a recipe's folder gives.

    recipe.py reference CHECKPOINT CONFIG OUT DTYPE NAMES [SCALE:LORA...]
    recipe.py load FOLDER REFERENCE DTYPE

The first goes through from_single_file, load_lora_weights, set_adapters, fuse_lora and
save_pretrained; it makes the LoRA files, too.  What they name the UNet's modules by (NAMES):

    own         diffusers' names
    checkpoint  the checkpoint's, as sd-scripts does for SDXL
    lost        the same, where diffusers fails or passes modules over: what it merges are the
                same LoRAs under its own names
"""

import hashlib
import json
import os
import sys
import warnings

import torch
from safetensors import safe_open
from safetensors.torch import save_file

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
OVERALL = 0.9
ENCODERS = ("text_encoder", "text_encoder_2")


def check(claim, what, *details):
    print("asserted:" if claim else "NOT SO:", what, *details, flush=True)
    if not claim:
        sys.exit(1)


def components(pipeline):
    return [name for name in ("unet", *ENCODERS) if getattr(pipeline, name, None) is not None]


def modules_of(pipeline, component):
    """The layers by their names."""
    return {name: module for name, module in getattr(pipeline, component).named_modules()
            if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d))}


def content(tensor):
    return hashlib.sha256(tensor.contiguous().view(torch.uint8).numpy()).digest()


def checkpoint_names(pipeline, checkpoint):
    """Of the UNet's layers in the checkpoint, by those in the pipeline: of equal bytes."""
    prefix, names = "model.diffusion_model.", {}
    with safe_open(checkpoint, "pt") as file:
        for name in file.keys():
            if name.startswith(prefix) and name.endswith(".weight"):
                names[content(file.get_tensor(name))] = \
                    name.removeprefix(prefix).removesuffix(".weight")
    return {name: names[content(module.weight)]
            for name, module in modules_of(pipeline, "unet").items()}


def make_lora(pipeline, path, number, names, skipped):
    """kohya's form, of one alpha; linear layers, and convolutions of the odd ones.  names: of
    the UNet's layers in the file, where they are not the pipeline's own."""
    torch.manual_seed(number)
    prefixes = {"unet": "lora_unet_", "text_encoder_2": "lora_te2_", "text_encoder":
                "lora_te1_" if hasattr(pipeline, "text_encoder_2") else "lora_te_"}
    rank, tensors = 4 + 4 * number, {}
    dtype = list(DTYPES.values())[number % 3]
    for component in components(pipeline):
        for name, module in modules_of(pipeline, component).items():
            if name.startswith(skipped) or not (number % 2 or isinstance(module, torch.nn.Linear)):
                continue
            if component == "unet":
                name = names.get(name, name)
            elif name != "text_projection":
                name = "text_model." + name.removeprefix("text_model.")
            shape = module.weight.shape
            stem = prefixes[component] + name.replace(".", "_")
            tensors[stem + ".lora_down.weight"] = torch.randn(rank, *shape[1:]) * .2
            tensors[stem + ".lora_up.weight"] = \
                torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * .2
            tensors[stem + ".alpha"] = torch.tensor(2.5)
    save_file({name: value.to(dtype) for name, value in tensors.items()}, path, {"ss_x": "y"})


def load_lora(pipeline, path, adapter):
    pipeline.load_lora_weights(os.path.dirname(path), weight_name=os.path.basename(path),
                               adapter_name=adapter)


def check_lost(pipeline, path):
    """diffusers doesn't merge all of the file."""
    with safe_open(path, "pt") as file:
        n = sum(key.startswith("lora_unet_") and key.endswith(".alpha") for key in file.keys())
    try:
        load_lora(pipeline, path, "lost")
    except (KeyError, ValueError):
        return
    n_taken = sum(hasattr(module, "lora_A") for module in pipeline.unet.modules())
    pipeline.unload_lora_weights()
    check(n_taken < n, "diffusers takes", n_taken, "of", n, "layers")


def reference(checkpoint, config, out, dtype, kind, *loras):
    import diffusers

    with open(os.path.join(config, "model_index.json"), encoding="utf-8") as file:
        pipeline = getattr(diffusers, json.load(file)["_class_name"])
    pipeline = pipeline.from_single_file(checkpoint, config=config, torch_dtype=DTYPES[dtype],
                                         local_files_only=True)
    scales, paths = zip(*(lora.split(":") for lora in loras)) if loras else ((), ())
    names = {} if kind == "own" else checkpoint_names(pipeline, checkpoint)
    skipped = () if kind == "checkpoint" else ("add_embedding", "conv_in")
    for number, path in enumerate(paths):
        make_lora(pipeline, path, number, names, skipped)
    if kind == "lost":
        for path in paths:
            check_lost(pipeline, path)
        paths = [path + ".own.safetensors" for path in paths]
        for number, path in enumerate(paths):
            make_lora(pipeline, path, number, {}, skipped)
    adapters = [str(number) for number in range(len(paths))]
    for adapter, path in zip(adapters, paths):
        load_lora(pipeline, path, adapter)
    if loras:
        pipeline.set_adapters(adapters, [float(scale) for scale in scales])
        pipeline.fuse_lora(components=components(pipeline), adapter_names=adapters,
                           lora_scale=OVERALL)
        pipeline.unload_lora_weights()
    pipeline.save_pretrained(out)


def load(folder, wanted, dtype):
    from diffusers import DiffusionPipeline

    arguments = {"torch_dtype": DTYPES[dtype], "local_files_only": True}
    got = DiffusionPipeline.from_pretrained(folder, **arguments)
    wanted = DiffusionPipeline.from_pretrained(wanted, **arguments)
    check(type(got) is type(wanted), "the pipeline's class", type(got).__name__)
    parts = {name for name, part in wanted.components.items() if part is not None}
    check({name for name, part in got.components.items() if part is not None} == parts,
          "its components", *sorted(parts))
    for name in sorted(parts):
        mine, part = getattr(got, name), getattr(wanted, name)
        check(type(mine) is type(part), f"{name}: class", type(mine).__name__)
        if isinstance(part, torch.nn.Module):
            mine, part = mine.state_dict(), part.state_dict()
            check(mine.keys() == part.keys(), f"{name}: {len(part)} tensors")
            check(all(torch.equal(mine[key], part[key]) for key in part), f"{name}: equal tensors")
        if name.startswith("tokenizer"):
            check(mine("a cat")["input_ids"] == part("a cat")["input_ids"], f"{name}: tokens")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    # With one, torch sums convolutions of few channels otherwise.
    torch.set_num_threads(2)
    {"reference": reference, "load": load}[sys.argv[1]](*sys.argv[2:])

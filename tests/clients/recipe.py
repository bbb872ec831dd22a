"""What diffusers makes of a checkpoint and LoRAs, and what loading a recipe's folder gives.

    recipe.py reference CHECKPOINT CONFIG OUT DTYPE [SCALE:LORA...]
    recipe.py load FOLDER REFERENCE DTYPE

The first goes through from_single_file, load_lora_weights, set_adapters, fuse_lora and
save_pretrained; it makes the LoRA files, too.
"""

import json
import os
import sys
import warnings

import torch
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


def make_lora(pipeline, path, number):
    """kohya's form, of one alpha; linear layers, and convolutions of the odd ones."""
    torch.manual_seed(number)
    prefixes = {"unet": "lora_unet_", "text_encoder": "lora_te1_", "text_encoder_2": "lora_te2_"}
    rank, tensors = 4 + 4 * number, {}
    dtype = list(DTYPES.values())[number % 3]
    for component in components(pipeline):
        for name, module in getattr(pipeline, component).named_modules():
            kinds = (torch.nn.Linear, torch.nn.Conv2d) if number % 2 else (torch.nn.Linear,)
            if not isinstance(module, kinds) or name.startswith(("add_embedding", "conv_in")):
                continue
            if component != "unet" and name != "text_projection":
                name = "text_model." + name.removeprefix("text_model.")
            shape = module.weight.shape
            stem = prefixes[component] + name.replace(".", "_")
            tensors[stem + ".lora_down.weight"] = torch.randn(rank, *shape[1:]) * .2
            tensors[stem + ".lora_up.weight"] = \
                torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * .2
            tensors[stem + ".alpha"] = torch.tensor(2.5)
    save_file({name: value.to(dtype) for name, value in tensors.items()}, path, {"ss_x": "y"})


def reference(checkpoint, config, out, dtype, *loras):
    import diffusers

    with open(os.path.join(config, "model_index.json"), encoding="utf-8") as file:
        pipeline = getattr(diffusers, json.load(file)["_class_name"])
    pipeline = pipeline.from_single_file(checkpoint, config=config, torch_dtype=DTYPES[dtype],
                                         local_files_only=True)
    names, scales = [], []
    for number, lora in enumerate(loras):
        make_lora(pipeline, lora.split(":")[1], number)
    for number, lora in enumerate(loras):
        scale, path = lora.split(":")
        names.append(str(number))
        scales.append(float(scale))
        pipeline.load_lora_weights(os.path.dirname(path), weight_name=os.path.basename(path),
                                   adapter_name=names[-1])
    if loras:
        pipeline.set_adapters(names, scales)
        pipeline.fuse_lora(components=components(pipeline), adapter_names=names,
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

"""LoRAs merged by our arithmetic, and by PEFT's and diffusers' own.

    lora.py layers FOLDER MERGE DTYPE            single layers of all kinds and ranks
    lora.py pipeline FOLDER MERGE DTYPE FAMILY FORM

MERGE is tests/format-merge.  The second form goes through load_lora_weights, set_adapters,
fuse_lora and save_pretrained, with LoRA files of one form.  What comes out must have the same bytes
where torch computes with AVX2, and else lie within what backends/format/merge.h says.
"""

import json
import os
import subprocess
import sys

import torch
from safetensors.torch import load_file, save_file

DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32}
# Of the significand.
DIGITS = {torch.float16: 11, torch.bfloat16: 8, torch.float32: 24}
RANKS = [1, 3, 4, 16, 64, 128, 129, 160, 192, 193, 250, 256, 383, 384, 385]


def check(claim, what, *details):
    if not claim:
        print("NOT SO:", what, *details, flush=True)
        sys.exit(1)


def is_reference_machine():
    """torch's own answer; MKL and oneDNN choose by the processor too."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2" and "MKL_CBWR" not in os.environ


def run_merge(program, component, overall, base, result, loras):
    arguments = [str(part) for weight, path in loras for part in (repr(weight), path)]
    done = subprocess.run([program, component, repr(overall), base, result, *arguments],
                          stdout=subprocess.PIPE, text=True, check=True)
    changed, kernel = done.stdout.split()
    check(kernel == "avx2" or not is_reference_machine(), "the AVX2 kernel was taken")
    return int(changed)


# ---------------------------------------------------------------------------
# Comparison

def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


def ulp(value, dtype):
    """One unit in the last place, of normal numbers."""
    exponent = torch.frexp(value.double().clamp_min(torch.finfo(dtype).tiny)).exponent
    return torch.ldexp(torch.ones_like(value, dtype=torch.double), exponent - DIGITS[dtype])


def check_close(name, base, wanted, got, deltas):
    """deltas: of this tensor, (A, B, scale) each, flattened."""
    dtype = base.dtype
    largest = base.double().abs().maximum(wanted.double().abs())
    total = base.double().abs().reshape(len(base), -1)
    for down, up, scale in deltas:
        down, up = down.to(dtype).double(), up.to(dtype).double()
        # What lies between two LoRAs, too.
        largest = largest + (up @ down * scale).abs().reshape(base.shape)
        total = total + abs(scale) * (up.abs() @ down.abs())
    difference = (wanted.double() - got.double()).abs()
    if dtype == torch.float32:
        rank = max(len(down) for down, _, _ in deltas)
        limit = 2 ** -23 * (rank + 2) * total.reshape(base.shape)
    else:
        limit = 2 * len(deltas) * ulp(largest, dtype)
        n_other = (bits(wanted) != bits(got)).view(-1, dtype.itemsize).any(1).sum().item()
        check(n_other <= max(1, wanted.numel() / 1000), name, "too many differ:", n_other)
    check(bool((difference <= limit).all()), name, "is too far off")


def compare(what, base_path, wanted_path, got_path, deltas):
    """deltas: of each tensor that is changed, by its name."""
    with open(wanted_path, "rb") as wanted, open(got_path, "rb") as got:
        is_equal = wanted.read() == got.read()
    base, wanted, got = (load_file(path) for path in (base_path, wanted_path, got_path))
    changed = {name for name in base if not torch.equal(bits(base[name]), bits(wanted[name]))}
    check(changed and changed <= deltas.keys(), what, "the reference changed others:",
          changed - deltas.keys())
    if is_reference_machine():
        for name in base:
            n_other = (bits(wanted[name]) != bits(got[name])).sum().item()
            check(n_other == 0, what, name, tuple(base[name].shape), n_other, "bytes differ")
        check(is_equal, what, "the files' headers differ")
        print(f"{what}: equal files, {len(changed)} tensors changed", flush=True)
        return
    for name in base:
        if name in deltas:
            check_close(name, base[name], wanted[name], got[name], deltas[name])
        else:
            check(torch.equal(bits(wanted[name]), bits(got[name])), name, "differs")
    print(f"{what}: within bounds (no AVX2, or more), {len(changed)} tensors changed",
          flush=True)


# ---------------------------------------------------------------------------
# Single layers

def make_layers(dtype):
    """A module of layers, one of each kind and rank, by names that say so."""
    layers = {}
    for rank in RANKS:
        rows, columns = 96 + rank % 7, 64 + rank % 5
        layers[f"linear_{rank}"] = torch.nn.Linear(columns, rows)
        layers[f"pointwise_{rank}"] = torch.nn.Conv2d(columns, rows, 1)
        layers[f"conv_{rank}"] = torch.nn.Conv2d(columns, rows, 3)
    return torch.nn.ModuleDict(layers).to(dtype)


def add_adapter(model, adapter, seed):
    """Ranks as the names say, random factors; returns the scales."""
    from peft import LoraConfig, inject_adapter_in_model

    names = list(model.keys())
    ranks = {name: int(name.split("_")[1]) for name in names}
    # One has a bias of B.
    config = LoraConfig(r=1, lora_alpha=1, rank_pattern=ranks,
                        alpha_pattern={name: 3 + seed for name in names},
                        target_modules=names, use_rslora=seed == 2, lora_bias=seed == 1)
    inject_adapter_in_model(config, model, adapter_name=adapter)
    torch.manual_seed(seed)
    tensors = {}
    for name in names:
        layer = model[name]
        for part, factor in ("lora_A", layer.lora_A), ("lora_B", layer.lora_B):
            for kind, value in factor[adapter].named_parameters():
                value = value.data.copy_((torch.randn(value.shape) * .1).to(value.dtype))
                tensors[f"unet.{name}.{part}.{kind}"] = value.clone().contiguous()
    metadata = {f"unet.{key}": value for key, value in {
        "r": 1, "lora_alpha": 1, "rank_pattern": config.rank_pattern,
        "alpha_pattern": config.alpha_pattern, "use_rslora": config.use_rslora}.items()}
    return tensors, {"lora_adapter_metadata": json.dumps(metadata)}


def check_layers(folder, program, dtype):
    torch.manual_seed(0)
    model = make_layers(dtype)
    base, wanted, got = (os.path.join(folder, name) for name in ("base", "wanted", "got"))
    save_file(model.state_dict(), base, {"format": "pt"})
    loras, weights, deltas = [], [0.7, 1.0, -0.3], {}
    for seed, weight in enumerate(weights):
        tensors, metadata = add_adapter(model, str(seed), seed)
        loras.append((weight, os.path.join(folder, f"lora{seed}")))
        save_file(tensors, loras[-1][1], metadata)
        for name, layer in model.items():
            layer.set_scale(str(seed), weight)
            down, up = layer.lora_A[str(seed)].weight, layer.lora_B[str(seed)].weight
            scale = layer.scaling[str(seed)]
            deltas.setdefault(f"{name}.weight", []).append(
                (down.data.flatten(1), up.data.flatten(1), scale))
            if layer.lora_bias[str(seed)]:
                deltas[f"{name}.bias"] = [(torch.ones(1, 1),
                                           layer.lora_B[str(seed)].bias.data[:, None], scale)]
    for layer in model.values():
        layer.merge(adapter_names=[str(seed) for seed in range(len(weights))])
    save_file({f"{name}.{kind}": value for name, layer in model.items()
               for kind, value in layer.get_base_layer().state_dict().items()},
              wanted, {"format": "pt"})
    n_changed = run_merge(program, "unet", 1.0, base, got, loras)
    check(n_changed == len(deltas), "tensors changed:", n_changed)
    compare("layers", base, wanted, got, deltas)


# ---------------------------------------------------------------------------
# Pipelines

def make_pipeline(family, dtype):
    from diffusers import (AutoencoderKL, DDIMScheduler, StableDiffusionPipeline,
                           StableDiffusionXLPipeline, UNet2DConditionModel)
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    def text_config():
        return CLIPTextConfig(vocab_size=50, hidden_size=32, intermediate_size=37,
                              num_hidden_layers=2, num_attention_heads=4,
                              max_position_embeddings=16, projection_dim=32)

    torch.manual_seed(7)
    more = {"cross_attention_dim": 32} if family == "sd1" else {
        "cross_attention_dim": 64, "use_linear_projection": True,
        "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 80, "transformer_layers_per_block": (1, 2)}
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), norm_num_groups=8, layers_per_block=2, sample_size=8,
        attention_head_dim=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), **more)
    parts = {
        "vae": AutoencoderKL(block_out_channels=(8,), norm_num_groups=4), "unet": unet,
        "text_encoder": CLIPTextModel(text_config()), "tokenizer": None,
        "scheduler": DDIMScheduler(),
    }
    if family == "sd1":
        pipeline = StableDiffusionPipeline(**parts, safety_checker=None, feature_extractor=None,
                                           requires_safety_checker=False)
    else:
        pipeline = StableDiffusionXLPipeline(
            **parts, text_encoder_2=CLIPTextModelWithProjection(text_config()),
            tokenizer_2=None)
    for name in components(family):
        # Norms and biases are all alike when they are new.
        for value in getattr(pipeline, name).parameters():
            value.data.add_(torch.randn(value.shape) * .02)
    return pipeline.to(dtype)


def components(family):
    return ["unet", "text_encoder", *(["text_encoder_2"] if family == "sdxl" else [])]


def modules_of(pipeline, component):
    """(name as LoRA files have it, name in the model, module); not what diffusers ignores."""
    for name, module in getattr(pipeline, component).named_modules():
        if not isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            continue
        if name.startswith("add_embedding"):
            continue
        full = name
        if component != "unet" and name != "text_projection":
            full = "text_model." + name.removeprefix("text_model.")
        yield full, name, module


def factors(module, rank):
    shape = module.weight.shape
    down = torch.randn(rank, *shape[1:]) * .2
    up = torch.randn(shape[0], rank, *[1] * (len(shape) - 2)) * .2
    return down, up


ATTENTION = ("to_q", "to_k", "to_v", "to_out.0")


def names_in(form, component, name):
    """Of both factors and of alpha; None: this form doesn't have the module."""
    if form in ("kohya", "mixed"):
        prefix = {"unet": "lora_unet_", "text_encoder": "lora_te1_",
                  "text_encoder_2": "lora_te2_"}[component]
        flat = prefix + name.replace(".", "_")
        return (flat + ".lora_down.weight", flat + ".lora_up.weight", flat + ".alpha")
    if form == "old":
        if component == "unet":
            if not name.endswith(ATTENTION):
                return None
            parent, last = name.removesuffix(".0").rsplit(".", 1)
            stem = f"unet.{parent}.processor.{last}_lora"
            return stem + ".down.weight", stem + ".up.weight", None
        if "self_attn" not in name:
            return None
        stem = f"{component}.{name}.lora_linear_layer"
        return stem + ".down.weight", stem + ".up.weight", None
    stem = f"{component}.{name}"
    return stem + ".lora_A.weight", stem + ".lora_B.weight", None


def make_lora(pipeline, family, form, seed, path):
    """Writes it; returns (component, name, A, B, alpha / rank) of each module."""
    torch.manual_seed(100 + seed)
    tensors, made, metadata = {}, [], {}
    dtype = list(DTYPES.values())[seed % 3]
    for component in components(family):
        ranks, alphas = {}, {}
        for number, (full, name, module) in enumerate(modules_of(pipeline, component)):
            names = names_in(form, component, full)
            # diffusers can't load a projection with a rank of its own.
            if names is None or (form == "mixed" and name == "text_projection"):
                continue
            rank = 4 + 4 * seed
            alpha = None
            if form == "kohya":
                alpha = 2.5
            elif form in ("mixed", "metadata"):
                rank = 3 + (number + seed) % 9
            if form == "metadata":
                alpha = 1.0 + number % 4
            down, up = (value.to(dtype) for value in factors(module, rank))
            tensors[names[0]], tensors[names[1]] = down, up
            if names[2] and alpha is not None:
                tensors[names[2]] = torch.tensor(alpha).to(dtype)
            ranks[name], alphas[name] = rank, alpha
            made.append((component, name, down, up, (alpha or rank) / rank))
        if form == "metadata":
            metadata.update({f"{component}.{key}": value for key, value in {
                "r": 4, "lora_alpha": 4, "rank_pattern": ranks, "alpha_pattern": alphas,
                "target_modules": list(ranks)}.items()})
    order = torch.randperm(len(tensors)).tolist()
    keys = list(tensors)
    save_file({keys[i]: tensors[keys[i]] for i in order}, path,
              {"lora_adapter_metadata": json.dumps(metadata)} if metadata else {"ss_x": "y"})
    return made


def weights_file(folder):
    names = [name for name in os.listdir(folder) if name.endswith(".safetensors")]
    check(len(names) == 1, "one weights file in", folder, names)
    return os.path.join(folder, names[0])


def save(pipeline, family, folder):
    for name in components(family):
        getattr(pipeline, name).save_pretrained(os.path.join(folder, name))


def check_pipeline(folder, program, dtype, family, form):
    pipeline = make_pipeline(family, dtype)
    save(pipeline, family, os.path.join(folder, "base"))
    weights, overall, loras, deltas = [0.8, 1.0, -0.35], 0.9, [], {}
    for seed, weight in enumerate(weights):
        path = os.path.join(folder, f"lora{seed}.safetensors")
        for component, name, down, up, scale in make_lora(pipeline, family, form, seed, path):
            deltas.setdefault(component, {}).setdefault(f"{name}.weight", []).append(
                (down.flatten(1), up.flatten(1), weight * scale * overall))
        loras.append((weight, path))
    names = [str(seed) for seed in range(len(weights))]
    for name, (_, path) in zip(names, loras):
        # Offline, the folder and the name must be given apart.
        pipeline.load_lora_weights(folder, weight_name=os.path.basename(path), adapter_name=name)
    pipeline.set_adapters(names, weights)
    pipeline.fuse_lora(components=components(family), adapter_names=names, lora_scale=overall)
    pipeline.unload_lora_weights()
    save(pipeline, family, os.path.join(folder, "wanted"))
    for name in components(family):
        base, wanted = (weights_file(os.path.join(folder, kind, name))
                        for kind in ("base", "wanted"))
        got = os.path.join(folder, name + ".got")
        n_changed = run_merge(program, name, overall, base, got, loras)
        check(n_changed == len(deltas[name]), name, "tensors changed:", n_changed)
        compare(f"{family}, {form}, {name}", base, wanted, got, deltas[name])


def main():
    command, folder, program, dtype = sys.argv[1:5]
    # With one, torch sums convolutions of few channels otherwise.
    torch.set_num_threads(2)
    if command == "layers":
        check_layers(folder, program, DTYPES[dtype])
    else:
        check_pipeline(folder, program, DTYPES[dtype], *sys.argv[5:])


if __name__ == "__main__":
    main()

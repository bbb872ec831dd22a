"""Single-file checkpoints, made here, and the configurations that go with them.

    checkpoint.py make FILE --family sd1|sd2|sdxl|refiner [OPTION...]
    checkpoint.py configs FOLDER --family ... [--size ...] [--task ...]

Names and shapes are those of real checkpoints, from a description of the models that shares
nothing with the one under test.  With --size full no data are written: the file is a hole.
"""

import argparse
import json
import os
import random
import struct

BYTES = {"F64": 8, "F32": 4, "I64": 8, "F16": 2, "BF16": 2, "U8": 1}
CHANNELS = {"text": 4, "inpaint": 9, "edit": 8, "depth": 5}

# C: channels; d: transformer blocks a level; dm: in the middle; X: width of the text.
REAL = {
    "sd1": dict(C=[320, 640, 1280, 1280], d=[1, 1, 1, 0], dm=1, X=768, lin=False, adm=0, heads=8),
    "sd2": dict(C=[320, 640, 1280, 1280], d=[1, 1, 1, 0], dm=1, X=1024, lin=True, adm=0,
                heads=[5, 10, 20, 20]),
    "sdxl": dict(C=[320, 640, 1280], d=[0, 2, 10], dm=10, X=2048, lin=True, adm=2816,
                 heads=[5, 10, 20]),
    "refiner": dict(C=[384, 768, 1536, 1536], d=[0, 4, 4, 0], dm=4, X=1280, lin=True, adm=2560,
                    heads=[6, 12, 24, 24]),
}
TINY = {
    "sd1": dict(C=[32, 64, 64, 64]),
    "sd2": dict(C=[32, 64, 64, 64], heads=[2, 4, 4, 4]),
    "sdxl": dict(C=[32, 64, 64], d=[0, 1, 2], dm=2, heads=[2, 4, 4]),
    "refiner": dict(C=[32, 64, 64, 64], d=[0, 1, 1, 0], dm=1, heads=[2, 4, 4, 4]),
}
DEEP = {
    "sd1": dict(C=[32, 64, 96, 96]),
    "sd2": dict(C=[32, 64, 96, 96], heads=[2, 4, 4, 4]),
    "sdxl": dict(C=[32, 64, 96], heads=[2, 4, 4]),
    "refiner": dict(C=[32, 64, 96, 96], heads=[2, 4, 4, 4]),
}
VAE = {"full": [128, 256, 512, 512], "deep": [32, 64, 96, 96], "tiny": [32, 32, 64, 64]}


def encoder(width, heads, layers, in_file, vocabulary, projection):
    return dict(D=width, heads=heads, layers=layers, in_file=in_file, V=vocabulary,
                P=projection)


# in_file: layers in the checkpoint, of which `layers` are used.
CLIP_L = {"full": encoder(768, 12, 12, 12, 49408, 768), "deep": encoder(32, 4, 12, 12, 1000, 32),
          "tiny": encoder(32, 4, 2, 2, 1000, 32)}
CLIP_H = {"full": encoder(1024, 16, 23, 24, 49408, 512), "deep": encoder(48, 4, 23, 24, 1000, 48),
          "tiny": encoder(48, 4, 2, 3, 1000, 48)}
CLIP_G = {"full": encoder(1280, 20, 32, 32, 49408, 1280),
          "deep": encoder(64, 4, 32, 32, 1000, 64), "tiny": encoder(64, 4, 10, 10, 1000, 64)}


def unet_of(family, size):
    return {**REAL[family], **{"full": {}, "tiny": TINY[family], "deep": DEEP[family]}[size]}


class Tensors(dict):
    """Shapes by name."""

    def norm(self, name, n):
        self[f"{name}.weight"] = self[f"{name}.bias"] = [n]

    def lin(self, name, out, inner):
        self[f"{name}.weight"], self[f"{name}.bias"] = [out, inner], [out]

    def conv(self, name, out, inner, kernel):
        self[f"{name}.weight"], self[f"{name}.bias"] = [out, inner, kernel, kernel], [out]


def unet_tensors(u, channels):
    t, C, levels = Tensors(), u["C"], len(u["C"])
    T = 4 * C[0]

    def res(p, a, b):
        t.norm(f"{p}.in_layers.0", a)
        t.conv(f"{p}.in_layers.2", b, a, 3)
        t.lin(f"{p}.emb_layers.1", b, T)
        t.norm(f"{p}.out_layers.0", b)
        t.conv(f"{p}.out_layers.3", b, b, 3)
        if a != b:
            t.conv(f"{p}.skip_connection", b, a, 1)

    def att(p, c, depth):
        t.norm(f"{p}.norm", c)
        for end in ("proj_in", "proj_out"):
            if u["lin"]:
                t.lin(f"{p}.{end}", c, c)
            else:
                t.conv(f"{p}.{end}", c, c, 1)
        for m in range(depth):
            b = f"{p}.transformer_blocks.{m}"
            for name, context in (("attn1", c), ("attn2", u["X"])):
                t[f"{b}.{name}.to_q.weight"] = [c, c]
                t[f"{b}.{name}.to_k.weight"] = t[f"{b}.{name}.to_v.weight"] = [c, context]
                t.lin(f"{b}.{name}.to_out.0", c, c)
            for k in (1, 2, 3):
                t.norm(f"{b}.norm{k}", c)
            t.lin(f"{b}.ff.net.0.proj", 8 * c, c)
            t.lin(f"{b}.ff.net.2", c, 4 * c)

    t.lin("time_embed.0", T, C[0])
    t.lin("time_embed.2", T, T)
    if u["adm"]:
        t.lin("label_emb.0.0", T, u["adm"])
        t.lin("label_emb.0.2", T, T)
    t.conv("input_blocks.0.0", C[0], channels, 3)
    n, ch, stack = 1, C[0], [C[0]]
    for i in range(levels):
        for _ in range(2):
            res(f"input_blocks.{n}.0", ch, C[i])
            ch = C[i]
            if u["d"][i]:
                att(f"input_blocks.{n}.1", ch, u["d"][i])
            stack.append(ch)
            n += 1
        if i < levels - 1:
            t.conv(f"input_blocks.{n}.0.op", ch, ch, 3)
            stack.append(ch)
            n += 1
    res("middle_block.0", ch, ch)
    att("middle_block.1", ch, u["dm"])
    res("middle_block.2", ch, ch)
    n = 0
    for i in reversed(range(levels)):
        for k in range(3):
            res(f"output_blocks.{n}.0", ch + stack.pop(), C[i])
            ch = C[i]
            if u["d"][i]:
                att(f"output_blocks.{n}.1", ch, u["d"][i])
            if k == 2 and i > 0:
                t.conv(f"output_blocks.{n}.{2 if u['d'][i] else 1}.conv", ch, ch, 3)
            n += 1
    t.norm("out.0", C[0])
    t.conv("out.2", 4, C[0], 3)
    return t


def vae_tensors(C, dims):
    t, z = Tensors(), 4

    def res(p, a, b):
        t.norm(f"{p}.norm1", a)
        t.conv(f"{p}.conv1", b, a, 3)
        t.norm(f"{p}.norm2", b)
        t.conv(f"{p}.conv2", b, b, 3)
        if a != b:
            t.conv(f"{p}.nin_shortcut", b, a, 1)

    def mid(side, c):
        res(f"{side}.mid.block_1", c, c)
        t.norm(f"{side}.mid.attn_1.norm", c)
        for name in ("q", "k", "v", "proj_out"):
            t[f"{side}.mid.attn_1.{name}.weight"] = [c, c, 1, 1][:dims]
            t[f"{side}.mid.attn_1.{name}.bias"] = [c]
        res(f"{side}.mid.block_2", c, c)

    t.conv("encoder.conv_in", C[0], 3, 3)
    ch = C[0]
    for i, c in enumerate(C):
        for j in range(2):
            res(f"encoder.down.{i}.block.{j}", ch, c)
            ch = c
        if i < len(C) - 1:
            t.conv(f"encoder.down.{i}.downsample.conv", ch, ch, 3)
    mid("encoder", ch)
    t.norm("encoder.norm_out", ch)
    t.conv("encoder.conv_out", 2 * z, ch, 3)
    t.conv("decoder.conv_in", ch, z, 3)
    mid("decoder", ch)
    for i in reversed(range(len(C))):
        for j in range(3):
            res(f"decoder.up.{i}.block.{j}", ch, C[i])
            ch = C[i]
        if i > 0:
            t.conv(f"decoder.up.{i}.upsample.conv", ch, ch, 3)
    t.norm("decoder.norm_out", ch)
    t.conv("decoder.conv_out", 3, ch, 3)
    t.conv("quant_conv", 2 * z, 2 * z, 1)
    t.conv("post_quant_conv", z, z, 1)
    return t


def clip_tensors(e):
    t, D = Tensors(), e["D"]
    t["text_model.embeddings.token_embedding.weight"] = [e["V"], D]
    t["text_model.embeddings.position_embedding.weight"] = [77, D]
    for i in range(e["in_file"]):
        p = f"text_model.encoder.layers.{i}"
        t.norm(f"{p}.layer_norm1", D)
        t.norm(f"{p}.layer_norm2", D)
        for name in "qkv":
            t.lin(f"{p}.self_attn.{name}_proj", D, D)
        t.lin(f"{p}.self_attn.out_proj", D, D)
        t.lin(f"{p}.mlp.fc1", 4 * D, D)
        t.lin(f"{p}.mlp.fc2", D, 4 * D)
    t.norm("text_model.final_layer_norm", D)
    return t


def openclip_tensors(e):
    t, D = Tensors(), e["D"]
    t["positional_embedding"] = [77, D]
    t["token_embedding.weight"] = [e["V"], D]
    for i in range(e["in_file"]):
        p = f"transformer.resblocks.{i}"
        t.norm(f"{p}.ln_1", D)
        t.norm(f"{p}.ln_2", D)
        t[f"{p}.attn.in_proj_weight"], t[f"{p}.attn.in_proj_bias"] = [3 * D, D], [3 * D]
        t.lin(f"{p}.attn.out_proj", D, D)
        t.lin(f"{p}.mlp.c_fc", 4 * D, D)
        t.lin(f"{p}.mlp.c_proj", D, 4 * D)
    t.norm("ln_final", D)
    t["text_projection"] = [D, D]
    t["logit_scale"] = []
    return t


def checkpoint(args):
    """(name, dtype, shape) of each tensor."""
    dtype = "F16" if args.dtype == "mixed" else args.dtype
    vae_dtype = "F32" if args.dtype == "mixed" else args.dtype
    size = args.size
    unet = unet_tensors(unet_of(args.family, size), CHANNELS[args.task])
    parts = [("model.diffusion_model.", unet, dtype)]
    if args.vae_prefix != "none":
        parts.append((args.vae_prefix, vae_tensors(VAE[size], args.vae_dims), vae_dtype))
    if args.family == "sd1":
        parts.append(("cond_stage_model.transformer.", clip_tensors(CLIP_L[size]), dtype))
    if args.family == "sd2":
        parts.append(("cond_stage_model.model.", openclip_tensors(CLIP_H[size]), dtype))
    if args.family == "sdxl":
        parts.append(("conditioner.embedders.0.transformer.", clip_tensors(CLIP_L[size]), dtype))
        parts.append(("conditioner.embedders.1.model.", openclip_tensors(CLIP_G[size]), dtype))
    if args.family == "refiner":
        parts.append(("conditioner.embedders.0.model.", openclip_tensors(CLIP_G[size]), dtype))
    tensors = [(prefix + name, part_dtype, shape)
               for prefix, part, part_dtype in parts for name, shape in part.items()]
    if args.junk:
        tensors += junk(args.family, unet, dtype)
    return tensors


def junk(family, unet, dtype):
    """What real checkpoints hold beside the model."""
    tensors = [("model_ema." + ("diffusion_model." + name).replace(".", ""), dtype, shape)
               for name, shape in list(unet.items())[::20]]
    tensors += [("model_ema.decay", "F32", []), ("model_ema.num_updates", "I64", []),
                ("alphas_cumprod", "F32", [1000]), ("betas", "F64", [1000]),
                ("denoiser.sigmas", "F32", [1000]), ("global_step", "I64", [])]
    if family in ("sd1", "sdxl"):
        prefix = "cond_stage_model" if family == "sd1" else "conditioner.embedders.0"
        tensors.append((f"{prefix}.transformer.text_model.embeddings.position_ids",
                        "I64" if family == "sd1" else "F16", [1, 77]))
    return tensors


def extent(dtype, shape):
    size = BYTES[dtype]
    for n in shape:
        size *= n
    return size


# Keeps a number below 2: no infinities, no NaN.
MASK = {"F16": b"\xff\xbf", "BF16": b"\xff\xbf", "F32": b"\xff\xff\xff\xbf",
        "F64": b"\xff" * 7 + b"\xbf"}
# -0, the least, the greatest, infinity.
SPECIAL = {"F16": "0080 0100 ff7b 007c", "BF16": "0080 0100 7f7f 807f",
           "F32": "00000080 01000000 ffff7f7f 0000807f"}


def content(dtype, shape, randomly):
    size = extent(dtype, shape)
    data = randomly.randbytes(size)
    mask = MASK.get(dtype)
    if not mask or not size:
        return data
    number = int.from_bytes(data, "little")
    number &= int.from_bytes(mask * (size // len(mask)), "little")
    return number.to_bytes(size, "little")


def write(path, tensors, args):
    randomly = random.Random(args.seed)
    if args.shuffle:
        randomly.shuffle(tensors)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape in tensors:
        end = at + extent(dtype, shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 + (3 if args.unaligned else 0))
    special = next((name for name, _, shape in tensors
                    if name.endswith("attn1.to_q.weight") and len(shape) == 2), None)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if args.size == "full":
            file.truncate(8 + len(text) + at)
            return
        for name, dtype, shape in tensors:
            data = content(dtype, shape, randomly)
            if name == special:
                values = bytes.fromhex(SPECIAL[dtype])
                data = values + data[len(values):]
            file.write(data)


# --- configurations -----------------------------------------------------------------------

def unet_config(args):
    u = unet_of(args.family, args.size)
    down = ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in u["d"]]
    up = ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(u["d"])]
    config = {"_class_name": "UNet2DConditionModel", "in_channels": CHANNELS[args.task],
              "out_channels": 4, "layers_per_block": 2, "block_out_channels": u["C"],
              "down_block_types": down, "up_block_types": up, "attention_head_dim": u["heads"],
              "cross_attention_dim": u["X"], "use_linear_projection": u["lin"],
              "sample_size": 8}
    if u["adm"]:
        depths = [depth or 1 for depth in u["d"]]
        depths[-1] = u["dm"]
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256,
                   "projection_class_embeddings_input_dim": u["adm"],
                   "transformer_layers_per_block": depths}
    return config


def vae_config(args):
    C = VAE[args.size]
    return {"_class_name": "AutoencoderKL", "block_out_channels": C, "latent_channels": 4,
            "layers_per_block": 2, "down_block_types": ["DownEncoderBlock2D"] * len(C),
            "up_block_types": ["UpDecoderBlock2D"] * len(C), "sample_size": 8,
            "norm_num_groups": 32}


def encoder_config(e, architecture, act):
    # A stale dtype, as published folders have it.
    return {"architectures": [architecture], "model_type": "clip_text_model", "hidden_act": act,
            "hidden_size": e["D"], "intermediate_size": 4 * e["D"], "projection_dim": e["P"],
            "num_attention_heads": e["heads"], "num_hidden_layers": e["layers"],
            "vocab_size": e["V"], "max_position_embeddings": 77, "bos_token_id": 0,
            "eos_token_id": 2, "pad_token_id": 1, "layer_norm_eps": 1e-05,
            "torch_dtype": "float16"}


def index(args):
    """model_index.json, with a safety checker as published folders have it."""
    xl = args.family in ("sdxl", "refiner")
    base = "StableDiffusionXL" if xl else "StableDiffusion"
    # That for depth needs a model that no checkpoint has.
    tail = {"text": "", "inpaint": "Inpaint", "edit": "InstructPix2Pix", "depth": ""}
    kind = "Img2Img" if args.family == "refiner" else tail[args.task]
    entries = {"_class_name": f"{base}{kind}Pipeline", "_diffusers_version": "0.42.1",
               "_name_or_path": "somewhere/else",
               "unet": ["diffusers", "UNet2DConditionModel"],
               "vae": ["diffusers", "AutoencoderKL"], "scheduler": ["diffusers", "DDIMScheduler"],
               "text_encoder": ["transformers", "CLIPTextModel"],
               "tokenizer": ["transformers", "CLIPTokenizer"]}
    if xl:
        entries |= {"text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
                    "tokenizer_2": ["transformers", "CLIPTokenizer"],
                    "force_zeros_for_empty_prompt": args.family == "sdxl"}
    else:
        entries |= {"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
                    "feature_extractor": ["transformers", "CLIPImageProcessor"],
                    "requires_safety_checker": True}
    if args.family == "refiner":
        entries |= {"text_encoder": [None, None], "tokenizer": [None, None],
                    "requires_aesthetics_score": True}
    return entries


def tokenizer_files():
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>",
              "<|endoftext|>"]
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
               "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
    return {"vocab.json": {token: number for number, token in enumerate(tokens)},
            "merges.txt": "#version: 0.2\n", "special_tokens_map.json": special,
            "tokenizer_config.json": {**special, "model_max_length": 77,
                                      "tokenizer_class": "CLIPTokenizer"}}


def configs(args):
    """Content by path."""
    files = {"model_index.json": index(args), "unet/config.json": unet_config(args),
             "vae/config.json": vae_config(args),
             "scheduler/scheduler_config.json": {
                 "_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
                 "beta_schedule": "scaled_linear", "clip_sample": False, "steps_offset": 1,
                 "set_alpha_to_one": False}}
    if args.family in ("sd1", "sdxl"):
        files["text_encoder/config.json"] = encoder_config(CLIP_L[args.size], "CLIPTextModel",
                                                           "quick_gelu")
    if args.family == "sd2":
        files["text_encoder/config.json"] = encoder_config(CLIP_H[args.size], "CLIPTextModel",
                                                           "gelu")
    if args.family in ("sdxl", "refiner"):
        files["text_encoder_2/config.json"] = encoder_config(
            CLIP_G[args.size], "CLIPTextModelWithProjection", "gelu")
    else:
        files["feature_extractor/preprocessor_config.json"] = {
            "crop_size": 224, "size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}
    for tokenizer in ("tokenizer", "tokenizer_2"):
        if files["model_index.json"].get(tokenizer, [None])[0]:
            files |= {f"{tokenizer}/{name}": content
                      for name, content in tokenizer_files().items()}
    return files


def write_configs(folder, args):
    for path, value in configs(args).items():
        path = os.path.join(folder, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(value if isinstance(value, str) else json.dumps(value, indent=2) + "\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["make", "configs"])
    parser.add_argument("path")
    parser.add_argument("--family", required=True, choices=sorted(REAL))
    parser.add_argument("--task", default="text", choices=sorted(CHANNELS))
    parser.add_argument("--size", default="tiny", choices=sorted(VAE))
    parser.add_argument("--dtype", default="F16", choices=["F16", "BF16", "F32", "mixed"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffle", action="store_true", help="tensors in any order")
    parser.add_argument("--unaligned", action="store_true", help="data begin at an odd place")
    parser.add_argument("--junk", action="store_true", help="what is never mapped, too")
    parser.add_argument("--vae-dims", type=int, default=4, choices=[2, 3, 4])
    parser.add_argument("--vae-prefix", default="first_stage_model.", help='"none": no VAE')
    parser.add_argument("--vae-only", action="store_true", help="nothing but the VAE")
    parser.add_argument("--without", default="", help="a tensor to leave out")
    args = parser.parse_args()
    if args.what == "configs":
        write_configs(args.path, args)
        return
    tensors = checkpoint(args)
    if args.vae_only:
        tensors = [t for t in tensors if t[0].startswith(args.vae_prefix) and
                   not t[0].startswith("model.")]
    write(args.path, [t for t in tensors if t[0] != args.without], args)


if __name__ == "__main__":
    main()

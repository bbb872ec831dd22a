"""Tiny models, made here, and what loading them from HF_HOME must give.

    models.py make FOLDER SEED       writes FOLDER/transformers and FOLDER/diffusers
    models.py transformers|diffusers --repo ORG/NAME --revision REV --source FOLDER

The second form loads the repo as a user's program would and compares all that was loaded with
what the same calls give for the folder that the repo was made from.
"""

import argparse
import json
import os
import sys

import torch

CORPUS = ["the cache shows what is there", "and all that could be there", "a file is a file"]


def check(claim, what, *details):
    print("asserted:" if claim else "NOT SO:", what, *details, flush=True)
    if not claim:
        sys.exit(1)


def make_transformers(folder):
    from transformers import BertConfig, BertModel, BertTokenizer

    words = sorted({word for line in CORPUS for word in line.split()})
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    os.makedirs(folder)
    vocabulary = os.path.join(folder, "vocab.txt")
    with open(vocabulary, "w", encoding="utf-8") as file:
        file.write("\n".join(tokens) + "\n")
    BertTokenizer(vocabulary).save_pretrained(folder)
    BertModel(BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32)).save_pretrained(folder)


def make_diffusers(folder):
    from diffusers import (AutoencoderKL, DDIMScheduler, StableDiffusionPipeline,
                           UNet2DConditionModel)
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>",
              "<|endoftext|>"]
    words = os.path.join(folder, "words")
    os.makedirs(words)
    with open(os.path.join(words, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump({token: number for number, token in enumerate(tokens)}, file)
    with open(os.path.join(words, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n")
    tokenizer = CLIPTokenizer(os.path.join(words, "vocab.json"),
                              os.path.join(words, "merges.txt"), model_max_length=16)
    for name in os.listdir(words):
        os.unlink(os.path.join(words, name))
    os.rmdir(words)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(block_out_channels=(8, 16), norm_num_groups=4, latent_channels=4,
                          down_block_types=("DownEncoderBlock2D",) * 2,
                          up_block_types=("UpDecoderBlock2D",) * 2),
        text_encoder=CLIPTextModel(CLIPTextConfig(
            vocab_size=len(tokens), hidden_size=32, intermediate_size=37, num_hidden_layers=2,
            num_attention_heads=4, max_position_embeddings=16)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            block_out_channels=(8, 16), norm_num_groups=4, layers_per_block=1, sample_size=8,
            cross_attention_dim=32, attention_head_dim=4,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D")),
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1), safety_checker=None,
        feature_extractor=None, requires_safety_checker=False)
    pipeline.save_pretrained(folder)


def make(arguments):
    folder, seed = arguments
    torch.manual_seed(int(seed))
    make_transformers(os.path.join(folder, "transformers"))
    make_diffusers(os.path.join(folder, "diffusers"))


def check_weights(got, wanted, name):
    got, wanted = got.state_dict(), wanted.state_dict()
    check(got.keys() == wanted.keys(), f"{name}: {len(wanted)} tensors by the same names")
    check(all(torch.equal(got[key], wanted[key]) for key in wanted), f"{name}: equal tensors")


def load_transformers(args):
    from transformers import AutoModel, AutoTokenizer

    model = AutoModel.from_pretrained(args.repo, revision=args.revision)
    tokenizer = AutoTokenizer.from_pretrained(args.repo, revision=args.revision)
    check_weights(model, AutoModel.from_pretrained(args.source), "model")
    wanted = AutoTokenizer.from_pretrained(args.source)
    for line in CORPUS:
        tokens = tokenizer(line)["input_ids"]
        check(tokens == wanted(line)["input_ids"], "tokens of", line)
        check(tokenizer.unk_token_id not in tokens, "which are all known", tokens)
    with torch.no_grad():
        output = model(**tokenizer(CORPUS[0], return_tensors="pt"))
    check(output.last_hidden_state.shape[-1] == 32, "the model runs")


def load_diffusers(args):
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(args.repo, revision=args.revision)
    wanted = DiffusionPipeline.from_pretrained(args.source)
    for name in ("vae", "text_encoder", "unet"):
        check_weights(getattr(pipeline, name), getattr(wanted, name), name)
    tokens = pipeline.tokenizer("cache")["input_ids"]
    check(tokens == wanted.tokenizer("cache")["input_ids"] and len(set(tokens)) > 4, "tokens",
          tokens)
    check(dict(pipeline.scheduler.config) == dict(wanted.scheduler.config),
          "the scheduler's configuration")


def main():
    if sys.argv[1] == "make":
        make(sys.argv[2:])
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("library", choices=["transformers", "diffusers"])
    parser.add_argument("--repo", required=True)
    parser.add_argument("--revision", required=True)
    parser.add_argument("--source", required=True)
    args = parser.parse_args()
    print("HF_HOME", os.environ["HF_HOME"], "offline", os.environ.get("HF_HUB_OFFLINE"),
          *sys.argv[1:], flush=True)
    {"transformers": load_transformers, "diffusers": load_diffusers}[args.library](args)


if __name__ == "__main__":
    main()

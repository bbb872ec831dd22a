#!/usr/bin/env bash
# What dgenerate keeps in diffusers_converted/ is plain local storage, also where
# a recipe has the name of one of its folders.
. "${srcdir:-.}/tests/recipe.sh"
mount_ready "$store" "$mnt" offline
for part in text_encoder text_encoder_2 text_encoder_3 transformer unet; do
    write_recipe "$part" "checkpoint = nothing"
    assert_absent "$converted/$part"
    mkdir -p "$converted/$part/0123abcd"
    echo '{}' >"$converted/$part/0123abcd/config.json"
    make_file "$tmp/weights" 300K "$part"
    cp "$tmp/weights" "$converted/$part/0123abcd/diffusion_pytorch_model.safetensors"
    "$python" - "$converted/$part/cache.db" <<'EOS'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.execute("CREATE TABLE store (key TEXT PRIMARY KEY, value TEXT)")
    db.execute("INSERT INTO store VALUES ('a', 'b')")
EOS
    assert_same "$tmp/weights" \
        "$store/diffusers_converted/$part/0123abcd/diffusion_pytorch_model.safetensors"
    assert_equal "$part" "0123abcd cache.db" "$(names_in "$converted/$part")"
    rm "$converted/$part.recipe"
done
unmount "$mnt"
mount_ready "$store" "$mnt" offline
assert_same "$tmp/weights" "$converted/unet/0123abcd/diffusion_pytorch_model.safetensors"
rm -r "$converted/unet"
assert_absent "$store/diffusers_converted/unet"
unmount "$mnt"

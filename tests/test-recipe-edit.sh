#!/usr/bin/env bash
# What is done to a recipe takes effect when it is closed: writing, editing,
# renaming, removing, through the mount or in the store.
# tap
. "${srcdir:-.}/tests/recipe.sh"
make_checkpoint "$tmp/made/a.safetensors" --family sd1 --seed 1
make_checkpoint "$tmp/made/b.safetensors" --family sd1 --seed 2
make_configs "$tmp/made/config" --family sd1
config="config = $tmp/made/config"
mount_ready "$store" "$mnt" offline
vae=vae/diffusion_pytorch_model.safetensors

sum() {
    sha256sum <"$converted/$1/$vae"
}

edited() {
    local before after
    assert_absent "$converted/e"
    write_recipe e "checkpoint = $tmp/made/a.safetensors" "$config"
    before=$(sum e)
    write_recipe e "checkpoint = $tmp/made/b.safetensors" "$config"
    after=$(sum e)
    [ "$before" != "$after" ] || fail "the old checkpoint is shown"
    write_recipe e "checkpoint = $tmp/made/c.safetensors" "$config"
    assert_refused_recipe e "there is no such file"
    write_recipe e "checkpoint = $tmp/made/a.safetensors" "$config"
    assert_equal "the first again" "$before" "$(sum e)"
}

# Somebody has the old view open, and goes on.
open_meanwhile() {
    write_recipe o "checkpoint = $tmp/made/a.safetensors" "$config"
    cp "$converted/o/$vae" "$tmp/a.copy"
    exec {fd}<"$converted/o/$vae"
    head -c 1000 <&"$fd" >"$tmp/got"
    write_recipe o "checkpoint = $tmp/made/b.safetensors" "$config"
    ! cmp -s "$converted/o/$vae" "$tmp/a.copy" || fail "not the new one"
    cat <&"$fd" >>"$tmp/got"
    exec {fd}<&-
    assert_same "$tmp/a.copy" "$tmp/got"
}

# The old one stays until the new one is closed.
half_written() {
    write_recipe h "checkpoint = $tmp/made/a.safetensors" "$config"
    "$python" - "$converted/h.recipe" "$converted/h/$vae" "$tmp/made/b.safetensors" \
        "$config" <<'EOS'
import os, sys

recipe, shown, checkpoint, config = sys.argv[1:]
with open(recipe, "w") as file:
    file.write("checkpoint = ")
    file.flush()
    assert os.path.exists(shown)
    file.write(f"{checkpoint}\n{config}\n")
EOS
    write_recipe other "checkpoint = $tmp/made/b.safetensors" "$config"
    assert_same "$converted/other/$vae" "$converted/h/$vae"
}

renamed() {
    write_recipe r "checkpoint = $tmp/made/a.safetensors" "$config"
    cp "$converted/r/$vae" "$tmp/r.copy"
    mv "$converted/r.recipe" "$converted/s.recipe"
    assert_absent "$converted/r"
    assert_same "$tmp/r.copy" "$converted/s/$vae"
    rm "$converted/s.recipe"
    assert_absent "$converted/s"
    assert_absent "$converted/s/$vae"
}

in_the_store() {
    printf '%s\n' "checkpoint = $tmp/made/a.safetensors" "$config" \
        >"$store/diffusers_converted/t.recipe"
    cp "$converted/t/$vae" "$tmp/t.copy"
    printf '%s\n' "checkpoint = $tmp/made/b.safetensors" "$config" \
        >"$store/diffusers_converted/t.recipe"
    ! cmp -s "$tmp/t.copy" "$converted/t/$vae" || fail "not the new one"
    rm "$store/diffusers_converted/t.recipe"
    assert_absent "$converted/t"
}

# Files of one's own in the folder, and a whole folder removed.
beside() {
    write_recipe w "checkpoint = $tmp/made/a.safetensors" "$config"
    echo mine >"$converted/w/notes.txt"
    echo '{}' >"$converted/w/vae/config.json"
    assert_equal "a note" mine "$(cat "$converted/w/notes.txt")"
    assert_equal "what hides ours" '{}' "$(cat "$converted/w/vae/config.json")"
    assert_exists "$converted/w/$vae"
    rm -r "$converted/w"
    assert_absent "$store/diffusers_converted/w/notes.txt"
    assert_exists "$converted/w.recipe"
    assert_exists "$converted/w/$vae"
}

run_case "edited" edited
run_case "edited while its folder is read" open_meanwhile
run_case "half written" half_written
run_case "renamed and removed" renamed
run_case "in the store" in_the_store
run_case "files of one's own" beside
unmount "$mnt"
end_cases

#!/usr/bin/env bash
# A recipe that names a file of a wheel waits for it without work.
. "${srcdir:-.}/tests/spacy.sh"
data=spacy/en_core_web_sm/en_core_web_sm-3.8.0
converted=$mnt/diffusers_converted

# busy: clock ticks that the daemon has worked.
busy() {
    awk '{print $14 + $15}' "/proc/${daemon_pids[$mnt]}/stat"
}

make_wheel en_core_web_sm 3.8.0 --size 8000000 >/dev/null
mount_spacy timeout=seconds=3
ls "$mnt/$data/ner" >/dev/null
set_faults '{"match": "whl", "stall_body_at": 10, "stall": -1}'
echo "checkpoint = $data/ner/model" >"$converted/of-a-wheel.recipe"
before=$(busy)
cat "$converted/of-a-wheel/error.txt" >/dev/null 2>&1 || true
worked=$(($(busy) - before))
echo "$worked ticks"
[ "$worked" -lt "$(getconf CLK_TCK)" ] || fail "$worked ticks of work while nothing came"
clear_faults
is_read() {
    grep -q "ner/model: not a safetensors file" "$converted/of-a-wheel/error.txt"
}
wait_until 20 is_read
unmount "$mnt"

#!/usr/bin/env bash
# How fast is a mount, beside what people would use instead?  `make bench`.
#
# Each row does the same with ours and with another program, in turns, and
# compares medians, so that a noisy machine is noisy for both:
#
#   cold    a file of SIZE fetched through the mount, against curl and against
#           rclone's full cache, all from one nginx on loopback
#   warm    that file read again, against bindfs on a plain copy
#   random  4 KiB reads all over it (fio), against bindfs
#   ls      `ls -l` of 2,000 entries, against bindfs
#   rss     memory of a daemon that did a little of everything
#   view    a UNet as a recipe shows it, against the same bytes of its checkpoint;
#           how long the first open of an SDXL folder takes
#   merge   LoRAs of rank 64 merged into base weights on one core, in bytes of
#           those a second of processor time, against torch where the virtual
#           environment "models" is there
#
# From the environment: BENCH (which of these, default all), SIZE (1G), ROUNDS
# (5), SECONDS_RANDOM (3), MLC_TEST_TMP (where everything lies: the file system
# that is measured), BENCH_STRICT=1 (a missed goal is a failure).
. "${srcdir:-.}/tests/functions.sh"
requires_fuse
requires_command nginx curl

rows=${BENCH:-cold warm random ls rss view merge}
size=${SIZE:-1G}
rounds=${ROUNDS:-5}
n_entries=2000
results=$tmp/results
: >"$results"

[ "$(id -u)" = 0 ] ||
    echo "note: not root, so the mount's read-ahead stays at the kernel's" \
        "128 KiB (without the udev rule), and streams are slower"

is_wanted() { # ROW
    [[ " $rows " == *" $1 "* ]]
}

# note ROW SIDE UNIT BETTER GOAL VALUE
note() {
    local IFS=$'\t'
    echo "$*" >>"$results"
}

now_us() {
    echo "${EPOCHREALTIME/[.,]/}"
}

rate() { # MICROSECONDS: MiB/s of the big file
    awk -v bytes="$bytes" -v us="$1" 'BEGIN { print bytes / 1.048576 / us }'
}

# time_of COMMAND...: sets $took, in microseconds.
time_of() {
    local begin
    begin=$(now_us)
    "$@"
    took=$(($(now_us) - begin))
}

is_mounted() {
    awk -v mnt="$1" '$5 == mnt { found = 1 } END { exit !found }' \
        /proc/self/mountinfo
}

# What we mount of others: end_other unmounts, and waits for its process.
other_pid=
start_other() { # MOUNTPOINT COMMAND...: in the foreground
    other_mnt=$1
    shift
    mkdir -p "$other_mnt"
    "$@" >>"$tmp/other.log" 2>&1 </dev/null &
    other_pid=$!
    wait_until 20 is_mounted "$other_mnt" || {
        cat "$tmp/other.log" >&2
        fail "did not mount: $*"
    }
}

end_other() {
    [ -n "$other_pid" ] || return 0
    fusermount3 -u "$other_mnt" 2>/dev/null || detach_mount "$other_mnt"
    wait_until 20 pid_is_gone "$other_pid" || kill -KILL "$other_pid"
    wait "$other_pid" 2>/dev/null || true
    other_pid=
}
on_exit end_other

nginx_pid=
start_nginx() {
    "$python" "$srcdir/tests/bench/nginx.py" --root "$tmp/origin/objects" \
        --work "$tmp/nginx" --info "$tmp/nginx.url" \
        >>"$tmp/other.log" 2>&1 </dev/null &
    nginx_pid=$!
    wait_until 20 test -s "$tmp/nginx.url" || fail "nginx.py did not start"
    nginx=$(cat "$tmp/nginx.url")
    # The socket listens already; this waits for a worker to answer.
    curl -sf --retry 5 --retry-connrefused --max-time 20 -o /dev/null \
        "$nginx/" || {
        cat "$tmp/other.log" "$tmp"/nginx/error.log >&2
        fail "nginx does not answer"
    }
}

end_nginx() {
    [ -z "$nginx_pid" ] || end_process "$nginx_pid" 5
}
on_exit end_nginx

# ---------------------------------------------------------------------------
# What is served: a repo with one big file, and one with many small ones

mkdir -p "$tmp/origin/objects" "$tmp/source"
start_nginx
start_origin "$tmp/origin" --cdn-url "$nginx"
mnt=$tmp/mnt
hub_dir=hf/hub

make_big() {
    [ -z "${sha256:-}" ] || return 0
    echo "making a file of $size"
    make_file "$tmp/source/model.bin" "$size"
    bytes=$(stat -c %s "$tmp/source/model.bin")
    commit=$(make_repo model bench/big --from "$tmp/source" --lfs-over 1000)
    sha256=$(sha256sum "$tmp/source/model.bin" | cut -d ' ' -f 1)
    big=$hub_dir/models--bench--big/snapshots/$commit/model.bin
    blob=$hub_dir/models--bench--big/blobs/$sha256
}

# settle: nobody pays for what the one before left to be written.
settle() {
    sync -f "$tmp"
}

# ---------------------------------------------------------------------------
# Rows

# Ours, fresh store each time: from the first lookup to the last byte, and on
# until the verified file is at home (with its data synced, which neither curl
# nor rclone does: hence curl with a sync as a row of its own).
cold_ours() {
    local begin
    rm -rf "$tmp/cold"
    mount_ready "$tmp/cold" "$mnt"
    settle
    begin=$(now_us)
    cat "$mnt/$big" >/dev/null
    took_read=$(($(now_us) - begin))
    wait_until 120 test -e "$tmp/cold/$blob"
    took_published=$(($(now_us) - begin))
    unmount "$mnt"
    [ "$(stat -c %s "$tmp/cold/$blob")" = "$bytes" ] || fail "short blob"
}

cold_curl() {
    local begin
    rm -f "$tmp/curl.out"
    settle
    begin=$(now_us)
    curl -sf -o "$tmp/curl.out" "$nginx/$sha256"
    took_read=$(($(now_us) - begin))
    sync -d "$tmp/curl.out"
    took_published=$(($(now_us) - begin))
}

cold_rclone() {
    local remote
    rm -rf "$tmp/rclone"
    start_other "$tmp/other" rclone mount ":http:" "$tmp/other" \
        --http-url "$nginx/" --vfs-cache-mode full --vfs-read-ahead 16M \
        --cache-dir "$tmp/rclone" --config /dev/null --read-only
    settle
    remote=$tmp/other/$sha256
    # It lists its server in its own time.
    wait_until 20 test -e "$remote" || {
        cat "$tmp/other.log" >&2
        fail "rclone does not show the file"
    }
    time_of cat "$remote" >/dev/null
    took_read=$took
    end_other
}

row_cold() {
    local i
    make_big
    cat "$tmp/origin/objects/$sha256" >/dev/null
    for ((i = 0; i < rounds; i++)); do
        cold_ours
        note "cold, published / curl" ours MiB/s more - "$(rate "$took_published")"
        note "cold, last byte / curl" ours MiB/s more 0.8 "$(rate "$took_read")"
        note "cold, published / curl+sync" ours MiB/s more 0.8 \
            "$(rate "$took_published")"
        note "cold, last byte / rclone" ours MiB/s more 1.0 "$(rate "$took_read")"
        cold_curl
        note "cold, published / curl" curl MiB/s more - "$(rate "$took_read")"
        note "cold, last byte / curl" curl MiB/s more 0.8 "$(rate "$took_read")"
        note "cold, published / curl+sync" curl+sync MiB/s more 0.8 \
            "$(rate "$took_published")"
        if command -v rclone >/dev/null; then
            cold_rclone
            note "cold, last byte / rclone" rclone MiB/s more 1.0 \
                "$(rate "$took_read")"
        fi
        rm -rf "$tmp/cold" "$tmp/curl.out" "$tmp/rclone"
    done
    command -v rclone >/dev/null || echo "note: no rclone, left out"
}

# A store in which the big file is at home.
make_store() {
    make_big
    [ ! -e "$tmp/store/$blob" ] || return 0
    mount_ready "$tmp/store" "$mnt"
    cat "$mnt/$big" >/dev/null
    wait_until 300 test -e "$tmp/store/$blob"
    unmount "$mnt"
}

# bindfs's plain copy.
start_bindfs() { # FOLDER
    start_other "$tmp/other" bindfs -f "$1" "$tmp/other"
}

read_all() { # FILE
    cat "$1" >/dev/null
}

# The page cache of the files below is warm for both (neither is dropped);
# what either mount had cached itself went with the remount.
row_warm() {
    local i
    requires_command bindfs
    make_store
    mkdir -p "$tmp/plain"
    [ -e "$tmp/plain/model.bin" ] ||
        cp "$tmp/source/model.bin" "$tmp/plain/model.bin"
    settle
    for ((i = 0; i < rounds; i++)); do
        mount_ready "$tmp/store" "$mnt"
        cat "$tmp/store/$blob" >/dev/null
        time_of read_all "$mnt/$big"
        note "warm, first read" ours MiB/s more 1.0 "$(rate "$took")"
        time_of read_all "$mnt/$big"
        note "warm, read again" ours MiB/s more 1.0 "$(rate "$took")"
        unmount "$mnt"
        start_bindfs "$tmp/plain"
        cat "$tmp/plain/model.bin" >/dev/null
        time_of read_all "$tmp/other/model.bin"
        note "warm, first read" bindfs MiB/s more 1.0 "$(rate "$took")"
        time_of read_all "$tmp/other/model.bin"
        note "warm, read again" bindfs MiB/s more 1.0 "$(rate "$took")"
        end_other
    done
}

random_reads() { # FILE: sets $iops
    fio --name=random --filename="$1" --rw=randread --bs=4k --readonly \
        --ioengine=psync --time_based --runtime="${SECONDS_RANDOM:-3}" \
        --allow_file_create=0 --output-format=json --output="$tmp/fio.json" \
        >/dev/null
    iops=$("$python" -c '
import json, sys
print(json.load(open(sys.argv[1]))["jobs"][0]["read"]["iops"])' \
        "$tmp/fio.json")
}

# fio drops the mount's pages of the file first, of both.
row_random() {
    local i
    requires_command bindfs fio
    make_store
    mkdir -p "$tmp/plain"
    [ -e "$tmp/plain/model.bin" ] ||
        cp "$tmp/source/model.bin" "$tmp/plain/model.bin"
    settle
    for ((i = 0; i < rounds; i++)); do
        mount_ready "$tmp/store" "$mnt"
        cat "$tmp/store/$blob" >/dev/null
        random_reads "$mnt/$big"
        note "random 4 KiB reads" ours IOPS more 1.0 "$iops"
        unmount "$mnt"
        start_bindfs "$tmp/plain"
        cat "$tmp/plain/model.bin" >/dev/null
        random_reads "$tmp/other/model.bin"
        note "random 4 KiB reads" bindfs IOPS more 1.0 "$iops"
        end_other
    done
}

make_many() {
    [ -z "${many:-}" ] || return 0
    many=$hub_dir/models--bench--many/snapshots/$(
        make_repo model bench/many --many "$n_entries")
    mkdir -p "$tmp/many/files" "$tmp/many/links" "$tmp/store/hf/many"
    "$python" - "$n_entries" "$tmp/many" "$tmp/store/hf/many" <<'EOS'
import os, sys
n, plain, local = int(sys.argv[1]), sys.argv[2], sys.argv[3]
for i in range(n):
    for folder in f"{plain}/files", local:
        with open(f"{folder}/file{i:05}.txt", "w") as file:
            file.write(str(i))
    os.symlink("../../blobs/" + f"{i:040x}", f"{plain}/links/file{i:05}.txt")
EOS
}

list() { # FOLDER
    ls -l --color=never "$1" >"$tmp/listed"
}

# timed_ls FOLDER: the second of two, so that names are known; sets $took.
timed_ls() {
    local n
    list "$1"
    time_of list "$1"
    n=$(wc -l <"$tmp/listed")
    [ "$n" -ge "$n_entries" ] || fail "ls $1: only $n lines"
}

note_ls() { # ROW SIDE
    note "$1" "$2" ms less 1.0 "$(awk -v us="$took" 'BEGIN { print us / 1000 }')"
}

# A snapshot is links to blobs, known but not fetched here; the other side is
# a plain folder of links.
row_ls() {
    local i folder
    requires_command bindfs
    make_many
    for ((i = 0; i < rounds; i++)); do
        mount_ready "$tmp/store" "$mnt"
        folder=$(many_folder)
        timed_ls "$folder"
        note_ls "ls -l, 2,000 in a snapshot" ours
        timed_ls "$mnt/hf/many"
        note_ls "ls -l, 2,000 local files" ours
        unmount "$mnt"
        start_bindfs "$tmp/many"
        timed_ls "$tmp/other/links"
        note_ls "ls -l, 2,000 in a snapshot" bindfs
        timed_ls "$tmp/other/files"
        note_ls "ls -l, 2,000 local files" bindfs
        end_other
    done
}

# The folder of the snapshot that holds the files (mkrepo --many puts so many
# into each).
many_folder() {
    find "$mnt/$many/" -name '*0*' -type l -printf '%h\n' -quit
}

row_rss() {
    local i pid
    make_big
    make_many
    for ((i = 0; i < rounds; i++)); do
        mount_ready "$tmp/store" "$mnt"
        pid=$(daemon_pid "$mnt")
        ls -l "$mnt" "$mnt/hf/hub" >/dev/null
        list "$(many_folder)"
        list "$mnt/hf/many"
        cat "$mnt"/hf/many/*0.txt >/dev/null
        head -c 32M "$mnt/$big" >/dev/null
        note "RSS, lightly used" ours MiB less 64 "$(
            awk '$1 == "VmRSS:" { print $2 / 1024 }' "/proc/$pid/status")"
        unmount "$mnt"
    done
}

# make_model NAME FAMILY: its checkpoint, configuration and recipe.  The
# checkpoint has holes for data: it is the mount's part that is measured.
make_model() {
    local make=("$python" "$srcdir/tests/checkpoint.py")
    "${make[@]}" make "$tmp/views/$1.safetensors" --family "$2" --size full
    "${make[@]}" configs "$tmp/views/$1-config" --family "$2" --size full
    printf '%s\n' "checkpoint = $1.safetensors" "config = $1-config" \
        >"$tmp/views/diffusers_converted/$1.recipe"
}

row_view() {
    local i unet=diffusers_converted/m/unet/diffusion_pytorch_model.safetensors bytes
    mkdir -p "$tmp/views/diffusers_converted"
    make_model m sd1
    make_model xl sdxl
    for ((i = 0; i < rounds; i++)); do
        mount_ready "$tmp/views" "$mnt" offline
        # The recipe, the checkpoint's header and the layout of all parts.
        time_of head -c 1 "${mnt}/${unet/converted\/m/converted/xl}" >/dev/null
        note "view, first open of SDXL" ours ms less 50 \
            "$(awk -v us="$took" 'BEGIN { print us / 1000 }')"
        cat "$tmp/views/m.safetensors" >/dev/null
        bytes=$(stat -c %s "$mnt/$unet")
        time_of read_all "$mnt/$unet"
        note "view, read in order" ours MiB/s more 0.9 "$(rate "$took")"
        time_of head -c "$bytes" "$mnt/m.safetensors" >/dev/null
        note "view, read in order" checkpoint MiB/s more 0.9 "$(rate "$took")"
        unmount "$mnt"
    done
}

# note_rates ROW SIDE GOAL COMMAND...: a line of its output is a round.
note_rates() {
    local rate
    for rate in $("${@:4}"); do
        note "$1" "$2" "GB/CPU s" more "$3" "$rate"
    done
}

row_merge() {
    local dtype venv program
    program=$(dirname "$MLCACHEFS")/tests/bench/merge
    venv=$("$srcdir/tests/clients/venv.sh" --cached models) || venv=
    [ -n "$venv" ] || echo "note: no virtual environment, torch left out"
    for dtype in F16 BF16 F32; do
        note_rates "merge, $dtype" ours 1.0 "$program" "$dtype" 64 "$rounds"
        [ -z "$venv" ] || note_rates "merge, $dtype / torch" ours 1.0 \
            "$program" "$dtype" 64 "$rounds"
        [ -z "$venv" ] || note_rates "merge, $dtype / torch" torch 1.0 \
            "$venv/bin/python" "$srcdir/tests/bench/merge.py" "$dtype" 64 \
            "$rounds"
    done
}

for row in cold warm random ls rss view merge; do
    if is_wanted "$row"; then
        echo "$row: $rounds rounds"
        "row_$row"
    fi
done
[ -s "$results" ] || fail "BENCH=$rows: nothing of that name"

echo
echo "$size, medians of $rounds rounds, $(nproc) processors; a ratio above 1" \
    "is in our favour"
status=0
"$python" "$srcdir/tests/bench/table.py" "$results" || status=$?
[ "$status" -le 1 ] || fail "no table"
[ -z "${BENCH_STRICT:-}" ] || [ "$status" = 0 ] || fail "a goal was missed"

#!/usr/bin/env bash
# While many read far more than max_size=, everybody gets right bytes, whatever
# is evicted under them, and in the end no more is there than may be.
# tsan
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=2M b.bin=2M c.bin=2M d.bin=2M e.bin=300K f.bin=10K
mkdir -p "$origin_root/web/w"
cp "$source"/* "$origin_root/web/w/"
mount_ready "$store" "$mnt" max_size=3M

"$python" - "$source" "$files" "$mnt/web/$web/w" $((600 / ${MLC_TEST_SLOWNESS:-1} + 2)) <<'EOS'
import os, random, sys
from multiprocessing import Process

source, files, web, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
names = sorted(os.listdir(source))
want = {name: open(os.path.join(source, name), "rb").read() for name in names}

def read(seed):
    rng = random.Random(seed)
    for _ in range(rounds):
        name, folder = rng.choice(names), rng.choice((files, web))
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            if rng.random() < 0.3:
                at = rng.randrange(len(want[name]))
                os.lseek(file.fileno(), at, os.SEEK_SET)
                got = file.read(4096)
                assert got == want[name][at:at + len(got)] and got, (name, at)
            else:
                got = file.readall()
                assert got == want[name], name

readers = [Process(target=read, args=(i,)) for i in range(6)]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
sys.exit(any(reader.exitcode for reader in readers))
EOS

taken() {
    find "$store/hf/hub/models--a--m/blobs" "$store/.mlcachefs/objects" \
        "$store/.mlcachefs/web/bodies" -type f -name '*[0-9a-f]' \
        -printf "%b\n" 2>/dev/null | awk '{ n += $1 } END { print n * 512 }'
}
is_within() {
    [ "$(taken)" -le $((3 * 1024 * 1024)) ]
}
wait_until 20 is_within
[ "$(status files_evicted)" -gt 5 ] || fail "$(status files_evicted) went"
unmount "$mnt"

#!/usr/bin/env bash
# A file that was looked at while it was here, and was evicted since, is one that
# is not here: of true size and time, with no holes, and cp copies its bytes.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=9M
blob=$store/hf/hub/models--a--m/blobs/$(oid a.bin)
mount_ready "$store" "$mnt"
cmp "$source/a.bin" "$files/a.bin"
wait_until 10 test -e "$blob"
unmount "$mnt"

mount_ready "$store" "$mnt" fetch=demand
before=$(stat -L -c '%s %Y %i' "$files/a.bin")
setfattr -n user.mlcachefs.evict -v 1 "$files/a.bin"
assert_absent "$blob"
"$python" - "$files/a.bin" <<'EOS'
import os, sys

fd = os.open(sys.argv[1], os.O_RDONLY)
assert os.lseek(fd, 0, os.SEEK_DATA) == 0
assert os.lseek(fd, 0, os.SEEK_HOLE) == os.fstat(fd).st_size == 9 << 20
os.lseek(fd, 0, os.SEEK_SET)
os.read(fd, 10)
assert os.fstat(fd).st_blocks > 0
EOS
assert_equal "what stat says" "$before" "$(stat -L -c '%s %Y %i' "$files/a.bin")"
cp "$files/a.bin" "$tmp/copy"
assert_same "$source/a.bin" "$tmp/copy"
unmount "$mnt"

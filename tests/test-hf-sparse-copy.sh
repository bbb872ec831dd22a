#!/usr/bin/env bash
# Copies that look for holes hold the bytes of files not yet fetched, or fetched
# in part; du shows the space used, and with --apparent-size what names promise.
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mkdir "$tmp/source"
for name in tar cp rsync part; do
    make_file "$tmp/source/$name.bin" 5M
done
start_origin "$tmp/origin"
commit=$(make_repo model org/name --from "$tmp/source" --lfs-over 100000)
mount_ready "$tmp/store" "$tmp/mnt" fetch=demand
snapshot=$tmp/mnt/hf/hub/models--org--name/snapshots/$commit

promised=$(du -sLB1 --apparent-size "$snapshot" | cut -f1)
[ "$promised" -ge 20971520 ] || fail "the names promise $promised bytes"
used=$(du -sLB1 "$snapshot" | cut -f1)
[ "$used" -lt 100000 ] || fail "nothing is fetched, and $used bytes are used"
for file in "$snapshot"/*; do
    [ "$(stat -Lc %b "$file")" -gt 0 ] || fail "$file has no blocks: a hole"
done

"$python" - "$snapshot/part.bin" <<'EOS'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
assert os.lseek(fd, 1000, os.SEEK_DATA) == 1000
assert os.lseek(fd, 1000, os.SEEK_HOLE) == size
for whence in os.SEEK_DATA, os.SEEK_HOLE:
    try:
        os.lseek(fd, size, whence)
        raise AssertionError("found something behind the end")
    except OSError as error:
        assert error.errno == 6
assert os.lseek(fd, -10, os.SEEK_END) == size - 10
os.pread(fd, 10, 0)
EOS
part=$(du -LB1 "$snapshot/part.bin" | cut -f1)
[ "$part" -gt 4096 ] || fail "what was fetched of it takes no space"
[ "$part" -le 5300000 ] || fail "a part takes $part bytes"
cp --sparse=auto "$snapshot/part.bin" "$tmp/copy"
assert_same "$tmp/copy" "$tmp/source/part.bin"

cp --sparse=auto "$snapshot/cp.bin" "$tmp/copy"
assert_same "$tmp/copy" "$tmp/source/cp.bin"
tar -C "$snapshot" -chSf "$tmp/tar" tar.bin
tar -C "$tmp" -xf "$tmp/tar"
assert_same "$tmp/tar.bin" "$tmp/source/tar.bin"
used=$(du -sLB1 "$snapshot" | cut -f1)
[ "$used" -ge 15000000 ] || fail "three are fetched, and $used bytes are used"

#!/usr/bin/env bash
# A folder of 20,000 files: ls -l, telldir and seekdir, and listings while names
# come and go; and what is known of names goes when the kernel forgets them.
# timeout: 180
. "${srcdir:-.}/tests/functions.sh"
requires_fuse

mount_ready "$tmp/store" "$tmp/mnt"
mkdir "$tmp/mnt/many" "$tmp/store/known"
"$python" - "$tmp/mnt/many" <<'EOS'
import ctypes, os, sys
top = sys.argv[1]
for number in range(20000):
    os.close(os.open(f"{top}/{number}", os.O_CREAT | os.O_WRONLY, 0o644))
names = {str(number) for number in range(20000)}
assert set(os.listdir(top)) == names

libc = ctypes.CDLL(None, use_errno=True)

class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_ushort),
                ("type", ctypes.c_ubyte), ("name", ctypes.c_char * 256)]

libc.opendir.restype = ctypes.c_void_p
libc.readdir.restype = ctypes.POINTER(Dirent)
libc.telldir.restype = ctypes.c_long
for function in libc.readdir, libc.telldir, libc.rewinddir, libc.closedir:
    function.argtypes = [ctypes.c_void_p]
libc.seekdir.argtypes = [ctypes.c_void_p, ctypes.c_long]
folder = libc.opendir(os.fsencode(top))

def rest():
    found = []
    while entry := libc.readdir(folder):
        found.append(entry.contents.name.decode())
    return found

for _ in range(7000):
    assert libc.readdir(folder)
place = libc.telldir(folder)
after = rest()
libc.seekdir(folder, place)
assert rest() == after
# Names that come and go elsewhere in it leave the others as they are.
libc.rewinddir(folder)
seen = [libc.readdir(folder).contents.name.decode() for _ in range(5000)]
for number in range(0, 20000, 2):
    os.unlink(f"{top}/{number}")
for number in range(1000):
    open(f"{top}/new{number}", "w").close()
seen += rest()
kept = {str(number) for number in range(1, 20000, 2)}
assert len(seen) == len(set(seen)), "a name came twice"
assert kept <= set(seen), "a name is missing"
libc.rewinddir(folder)
seen = set(rest()) - {".", ".."}
assert seen == kept | {f"new{number}" for number in range(1000)}
libc.closedir(folder)
EOS
ls -l "$tmp/mnt/many" >"$tmp/listing"
assert_equal "lines of ls -l" 11001 "$(wc -l <"$tmp/listing")"
rm -r "$tmp/mnt/many"

# A few hundred bytes a name, and none once it is forgotten.
[ "$(id -u)" = 0 ] && [ -w /proc/sys/vm/drop_caches ] || exit 0
[ -z "${MLC_WRAP:-}" ] && ! grep -q '__[at]san_init' "$MLCACHEFS" || exit 0
resident() { # KiB
    awk '/^VmRSS/ { print $2 }' "/proc/$(daemon_pid "$tmp/mnt")/status"
}
"$python" - "$tmp/store/known" <<'EOS'
import os, sys
for number in range(60000):
    os.close(os.open(f"{sys.argv[1]}/{number}", os.O_CREAT | os.O_WRONLY))
EOS
before=$(resident)
"$python" - "$tmp/mnt/known" <<'EOS'
import os, sys
for number in range(60000):
    os.stat(f"{sys.argv[1]}/{number}")
EOS
known=$(resident)
[ $(((known - before) * 1024 / 60000)) -lt 600 ] ||
    fail "$(((known - before) * 1024 / 60000)) bytes for a known name"
is_back() {
    echo 2 >/proc/sys/vm/drop_caches
    [ $(($(resident) - before)) -lt $(((known - before) / 3 + 2000)) ]
}
wait_until 20 is_back ||
    fail "of $before KiB, $known with all names, $(resident) are left"

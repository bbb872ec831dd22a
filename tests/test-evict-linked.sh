#!/usr/bin/env bash
# A blob that two repositories share by a hard link is evicted from both: else no
# byte of it would be freed.
. "${srcdir:-.}/tests/fetch.sh"

serve -- a.bin=3M
other=$(make_repo model b/m --from "$source" --lfs-over 1000)
others=$mnt/hf/hub/models--b--m/snapshots/$other
blob=models--a--m/blobs/$(oid a.bin)
hub=$store/hf/hub

# Wanted at both places while it comes, it is put at both.
mount_ready "$store" "$mnt"
exec 3<"$files/a.bin" 4<"$others/a.bin"
cmp "$source/a.bin" <(cat <&3)
cmp "$source/a.bin" <(cat <&4)
wait_until 10 test -e "$hub/$blob"
wait_until 10 test -e "$hub/models--b--m/blobs/$(oid a.bin)"
exec 3<&- 4<&-
assert_equal "names of the blob" 2 "$(stat -c %h "$hub/$blob")"
unmount "$mnt"

mount_ready "$store" "$mnt" max_size=1K
is_gone() {
    ! [ -e "$hub/$blob" ] && ! [ -e "$hub/models--b--m/blobs/$(oid a.bin)" ]
}
wait_until 10 is_gone
cmp "$source/a.bin" "$others/a.bin"
unmount "$mnt"

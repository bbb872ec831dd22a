#!/usr/bin/env bash
# A pasted URL is a file for everyday tools, and comes over the wire once.
# tap
# timeout: 300
. "${srcdir:-.}/tests/web.sh"
requires_command file sha256sum dd

mib=300
[ "${MLC_TEST_SLOWNESS:-1}" = 1 ] || mib=40
make_file "$served/d/big.bin" "${mib}M"
make_file "$served/d/some.bin" 700K
"$python" - "$served/d/cat.png" <<'EOS'
import struct, sys, zlib
def chunk(kind, data):
    return (struct.pack(">I", len(data)) + kind + data
            + struct.pack(">I", zlib.crc32(kind + data)))
with open(sys.argv[1], "wb") as f:
    f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"\0" * 72)) + chunk(b"IEND", b""))
EOS
mount_web

check_cp() {
    cp "$url/d/cat.png" "$tmp/copy.png"
    assert_same "$served/d/cat.png" "$tmp/copy.png"
}
check_ls() {
    assert_match "ls -l" ' 716800 .*some\.bin$' "$(ls -l "$url/d/some.bin")"
    assert_equal "ls of the host" d "$(ls "$url")"
    assert_match "ls of the directory" 'some\.bin' "$(ls "$url/d")"
    assert_equal "ls of web/" http: "$(ls "$mnt/web")"
}
check_parts() {
    head -c 1000 "$url/d/some.bin" | cmp - <(head -c 1000 "$served/d/some.bin")
    tail -c 1000 "$url/d/some.bin" | cmp - <(tail -c 1000 "$served/d/some.bin")
    dd if="$url/d/some.bin" bs=1000 skip=300 count=7 status=none |
        cmp - <(dd if="$served/d/some.bin" bs=1000 skip=300 count=7 status=none)
    # shellcheck disable=SC2002  # cat itself is what is tested
    cat "$url/d/some.bin" | cmp - "$served/d/some.bin"
}
check_file() {
    assert_match "file" 'PNG image data, 8 x 8' "$(file "$url/d/cat.png")"
}
check_sum() {
    assert_equal "sha256" "$(sha256sum <"$served/d/big.bin")" \
        "$(sha256sum <"$url/d/big.bin")"
}
check_traffic() {
    local sent
    sent=$(body_bytes --server web --path 'big\.bin')
    [ "$sent" -lt $(((mib << 20) * 11 / 10 + 4000000)) ] || fail "$sent bytes were sent"
}
run_case "ls" check_ls
run_case "cp" check_cp
run_case "cat, head, tail, dd with seek" check_parts
run_case "file" check_file
run_case "sha256sum of $mib MiB" check_sum
run_case "it came once" check_traffic
unmount "$mnt"
before=$(count_requests --server web)
mount_web
run_case "cp after a remount" check_cp
assert_same "$served/d/big.bin" "$url/d/big.bin"
assert_equal "requests after a remount" "$before" "$(count_requests --server web)"
unmount "$mnt"
end_cases

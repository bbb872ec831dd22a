/* SPDX-License-Identifier: MIT */
/* The map on disk: a header of one page, then 8 bytes per piece (the XXH3 of
 * its bytes, 0: absent).  A page and an aligned word are never written in part
 * by a pwrite, so that a killed daemon leaves them whole; a power cut may not,
 * but then the checksum, or the piece's hash, does not fit. */
#include "config.h"

#include "backends/cache/object_i.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "backends/util/cleanup.h"

#define MAP_HEAD     4096
#define MAP_FORMAT   1
#define MAP_KEY_MAX  2048
#define MAP_TEXT_MAX 3072 /* key and validator */

struct map_head {
    char magic[8];
    uint32_t format;
    uint32_t piece_size;
    uint64_t size;
    uint64_t checksum; /* XXH3 of the page with 0 here */
    uint32_t key_len;
    uint32_t validator_len;
    char text[MAP_HEAD - 40];
};

static const char map_magic[8] = "MLCOBJ\r\n";

_Static_assert(sizeof(struct map_head) == MAP_HEAD, "map head is one page");

static int
pwrite_all(int fd, const void *p, size_t len, uint64_t off)
{
    const char *c = p;

    while (len > 0) {
        ssize_t n = pwrite(fd, c, len, (off_t)off);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        c += n;
        len -= (size_t)n;
        off += (uint64_t)n;
    }
    return 0;
}

static off_t
entry_off(uint64_t index)
{
    return (off_t)(MAP_HEAD + index * 8);
}

int
mlc_map_write_head(int fd, const char *key, uint64_t size,
                   const char *validator)
{
    struct map_head h;
    size_t key_len = strlen(key), validator_len = strlen(validator);

    if (key_len > MAP_KEY_MAX || key_len + validator_len > MAP_TEXT_MAX)
        return -ENAMETOOLONG;
    memset(&h, 0, sizeof(h));
    memcpy(h.magic, map_magic, sizeof(h.magic));
    h.format = MAP_FORMAT;
    h.piece_size = (uint32_t)mlc_piece_size(size);
    h.size = size;
    h.key_len = (uint32_t)key_len;
    h.validator_len = (uint32_t)validator_len;
    memcpy(h.text, key, key_len);
    memcpy(h.text + key_len, validator, validator_len);
    h.checksum = XXH3_64bits(&h, sizeof(h));
    return pwrite_all(fd, &h, sizeof(h), 0);
}

int
mlc_map_read_head(int fd, const uint8_t *name, uint64_t *ret_size,
                  char **ret_key, char **ret_validator)
{
    mlc_autofree char *key = NULL;
    mlc_autofree char *validator = NULL;
    uint8_t key_name[MLC_NAME_LEN];
    struct map_head h;
    uint64_t checksum;
    ssize_t n;
    int r;

    n = pread(fd, &h, sizeof(h), 0);
    if (n < 0)
        return -errno;
    if (n != (ssize_t)sizeof(h) ||
        memcmp(h.magic, map_magic, sizeof(h.magic)) != 0)
        return -EBADMSG;
    checksum = h.checksum;
    h.checksum = 0;
    if (XXH3_64bits(&h, sizeof(h)) != checksum || h.format != MAP_FORMAT ||
        h.piece_size != mlc_piece_size(h.size) || h.key_len > MAP_KEY_MAX ||
        h.validator_len > MAP_TEXT_MAX - h.key_len)
        return -EBADMSG;
    key = strndup(h.text, h.key_len);
    if (!key)
        return -ENOMEM;
    r = mlc_key_name(key, key_name);
    if (r < 0)
        return r;
    if (memcmp(key_name, name, MLC_NAME_LEN) != 0)
        return -EBADMSG;
    validator = strndup(h.text + h.key_len, h.validator_len);
    if (!validator)
        return -ENOMEM;
    *ret_size = h.size;
    if (ret_key)
        *ret_key = mlc_steal(&key);
    if (ret_validator)
        *ret_validator = mlc_steal(&validator);
    return 0;
}

int
mlc_map_set(int fd, uint64_t index, const uint64_t *hashes, size_t n)
{
    return pwrite_all(fd, hashes, n * sizeof(hashes[0]),
                      (uint64_t)entry_off(index));
}

int
mlc_map_get(int fd, uint64_t index, uint64_t *ret_hashes, size_t n)
{
    ssize_t got =
        pread(fd, ret_hashes, n * sizeof(ret_hashes[0]), entry_off(index));

    if (got < 0)
        return -errno;
    for (size_t i = (size_t)got / sizeof(ret_hashes[0]); i < n; i++)
        ret_hashes[i] = 0;
    return 0;
}

int
mlc_map_load(int fd, uint64_t n_pieces, uint8_t *states)
{
    uint64_t words[1024], i = 0;

    while (i < n_pieces) {
        uint64_t left = n_pieces - i;
        size_t want = (left < 1024 ? (size_t)left : 1024) * 8;
        ssize_t n = pread(fd, words, want, entry_off(i));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n < 8)
            break;
        for (size_t k = 0; k < (size_t)n / 8; k++, i++)
            states[i] = words[k] ? MLC_PIECE_UNCHECKED : MLC_PIECE_ABSENT;
    }
    return 0;
}

int
mlc_map_clear(int fd, const char *key, uint64_t size)
{
    if (ftruncate(fd, MAP_HEAD) < 0)
        return -errno;
    return mlc_map_write_head(fd, key, size, "");
}

uint64_t
mlc_map_hash(uint64_t xxh3)
{
    return xxh3 ? xxh3 : 1;
}

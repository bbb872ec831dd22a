/* SPDX-License-Identifier: MIT */
/* Objects: the bytes of one remote file on disk, in pieces, until whole.
 *
 * A piece is the unit of what is there and of what is asked for.  Its size is
 * the object's own and follows from the object's size alone: a power of two,
 * about 1/262144 of it (mlc_piece_size()), so that who reads parts of a small
 * file gets little else, and the map of a large one stays small.
 * A span is what moves: consecutive pieces, at most one buffer of the budget
 * (MLC_BUFFER, budget.h), whatever the pieces' size.  A feed hands over a span,
 * which is written at once and goes into the digest from that buffer.  Feeds
 * that bring much cut the file at multiples of MLC_BUFFER.
 *
 * On disk, in the store's directory (".mlcachefs/objects/"): NAME.data, sparse,
 * and NAME.map: which pieces are there with the XXH3 of each, the key, size,
 * and the origin's validator; NAME is derived from the key.  An object of one
 * piece has no map.
 * Promise: a piece is believed only when its XXH3 fits (checked once after a
 * start of the daemon); the map never claims what the data file does not hold,
 * after any crash; nothing is synced before publish.  A file at its home name
 * is whole and, where a digest is known, verified.
 * The last span to arrive is given to nobody before the digest is checked.
 * After a mismatch the bytes are dropped: an object nothing of which was
 * given away yet is fetched once more; any other is dead (MLC_OBJECT_DEAD), its
 * open handles get -EIO, and the store makes a new object for the key.
 * Lifetime: reference-counted; the store outlives its objects.
 * Locks: a feed's own lock, then store.lock (level 3), then object.lock (4):
 * a feed may hold its lock while it asks mlc_object_has(), next_*(),
 * wanted_end(), is_open(), is_part() and progress_ms(), or what never changes
 * (sizes, spans), and must not in any other call.  Feed and wait functions are
 * called with none of them held.
 * Blocking: disk only; waiting is a mlc_wait (wait.h).
 */
#ifndef MLC_CACHE_OBJECT_H
#define MLC_CACHE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "backends/cache/budget.h"
#include "backends/cache/digest.h"
#include "backends/cache/wait.h"

struct mlc_evictor;
struct mlc_ledger;
struct mlc_pool;
struct mlc_store;
struct mlc_object;

#define MLC_SIZE_UNKNOWN UINT64_MAX
/* How a name ends that a file has beside its home for a moment, while it is put
 * there: no tool takes it for a whole file, and listings leave it out. */
#define MLC_PUBLISH_SUFFIX ".mlcachefs.tmp"

/* Where an object's bytes come from: HTTP (fetch.h), later an archive member
 * or a computed view.  All are called without locks, from any thread, and
 * must not block. */
struct mlc_feed_ops {
    /* A reader waits for piece 'index' (its want is registered): see to it
     * that it comes.  Called again for each want; cheap when on its way. */
    void (*want)(void *feed, struct mlc_object *obj, uint64_t index);
    /* The first open (true) or the last close (false): whether background
     * completion and streams that nobody waits for make sense.  A hint that
     * may come late: mlc_object_is_open() knows.  Also called with false when
     * the object dies and when the store stops. */
    void (*opened)(void *feed, struct mlc_object *obj, bool is_open);
    /* The object goes: stop, then free the feed.  Calls into obj may come
     * until then from the feed's side only through a reference it holds. */
    void (*free)(void *feed);
    /* mlc_object_put_span() may be tried again after -EAGAIN.  May be NULL. */
    void (*room)(void *feed, struct mlc_object *obj);
};

struct mlc_object_spec {
    const char *key;   /* unique for the content, e.g. "hf/ETAG"; copied */
    const char *label; /* for log lines: domain and path; copied */
    uint64_t size;     /* bytes; UNKNOWN comes with web/ */
    struct mlc_digest digest; /* kind NONE: length alone */
    uint64_t content; /* what look-up said in mlc_entry; 0: not of interest */
    /* Where the finished file goes: relpath below homefd (borrowed for the
     * store's life); copied.  Parents are made, an existing name replaced. */
    int homefd;
    const char *home;
    unsigned mode;    /* of the published file, umask applied */
    int64_t mtime_ms; /* likewise; what stat showed before; 0: as it comes */
    const struct mlc_feed_ops *feed_ops;
    void *feed; /* taken over if the object is new, else freed */
    /* Called on a SLOW pool thread each time when the file was put at home (r
     * == 0), or before mlc_store_unwant() could stop that (-ECANCELED: remove
     * it there), and when its digest was wrong (-EBADMSG).  May be NULL. */
    void (*published)(void *arg, const char *home, int r);
    void *published_arg; /* borrowed for the store's life */
};

enum mlc_object_state {
    MLC_OBJECT_PARTIAL,
    MLC_OBJECT_WHOLE, /* verified; published or about to be */
    MLC_OBJECT_DEAD,
};

struct mlc_store_stats {
    uint64_t n_objects, n_partial, partial_bytes;
    uint64_t published, digest_errors, bytes_fetched;
};

/* dirfd: the ".mlcachefs" directory, borrowed until mlc_store_close()
 * ("objects" is made below it; what is of no use there is removed).  evictor:
 * outlives the store; NULL: nothing is evicted. */
int mlc_store_open(int dirfd, struct mlc_pool *pool, struct mlc_budget *budget,
                   struct mlc_evictor *evictor, int64_t timeout_ms,
                   struct mlc_store **ret);
/* Which files at home this store has put there: every home is in it before it
 * has its name.  Lives as long as the store. */
struct mlc_ledger *mlc_store_ledger(const struct mlc_store *s);
/* Every waiter is woken and gets -EIO; no piece is written any more; digests
 * and syncs under way are given up at the next piece.  Before mlc_pool_stop.
 */
void mlc_store_stop(struct mlc_store *s);
/* Becomes true there: for long work on a SLOW thread, to give it up. */
const atomic_bool *mlc_store_stopping(const struct mlc_store *s);
/* After mlc_pool_stop, when all references are given back. */
void mlc_store_close(struct mlc_store *s);
void mlc_store_get_stats(struct mlc_store *s, struct mlc_store_stats *ret);

/* The object of that key, found or made; a reference for the caller.  If it
 * exists already, spec's home is added to its homes (the same content wanted
 * at another place: it is linked or copied there too) and the feed freed. */
int mlc_store_get(struct mlc_store *s, const struct mlc_object_spec *spec,
                  struct mlc_object **ret);
/* Bytes on disk of an unfinished object, 0 when there is none.  No disk. */
uint64_t mlc_store_present(struct mlc_store *s, const char *key);
/* Drops what is on disk of an unfinished object, or of one without a home; 0
 * also when there is none.  -EBUSY: it is open, or whole and on its way home.
 * If it is still being written after a close it dies, else it starts anew when
 * opened. */
int mlc_store_drop(struct mlc_store *s, const char *key);
/* Does not put the object at that home, until mlc_store_get() asks for it
 * anew; if no other home is left to it, drops it, or sees that it goes with its
 * last user where mlc_store_drop() says -EBUSY. */
void mlc_store_unwant(struct mlc_store *s, const char *key, int homefd,
                      const char *home);
/* At a start: drops what earlier runs left under keys that begin with prefix,
 * unless is_kept (called under store.lock) says that it is still of use. */
void mlc_store_prune(struct mlc_store *s, const char *prefix,
                     bool (*is_kept)(void *arg, const char *key), void *arg);

/* Of an object of so many bytes: a power of two from 256 to MLC_BUFFER; at
 * least its size, if that is at most MLC_BUFFER. */
size_t mlc_piece_size(uint64_t size);

struct mlc_object *mlc_object_ref(struct mlc_object *obj);
void mlc_object_unref(struct mlc_object *obj); /* takes NULL */

/* Counts handles: while there is one, the feed may complete the file. */
void mlc_object_open(struct mlc_object *obj);
void mlc_object_close(struct mlc_object *obj);
/* The same for who reads parts of it: exactly what such readers want is
 * fetched, no more. */
void mlc_object_open_part(struct mlc_object *obj);
void mlc_object_close_part(struct mlc_object *obj);

/* May [off, off+len) (cut at the size) be read from the fd now?  0: yes;
 * -EAGAIN: parked; the feed was told.  -EIO, -EACCES, -ETIMEDOUT,
 * -EHOSTUNREACH, -ENOSPC: the range failed less than a second ago; -EIO:
 * dead.  How long to go on asking is the caller's to decide (see
 * mlc_object_progress_ms). */
int mlc_object_want(struct mlc_object *obj, uint64_t off, size_t len,
                    struct mlc_ask *ask);
/* The data file; borrowed while the object is open.  Only ranges that
 * mlc_object_want() allowed may be read.  -1 before the first open, and for an
 * object of size 0. */
int mlc_object_fd(struct mlc_object *obj);
/* -EIO when somebody cut that file: read, it would end too early.  What is
 * unfinished is dropped then. */
int mlc_object_check_file(struct mlc_object *obj);
uint64_t mlc_object_size(const struct mlc_object *obj);
uint64_t mlc_object_present(struct mlc_object *obj); /* bytes on disk */
enum mlc_object_state mlc_object_get_state(struct mlc_object *obj);
bool mlc_object_is_published(struct mlc_object *obj);
/* Monotonic time of the last byte that arrived (or of creation). */
int64_t mlc_object_progress_ms(struct mlc_object *obj);
/* dev and ino of the data file, which keeps them when it is published (unless
 * its home is on another file system); 0, 0 while mlc_object_fd() is -1. */
void mlc_object_file_id(const struct mlc_object *obj, dev_t *ret_dev,
                        ino_t *ret_ino);
const char *mlc_object_label(const struct mlc_object *obj);
uint64_t mlc_object_content(const struct mlc_object *obj);

/* --- the feed's side ------------------------------------------------- */

/* Is it open (as a whole), unfinished, and its store not stopped? */
bool mlc_object_is_open(struct mlc_object *obj);
/* Does nobody have it open as a whole: is what is wanted all that is to come?
 */
bool mlc_object_is_part(struct mlc_object *obj);
uint64_t mlc_object_n_pieces(const struct mlc_object *obj);
size_t mlc_object_piece_size(const struct mlc_object *obj);
/* The bytes of the pieces [from, to). */
uint64_t mlc_object_span_len(const struct mlc_object *obj, uint64_t from,
                             uint64_t to);
/* Where a span that begins at a piece best ends: at the next multiple of
 * MLC_BUFFER, or at the object's end. */
uint64_t mlc_object_span_end(const struct mlc_object *obj, uint64_t from);
/* Is piece index on disk, or handed over and on its way there? */
bool mlc_object_has(struct mlc_object *obj, uint64_t index);
/* First piece >= from that is missing; n_pieces if none. */
uint64_t mlc_object_next_missing(struct mlc_object *obj, uint64_t from);
/* First piece of [from, to) that is there, or handed over; 'to' if none. */
uint64_t mlc_object_next_present(struct mlc_object *obj, uint64_t from,
                                 uint64_t to);
/* Does a live reader wait for a missing piece in [from, to)?  The first one's
 * index, or UINT64_MAX. */
uint64_t mlc_object_next_wanted(struct mlc_object *obj, uint64_t from,
                                uint64_t to);
/* Live readers wait for piece 'from': where what they wait for from there on
 * ends, 'to' at the latest. */
uint64_t mlc_object_wanted_end(struct mlc_object *obj, uint64_t from,
                               uint64_t to);
/* A byte arrived (not yet a piece): for deadlines. */
void mlc_object_touch(struct mlc_object *obj);
/* Hands over whole pieces from 'index' on (the object's last one may be short),
 * len bytes in a buffer from the budget; written and hashed on the pool.  What
 * of them is there already stays as it is.  0: taken, needed or not; -EAGAIN:
 * not taken, too many are queued for this object, or the same (the feed pauses
 * and is told by ops->room); another errno: not taken, writing has just failed
 * (-ENOSPC): stop until the next want. */
int mlc_object_put_span(struct mlc_object *obj, uint64_t index, void *buffer,
                        size_t len);
/* What is missing of the pieces [from, to) could not be had: its waiters get r
 * now, and so does everybody who asks within the next second. */
void mlc_object_fail(struct mlc_object *obj, uint64_t from, uint64_t to, int r);
/* The origin's content is not what the size or validator says: the object is
 * dead, partial bytes are dropped, waiters get -EIO. */
void mlc_object_kill(struct mlc_object *obj);
/* The validator that the object's bytes belong to.  0 (also for one that is too
 * long to be kept); -ESTALE: another one is recorded, and pieces are there, or
 * the caller has a part of one (has_bytes); -ENOMEM, or what writing the map
 * failed with. */
int mlc_object_set_validator(struct mlc_object *obj, const char *validator,
                             bool has_bytes);

#endif

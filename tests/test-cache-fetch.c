/* SPDX-License-Identifier: MIT */
/* Objects fed over HTTP by a scripted server, with its faults. */
#include "config.h"

#include "backends/cache/fetch.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/util/clock.h"
#include "tests/http-server.h"
#include "tests/object-reader.h"

#define SIZE    (13 * MLC_BUFFER + 4321)
#define PIECE   ((size_t)256) /* of a file of that size */
#define TIMEOUT 4000

struct fixture {
    struct bench bench;
    struct mlc_net *net;
    struct mlc_fetch_conf conf;
    struct http_server *server;
    uint8_t *bytes;
    size_t size;
    bool (*answer)(struct fixture *f, struct http_call *c, uint64_t from,
                   uint64_t to);
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t sent;    /* lock; body bytes */
    unsigned n_calls; /* lock; that came to 'answer' */
    unsigned n_gone;  /* lock; connections closed by the client */
    unsigned limit;   /* the answer's own */
    struct mlc_fetch_spec spec;
    char url[128];
};

/* --- the server ---------------------------------------------------------- */

static void
send_part(struct fixture *f, struct http_call *c, uint64_t from, uint64_t to)
{
    pthread_mutex_lock(&f->lock);
    f->sent += to - from;
    pthread_mutex_unlock(&f->lock);
    http_send_bytes(c, f->bytes + from, (size_t)(to - from));
}

static void
send_head(struct fixture *f, struct http_call *c, uint64_t from, uint64_t to,
          const char *more)
{
    if (http_has_header(c, "Range"))
        http_send(c,
                  "HTTP/1.1 206 Partial Content\r\n"
                  "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%zu\r\n"
                  "Content-Length: %" PRIu64 "\r\n%s\r\n",
                  from, to - 1, f->size, to - from, more);
    else
        http_send(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n%s\r\n",
                  f->size, more);
}

static bool
answer_well(struct fixture *f, struct http_call *c, uint64_t from, uint64_t to)
{
    send_head(f, c, from, to, "");
    send_part(f, c, from, to);
    return true;
}

static bool
handle(struct http_call *c)
{
    struct fixture *f = c->arg;
    uint64_t from = 0, to = f->size;
    const char *range = strcasestr(c->raw, "\r\nRange: bytes=");

    if (range && sscanf(range + 15, "%" SCNu64 "-%" SCNu64, &from, &to) == 2)
        to++;
    pthread_mutex_lock(&f->lock);
    f->n_calls++;
    pthread_mutex_unlock(&f->lock);
    return f->answer(f, c, from, to);
}

/* Which call to 'answer' is it, from 1? */
static unsigned
call_number(struct fixture *f)
{
    unsigned n;

    pthread_mutex_lock(&f->lock);
    n = f->n_calls;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static bool
hang(struct fixture *f, struct http_call *c)
{
    http_wait_gone(c);
    pthread_mutex_lock(&f->lock);
    f->n_gone++;
    pthread_cond_broadcast(&f->cond);
    pthread_mutex_unlock(&f->lock);
    return false;
}

/* --- the fixture --------------------------------------------------------- */

static void
on_budget_free(void *arg)
{
    mlc_net_resume_all(arg);
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    bench_init(&f->bench, 64 * MLC_BUFFER);
    f->size = SIZE;
    f->bytes = make_bytes(f->size, 3);
    f->answer = answer_well;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->cond, NULL);
    f->server = http_server_new(handle, f);
    if (mlc_net_new(&f->net) < 0)
        return -1;
    mlc_budget_on_free(f->bench.budget, on_budget_free, f->net);
    f->conf = (struct mlc_fetch_conf){
        .net = f->net,
        .pool = f->bench.pool,
        .budget = f->bench.budget,
        .timeout_ms = TIMEOUT,
        .max_connections = 4,
        .is_whole = true,
    };
    snprintf(f->url, sizeof(f->url), "%s/file", http_server_url(f->server));
    f->spec.url = f->url;
    f->spec.label = "test: file";
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_net_stop(f->net);
    bench_stop(&f->bench);
    http_server_free(f->server);
    mlc_net_free(f->net);
    bench_done(&f->bench);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->cond);
    free(f->bytes);
    free(f);
    return 0;
}

static struct mlc_object *
get_closed(struct fixture *f)
{
    struct mlc_object *obj = NULL;
    struct mlc_object_spec spec = {
        .key = "test/file",
        .label = "test: file",
        .size = f->size,
        .digest = sha256_of(f->bytes, f->size),
        .homefd = f->bench.dirfd,
        .home = "home/file",
        .mode = 0644,
        .feed_ops = &mlc_fetch_ops,
        .published = bench_published,
        .published_arg = &f->bench,
    };

    assert_int_equal(mlc_fetch_new(&f->conf, &f->spec, &spec.feed), 0);
    assert_int_equal(mlc_store_get(f->bench.store, &spec, &obj), 0);
    return obj;
}

static struct mlc_object *
get_object(struct fixture *f)
{
    struct mlc_object *obj = get_closed(f);

    mlc_object_open(obj);
    return obj;
}

static struct mlc_object *
get_part(struct fixture *f)
{
    struct mlc_object *obj = get_closed(f);

    mlc_object_open_part(obj);
    return obj;
}

static void
put_away(struct mlc_object *obj)
{
    mlc_object_close(obj);
    mlc_object_unref(obj);
}

/* Everything is right in the end, and at home. */
static void
expect_right(struct fixture *f)
{
    struct mlc_object *obj = get_object(f);

    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), 0);
    bench_wait_published(&f->bench, 1);
    assert_true(bench_file_is(&f->bench, "home/file", f->bytes, f->size));
    put_away(obj);
}

/* A reader gets r, and nothing stays. */
static void
expect_error(struct fixture *f, int r)
{
    struct mlc_object *obj = get_object(f);
    int64_t start = mlc_mono_ms();

    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), r);
    assert_true(mlc_mono_ms() - start < TIMEOUT + 2000);
    put_away(obj);
    assert_int_equal(bench_count(&f->bench, "home"), 0);
}

/* --- what goes well ------------------------------------------------------ */

static void
file_comes_in_one_transfer(void **state)
{
    struct fixture *f = *state;

    expect_right(f);
    assert_int_equal(f->sent, f->size);
    assert_int_equal(f->n_calls, 1);
}

static void
small_file_is_asked_for_without_a_range(void **state)
{
    struct fixture *f = *state;

    f->size = 1000;
    expect_right(f);
    assert_int_equal(f->sent, 1000);
}

struct reader {
    struct mlc_object *obj;
    const uint8_t *bytes;
    pthread_t thread;
    int r;
};

static void *
reader_main(void *arg)
{
    struct reader *a = arg;

    a->r = compare_object(a->obj, a->bytes, 0, 128 * 1024);
    return NULL;
}

static void
sixty_four_readers_cause_one_transfer(void **state)
{
    struct fixture *f = *state;
    struct reader readers[64];
    struct mlc_object *obj;

    obj = get_object(f);
    for (size_t i = 0; i < 64; i++) {
        readers[i].obj = obj;
        readers[i].bytes = f->bytes;
        assert_int_equal(
            pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]),
            0);
    }
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(pthread_join(readers[i].thread, NULL), 0);
        assert_int_equal(readers[i].r, 0);
    }
    bench_wait_published(&f->bench, 1);
    put_away(obj);
    assert_int_equal(f->sent, f->size);
}

/* The head of the file and then nothing more; other ranges well. */
static bool
answer_head_then_hang(struct fixture *f, struct http_call *c, uint64_t from,
                      uint64_t to)
{
    if (from > 0)
        return answer_well(f, c, from, to);
    send_head(f, c, from, to, "");
    send_part(f, c, from, MLC_BUFFER);
    return hang(f, c);
}

static void
seek_gets_a_stream_of_its_own(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[100];

    f->size = 100 * MLC_BUFFER;
    free(f->bytes);
    f->bytes = make_bytes(f->size, 5);
    f->answer = answer_head_then_hang;
    obj = get_object(f);
    assert_int_equal(read_object(obj, 0, buf, 100), 0);
    assert_int_equal(read_object(obj, f->size - 100, buf, 100), 0);
    assert_memory_equal(buf, f->bytes + f->size - 100, 100);
    put_away(obj);
}

static void
last_close_ends_the_transfer(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[100];

    f->answer = answer_head_then_hang;
    obj = get_object(f);
    assert_int_equal(read_object(obj, 0, buf, 100), 0);
    mlc_object_close(obj);
    pthread_mutex_lock(&f->lock);
    while (f->n_gone == 0)
        pthread_cond_wait(&f->cond, &f->lock);
    pthread_mutex_unlock(&f->lock);
    /* Reopened, it goes on. */
    f->answer = answer_well;
    mlc_object_open(obj);
    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
demand_brings_little_more_than_is_read(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[100];

    f->conf.is_whole = false;
    obj = get_object(f);
    assert_int_equal(read_object(obj, 7 * MLC_BUFFER, buf, 100), 0);
    assert_memory_equal(buf, f->bytes + 7 * MLC_BUFFER, 100);
    assert_true(f->sent <= 2 * MLC_BUFFER);
    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), 0);
    assert_int_equal(f->sent, f->size);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
small_budget_is_enough(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    void *taken[62];

    /* Two pieces are left for the transfer. */
    for (size_t i = 0; i < 62; i++)
        taken[i] = mlc_budget_take_buffer(f->bench.budget);
    obj = get_object(f);
    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), 0);
    for (size_t i = 0; i < 62; i++)
        mlc_budget_give_buffer(f->bench.budget, taken[i]);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

static void
put_part_away(struct mlc_object *obj)
{
    mlc_object_close_part(obj);
    mlc_object_unref(obj);
}

/* Is [off, off+len) right, and did just so many bytes come for it? */
static void
expect_part(struct fixture *f, struct mlc_object *obj, uint64_t off, size_t len,
            uint64_t sent)
{
    uint8_t *buf = malloc(len);

    assert_non_null(buf);
    pthread_mutex_lock(&f->lock);
    f->sent = 0;
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(read_object(obj, off, buf, len), 0);
    assert_memory_equal(buf, f->bytes + off, len);
    free(buf);
    assert_int_equal(f->sent, sent);
}

static void
parts_are_brought_to_the_piece(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj = get_part(f);

    expect_part(f, obj, 1000 * PIECE, 1, PIECE);
    expect_part(f, obj, 2000 * PIECE - 1, 2, 2 * PIECE);
    /* Up to what is there, and over the ends of buffers. */
    expect_part(f, obj, 990 * PIECE, 11 * PIECE, 10 * PIECE);
    expect_part(f, obj, 1023 * PIECE, 500 * PIECE, 500 * PIECE);
    expect_part(f, obj, SIZE - 1, 1, SIZE % PIECE);
    expect_part(f, obj, 1000 * PIECE, 1, 0);
    put_part_away(obj);
    /* The rest, and only that, comes for who reads it as a whole. */
    f->sent = 0;
    expect_right(f);
    assert_int_equal(f->sent, SIZE - 513 * PIECE - SIZE % PIECE);
}

#define HEAD_LEN (100 * PIECE + 7)

static char *
give_head(void *arg, uint64_t content, size_t *ret_len)
{
    char *head = malloc(HEAD_LEN);

    assert_non_null(head);
    memcpy(head, ((struct fixture *)arg)->bytes, HEAD_LEN);
    *ret_len = HEAD_LEN;
    return head;
}

static void
known_head_is_not_asked_for(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;

    f->spec.get_head = give_head;
    f->spec.arg = f;
    obj = get_part(f);
    /* One answer must say that the file is still the same. */
    expect_part(f, obj, 0, 8, PIECE - 7);
    expect_part(f, obj, 1, HEAD_LEN, 0);
    put_part_away(obj);
    f->sent = 0;
    expect_right(f);
    assert_int_equal(f->sent, SIZE - 101 * PIECE);
}

/* --- faults that pass ---------------------------------------------------- */

static bool
answer_after_three_500(struct fixture *f, struct http_call *c, uint64_t from,
                       uint64_t to)
{
    if (call_number(f) > 3)
        return answer_well(f, c, from, to);
    http_answer(c, 500, "", "broken");
    return true;
}

static void
three_500_are_survived(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_after_three_500;
    expect_right(f);
    assert_int_equal(f->n_calls, 4);
}

static bool
answer_after_429(struct fixture *f, struct http_call *c, uint64_t from,
                 uint64_t to)
{
    if (call_number(f) > 1)
        return answer_well(f, c, from, to);
    http_answer(c, 429, "Retry-After: 1\r\n", "slow down");
    return true;
}

static void
retry_after_is_honoured(void **state)
{
    struct fixture *f = *state;
    int64_t start = mlc_mono_ms();

    f->answer = answer_after_429;
    expect_right(f);
    assert_true(mlc_mono_ms() - start >= 1000);
    assert_int_equal(f->n_calls, 2);
}

/* Ends in the middle of a piece, each time a bit further. */
static bool
answer_cut(struct fixture *f, struct http_call *c, uint64_t from, uint64_t to)
{
    send_head(f, c, from, to, "");
    if (call_number(f) > 3) {
        send_part(f, c, from, to);
        return true;
    }
    send_part(f, c, from, from + 100001);
    return false;
}

static void
cut_answer_is_continued_where_it_ended(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_cut;
    expect_right(f);
    assert_int_equal(f->sent, f->size);
}

/* Then it hangs, for good. */
static bool
answer_cut_then_hang(struct fixture *f, struct http_call *c, uint64_t from,
                     uint64_t to)
{
    if (call_number(f) > 1)
        return hang(f, c);
    send_head(f, c, from, to, "");
    send_part(f, c, from, from + 100001);
    return false;
}

static void
whole_pieces_of_a_cut_answer_are_there(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[1000];

    f->answer = answer_cut_then_hang;
    obj = get_object(f);
    assert_int_equal(read_object(obj, 99000, buf, 800), 0);
    assert_memory_equal(buf, f->bytes + 99000, 800);
    assert_int_equal(mlc_object_present(obj), 100001 / PIECE * PIECE);
    put_away(obj);
}

static bool
answer_stall_once(struct fixture *f, struct http_call *c, uint64_t from,
                  uint64_t to)
{
    if (call_number(f) > 1)
        return answer_well(f, c, from, to);
    send_head(f, c, from, to, "");
    send_part(f, c, from, from + MLC_BUFFER + 7);
    return hang(f, c);
}

static void
stalled_answer_is_asked_for_anew(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_stall_once;
    expect_right(f);
    assert_int_equal(f->sent, f->size);
}

static bool
answer_without_ranges(struct fixture *f, struct http_call *c, uint64_t from,
                      uint64_t to)
{
    http_send(c, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", f->size);
    send_part(f, c, 0, f->size);
    return true;
}

static void
ignored_range_is_never_put_at_the_wrong_place(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;
    uint8_t buf[100];

    f->answer = answer_without_ranges;
    f->conf.is_whole = false; /* so that it begins in the middle */
    obj = get_object(f);
    assert_int_equal(read_object(obj, 9 * MLC_BUFFER, buf, 100), 0);
    assert_memory_equal(buf, f->bytes + 9 * MLC_BUFFER, 100);
    assert_int_equal(compare_object(obj, f->bytes, 0, 100000), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

/* "/file" leads to "/cdn?N"; only the newest N is good, and only for a while.
 */
static bool
answer_expiring(struct fixture *f, struct http_call *c, uint64_t from,
                uint64_t to)
{
    unsigned n = 0;

    if (!strcmp(c->path, "/file")) {
        pthread_mutex_lock(&f->lock);
        n = ++f->limit;
        pthread_mutex_unlock(&f->lock);
        http_send(c,
                  "HTTP/1.1 302 X\r\nLocation: /cdn?%u\r\n"
                  "Content-Length: 0\r\n\r\n",
                  n);
        return true;
    }
    sscanf(c->path, "/cdn?%u", &n);
    pthread_mutex_lock(&f->lock);
    if (n == f->limit && n < 3 && to - from > 3 * MLC_BUFFER) {
        to = from + 3 * MLC_BUFFER; /* then it has expired */
        f->limit++;
    } else if (n != f->limit) {
        n = 0;
    }
    pthread_mutex_unlock(&f->lock);
    if (n == 0) {
        http_answer(c, 403, "", "expired");
        return true;
    }
    send_head(f, c, from, f->size, "");
    send_part(f, c, from, to);
    return to == f->size;
}

static void
expired_target_is_resolved_anew(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_expiring;
    expect_right(f);
    assert_int_equal(f->sent, f->size);
}

static bool
answer_flipped_once(struct fixture *f, struct http_call *c, uint64_t from,
                    uint64_t to)
{
    char byte;

    if (call_number(f) > 1)
        return answer_well(f, c, from, to);
    send_head(f, c, from, to, "");
    send_part(f, c, from, from + 500);
    byte = (char)(f->bytes[from + 500] ^ 4);
    http_send_bytes(c, &byte, 1);
    send_part(f, c, from + 501, to);
    return true;
}

static void
flipped_byte_is_fetched_again_or_an_error(void **state)
{
    struct fixture *f = *state;
    struct mlc_object *obj;

    f->answer = answer_flipped_once;
    obj = get_object(f);
    assert_int_equal(compare_object(obj, f->bytes, 0, f->size), 0);
    bench_wait_published(&f->bench, 1);
    put_away(obj);
}

/* --- faults that stay ---------------------------------------------------- */

static bool
answer_flipped_always(struct fixture *f, struct http_call *c, uint64_t from,
                      uint64_t to)
{
    send_head(f, c, from, to, "");
    send_part(f, c, from, to - 1);
    http_send(c, "%c", f->bytes[to - 1] ^ 1);
    return true;
}

static void
wrong_bytes_are_an_error_and_leave_nothing(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_flipped_always;
    expect_error(f, -EIO);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
}

static bool
answer_other_range(struct fixture *f, struct http_call *c, uint64_t from,
                   uint64_t to)
{
    http_send(c,
              "HTTP/1.1 206 X\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
              "/%zu\r\nContent-Length: %" PRIu64 "\r\n\r\n",
              from + 1, to - 1, f->size, to - from - 1);
    send_part(f, c, from + 1, to);
    return false;
}

static void
wrong_content_range_is_an_error(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_other_range;
    expect_error(f, -EIO);
    assert_int_equal(f->n_calls, 3);
}

static bool
answer_other_length(struct fixture *f, struct http_call *c, uint64_t from,
                    uint64_t to)
{
    http_send(c, "HTTP/1.1 200 X\r\nContent-Length: %zu\r\n\r\n", f->size + 1);
    send_part(f, c, 0, f->size);
    return false;
}

static void
another_length_is_an_error(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_other_length;
    expect_error(f, -EIO);
    assert_int_equal(f->n_calls, 1);
}

static bool
answer_nothing(struct fixture *f, struct http_call *c, uint64_t from,
               uint64_t to)
{
    return hang(f, c);
}

static void
silence_is_a_timeout(void **state)
{
    struct fixture *f = *state;

    f->conf.timeout_ms = 1000;
    f->answer = answer_nothing;
    expect_error(f, -ETIMEDOUT);
}

static void
refused_connection_is_an_error(void **state)
{
    struct fixture *f = *state;

    f->conf.timeout_ms = 1000;
    f->spec.url = "http://127.0.0.1:1/file";
    expect_error(f, -EIO);
}

static bool
answer_404(struct fixture *f, struct http_call *c, uint64_t from, uint64_t to)
{
    http_answer(c, 404, "X-Error-Code: EntryNotFound\r\n", "no");
    return true;
}

static int
map_404(int status, const char *error_code)
{
    if (status == 404 && error_code && !strcmp(error_code, "EntryNotFound"))
        return -ESTALE;
    return -EIO;
}

static void
status_is_mapped_as_the_backend_says(void **state)
{
    struct fixture *f = *state;

    f->answer = answer_404;
    f->spec.map_status = map_404;
    expect_error(f, -ESTALE);
    assert_int_equal(f->n_calls, 1);
}

static bool
answer_changing(struct fixture *f, struct http_call *c, uint64_t from,
                uint64_t to)
{
    if (call_number(f) > 1) {
        send_head(f, c, from, to, "ETag: \"new\"\r\n");
        send_part(f, c, from, to);
        return true;
    }
    send_head(f, c, from, to, "ETag: \"old\"\r\n");
    send_part(f, c, from, from + 4 * MLC_BUFFER + 5);
    return false;
}

static void
changed_validator_is_an_error_and_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    f->spec.check_validator = true;
    f->answer = answer_changing;
    expect_error(f, -EIO);
    assert_int_equal(bench_count(&f->bench, "objects"), 0);
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(file_comes_in_one_transfer),
        T(small_file_is_asked_for_without_a_range),
        T(sixty_four_readers_cause_one_transfer),
        T(seek_gets_a_stream_of_its_own),
        T(last_close_ends_the_transfer),
        T(demand_brings_little_more_than_is_read),
        T(small_budget_is_enough),
        T(parts_are_brought_to_the_piece),
        T(known_head_is_not_asked_for),
        T(three_500_are_survived),
        T(retry_after_is_honoured),
        T(cut_answer_is_continued_where_it_ended),
        T(whole_pieces_of_a_cut_answer_are_there),
        T(stalled_answer_is_asked_for_anew),
        T(ignored_range_is_never_put_at_the_wrong_place),
        T(expired_target_is_resolved_anew),
        T(flipped_byte_is_fetched_again_or_an_error),
        T(wrong_bytes_are_an_error_and_leave_nothing),
        T(wrong_content_range_is_an_error),
        T(another_length_is_an_error),
        T(silence_is_a_timeout),
        T(refused_connection_is_an_error),
        T(status_is_mapped_as_the_backend_says),
        T(changed_validator_is_an_error_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Buffers, and the two small modules without a test file of their own: the
 * log's lines and the clock. */
#include "config.h"

#include "backends/util/buf.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/util/clock.h"
#include "backends/util/log.h"

static void
buf_is_a_string_after_append(void **state)
{
    struct mlc_buf b;

    mlc_buf_init(&b, 1000);
    assert_null(b.data);
    assert_int_equal(mlc_buf_append(&b, "ab\0c", 4), 0);
    assert_int_equal(mlc_buf_puts(&b, "de"), 0);
    assert_int_equal(mlc_buf_printf(&b, "%d-%s", 42, "x"), 0);
    assert_int_equal(b.len, 10);
    assert_memory_equal(b.data, "ab\0cde42-x", 11);
    mlc_buf_done(&b);
    assert_null(b.data);
}

static void
buf_keeps_to_its_maximum(void **state)
{
    struct mlc_buf b;

    mlc_buf_init(&b, 5);
    assert_int_equal(mlc_buf_puts(&b, "12345"), 0);
    assert_int_equal(mlc_buf_append(&b, "", 0), 0);
    assert_int_equal(mlc_buf_puts(&b, "6"), -EFBIG);
    assert_int_equal(b.len, 0);
    assert_null(b.data);
    assert_int_equal(mlc_buf_printf(&b, "%06d", 1), -EFBIG);
    assert_int_equal(mlc_buf_append(&b, "x", SIZE_MAX), -EFBIG);
    assert_int_equal(mlc_buf_puts(&b, "again"), 0);
    assert_string_equal(b.data, "again");
    mlc_buf_done(&b);
}

static void
buf_grows_over_many_appends(void **state)
{
    struct mlc_buf b;

    mlc_buf_init(&b, SIZE_MAX);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(mlc_buf_append(&b, "0123456789", 10), 0);
    assert_int_equal(b.len, 1000000);
    assert_memory_equal(b.data + 999990, "0123456789", 11);
    mlc_buf_done(&b);
}

static void
buf_take_hands_over(void **state)
{
    struct mlc_buf b;
    size_t len = 9;
    char *data;

    mlc_buf_init(&b, 10);
    assert_null(mlc_buf_take(&b, &len));
    assert_int_equal(len, 0);
    mlc_buf_puts(&b, "abc");
    data = mlc_buf_take(&b, &len);
    assert_string_equal(data, "abc");
    assert_int_equal(len, 3);
    assert_int_equal(b.len, 0);
    assert_int_equal(mlc_buf_puts(&b, "next"), 0);
    assert_string_equal(b.data, "next");
    free(data);
    mlc_buf_done(&b);
}

/* A pipe as the log's sink, read back by read_log(). */
static int log_pipe[2];

static int
open_log(void **state)
{
    if (pipe2(log_pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    mlc_log_to_fd(log_pipe[1], false);
    return 0;
}

static int
close_log(void **state)
{
    mlc_log_to_fd(-1, false);
    mlc_log_set_debug(false);
    close(log_pipe[0]);
    close(log_pipe[1]);
    return 0;
}

static const char *
read_log(char *buf, size_t size)
{
    ssize_t n = read(log_pipe[0], buf, size - 1);

    buf[n > 0 ? n : 0] = '\0';
    return buf;
}

static void
log_err_names_itself_and_returns_r(void **state)
{
    char buf[8192];

    assert_int_equal(mlc_log_err(-EIO, "web/x: %d", 5), -EIO);
    assert_string_equal(read_log(buf, sizeof(buf)),
                        "mlcachefs: error: web/x: 5\n");
    mlc_warn("w\n");
    mlc_info("i");
    assert_string_equal(read_log(buf, sizeof(buf)),
                        "mlcachefs: warning: w\nmlcachefs: i\n");
}

static void
log_shows_and_keeps_errno(void **state)
{
    char buf[8192];

    mlc_log_to_fd(log_pipe[1], true);
    errno = ENOSPC;
    mlc_warn("%m");
    assert_int_equal(errno, ENOSPC);
    assert_non_null(
        strstr(read_log(buf, sizeof(buf)), "No space left on device\n"));
}

static void
log_stamp_is_utc_now(void **state)
{
    char buf[8192], want[32];
    time_t before, after;
    struct tm tm;

    mlc_log_to_fd(log_pipe[1], true);
    do { /* again if the second turned over meanwhile */
        before = time(NULL);
        mlc_info("x");
        after = time(NULL);
        read_log(buf, sizeof(buf));
    } while (before != after);
    gmtime_r(&before, &tm);
    strftime(want, sizeof(want), "%Y-%m-%dT%H:%M:%S.", &tm);
    assert_memory_equal(buf, want, strlen(want));
    assert_string_equal(buf + strlen(want) + 3, "Z mlcachefs: x\n");
}

static void
log_masks_control_bytes(void **state)
{
    char buf[8192];

    mlc_warn("%s", "a\nmlcachefs: error: forged\x1b[2J");
    assert_string_equal(read_log(buf, sizeof(buf)),
                        "mlcachefs: warning: a?mlcachefs: error: forged?[2J\n");
}

static void
log_cuts_long_lines(void **state)
{
    char buf[8192], text[6000];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    mlc_warn("%s", text);
    read_log(buf, sizeof(buf));
    assert_true(strlen(buf) <= 4096 && strlen(buf) > 4000);
    assert_string_equal(buf + strlen(buf) - 5, "x...\n");
}

static void
log_debug_only_when_asked(void **state)
{
    char buf[8192];

    mlc_debug("net", "hidden");
    mlc_log_set_debug(true);
    mlc_debug("net", "shown");
    assert_string_equal(read_log(buf, sizeof(buf)),
                        "mlcachefs: debug: net: shown\n");
}

static void
clock_follows_its_file(void **state)
{
    char path[] = "/tmp/mlc-test-clock-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(mlc_clock_use_file(path), 0);
    assert_true(mlc_real_ms() > INT64_C(1500000000000)); /* still empty */
    assert_int_equal(pwrite(fd, "1000000\n", 8, 0), 8);
    assert_true(mlc_real_ms() == 1000000000);
    assert_int_equal(pwrite(fd, "12.25\n\n\n", 8, 0), 8);
    assert_true(mlc_real_ms() == 12250);
    assert_int_equal(mlc_clock_use_file(NULL), 0);
    assert_true(mlc_real_ms() > INT64_C(1500000000000));
    close(fd);
    unlink(path);
}

static void
clock_deadlines_do_not_overflow(void **state)
{
    struct timespec now, ts;

    clock_gettime(CLOCK_MONOTONIC, &now);
    ts = mlc_mono_after(MLC_NEVER_MS);
    assert_true(ts.tv_sec > now.tv_sec + 86400 * 365);
    ts = mlc_mono_after(INT64_MIN);
    assert_true(ts.tv_sec >= now.tv_sec && ts.tv_sec < now.tv_sec + 60);
    ts = mlc_mono_after(1999);
    assert_true(ts.tv_nsec >= 0 && ts.tv_nsec < 1000000000);
}

static void
clock_condition_waits_on_the_monotonic_clock(void **state)
{
    pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    pthread_cond_t cond;
    struct timespec until;
    int64_t start = mlc_mono_ms();
    int r = 0;

    assert_int_equal(mlc_cond_init(&cond), 0);
    until = mlc_mono_after(20);
    pthread_mutex_lock(&lock);
    while (r == 0)
        r = pthread_cond_timedwait(&cond, &lock, &until);
    pthread_mutex_unlock(&lock);
    assert_int_equal(r, ETIMEDOUT);
    assert_true(mlc_mono_ms() - start >= 19);
    pthread_cond_destroy(&cond);
}

int
main(void)
{
#define LOG_TEST(f) cmocka_unit_test_setup_teardown(f, open_log, close_log)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buf_is_a_string_after_append),
        cmocka_unit_test(buf_keeps_to_its_maximum),
        cmocka_unit_test(buf_grows_over_many_appends),
        cmocka_unit_test(buf_take_hands_over),
        LOG_TEST(log_err_names_itself_and_returns_r),
        LOG_TEST(log_shows_and_keeps_errno),
        LOG_TEST(log_stamp_is_utc_now),
        LOG_TEST(log_masks_control_bytes),
        LOG_TEST(log_cuts_long_lines),
        LOG_TEST(log_debug_only_when_asked),
        cmocka_unit_test(clock_follows_its_file),
        cmocka_unit_test(clock_deadlines_do_not_overflow),
        cmocka_unit_test(clock_condition_waits_on_the_monotonic_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

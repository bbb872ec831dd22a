/* SPDX-License-Identifier: MIT */
/* The tests that touch files run twice: with openat2, then with a seccomp
 * filter that makes it unknown, as on an old kernel. */
#include "config.h"

#include "backends/util/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "backends/util/cleanup.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static void
name_is_one_component(void **state)
{
    char name[258];

    assert_true(mlc_name_is_safe("a"));
    assert_true(mlc_name_is_safe("..."));
    assert_true(mlc_name_is_safe(".hidden"));
    assert_false(mlc_name_is_safe(""));
    assert_false(mlc_name_is_safe("."));
    assert_false(mlc_name_is_safe(".."));
    assert_false(mlc_name_is_safe("a/b"));
    assert_false(mlc_name_is_safe("/"));
    memset(name, 'x', sizeof(name));
    name[255] = '\0';
    assert_true(mlc_name_is_safe(name));
    name[255] = 'x';
    name[256] = '\0';
    assert_false(mlc_name_is_safe(name));
}

static void
path_from_the_network_is_checked(void **state)
{
    static const char *const good[] = {"a", "a/b", "..a/b..", "a b/\xc3\xa9"};
    static const char *const bad[] = {
        "",     "/",    "/a",    "a/",   "a//b", ".",     "..",
        "a/..", "../a", "a/./b", "a\\b", "a\nb", "a\x7f", "a/../../b"};

    for (size_t i = 0; i < COUNT(good); i++)
        assert_true(mlc_path_is_safe(good[i], 100));
    for (size_t i = 0; i < COUNT(bad); i++)
        assert_false(mlc_path_is_safe(bad[i], 100));
    assert_true(mlc_path_is_safe("abc", 3));
    assert_false(mlc_path_is_safe("abcd", 3));
}

static void
under_respects_components(void **state)
{
    assert_true(mlc_path_is_under("fo/x", "fo"));
    assert_true(mlc_path_is_under("fo", "fo"));
    assert_true(mlc_path_is_under("foo", ""));
    assert_true(mlc_path_is_under("", ""));
    assert_false(mlc_path_is_under("foo", "fo"));
    assert_false(mlc_path_is_under("fo", "fo/x"));
    assert_false(mlc_path_is_under("", "fo"));
}

static void
join_and_base_agree(void **state)
{
    mlc_autofree char *top = mlc_path_join("", "n");
    mlc_autofree char *deep = mlc_path_join("a/b", "n");

    assert_string_equal(top, "n");
    assert_string_equal(deep, "a/b/n");
    assert_string_equal(mlc_path_base(deep), "n");
    assert_string_equal(mlc_path_base(top), "n");
    assert_string_equal(mlc_path_base(""), "");
}

static void
encode_keeps_unreserved_only(void **state)
{
    mlc_autofree char *all = mlc_url_encode("aZ0-._~/ ?#%\xc3\xa9", false);
    mlc_autofree char *slash = mlc_url_encode("a b/c", true);

    assert_string_equal(all, "aZ0-._~%2F%20%3F%23%25%C3%A9");
    assert_string_equal(slash, "a%20b/c");
}

static void
redact_hides_secrets(void **state)
{
    static const struct {
        const char *url, *want;
    } rows[] = {
        {"https://h/p", "https://h/p"},
        {"https://h/p?token=x", "https://h/p?…"},
        {"https://h/p#access_token=x", "https://h/p#…"},
        {"https://u:p@h:8/p?a=b@c", "https://…@h:8/p?…"},
        {"https://u:p@q@h/p", "https://…@h/p"},
        {"https://u@h?x", "https://…@h?…"},
        {"https://h/@scope/x@1", "https://h/@scope/x@1"},
        {"https://h/p?u=http://a:b@c", "https://h/p?…"},
        {"//u:p@h/x", "//…@h/x"},
        {"u:p@h/x", "…@h/x"},
        {"https://h/a\nb\x1b", "https://h/a?b?"},
        {"", ""},
    };

    for (size_t i = 0; i < COUNT(rows); i++) {
        mlc_autofree char *got = mlc_url_redact(rows[i].url);

        assert_string_equal(got, rows[i].want);
    }
}

static void
redact_cuts_between_characters(void **state)
{
    mlc_autofree char *got = NULL;
    char url[5000] = "https://hh/";

    for (size_t i = 11; i + 2 < sizeof(url); i += 2)
        memcpy(url + i, "\xc3\xa9", 3);
    got = mlc_url_redact(url);
    assert_true(strlen(got) <= 300 && strlen(got) >= 297);
    assert_string_equal(got + strlen(got) - 5, "\xc3\xa9…");
}

struct fixture {
    char dir[32];
    int fd; /* O_PATH */
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f)
        return -1;
    strcpy(f->dir, "/tmp/mlc-test-path-XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    f->fd = open(f->dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return f->fd < 0 || mkdirat(f->fd, "d", 0755) < 0 ||
           mkdirat(f->fd, "d/e", 0755) < 0 ||
           symlinkat("d", f->fd, "link") < 0 ||
           symlinkat("/etc/passwd", f->fd, "d/out") < 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;
    char cmd[64];

    close(f->fd);
    snprintf(cmd, sizeof(cmd), "rm -rf %s", f->dir);
    free(f);
    return system(cmd);
}

static int
try_open(const struct fixture *f, const char *path, int flags)
{
    int fd = mlc_open_beneath(f->fd, path, flags, 0644);

    if (fd < 0)
        return fd;
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    return 0;
}

static size_t
count_entries(const struct fixture *f, const char *path)
{
    DIR *d =
        fdopendir(mlc_open_beneath(f->fd, path, O_RDONLY | O_DIRECTORY, 0));
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void
open_reaches_what_lies_beneath(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(try_open(f, "d/e/f", O_WRONLY | O_CREAT | O_EXCL), 0);
    assert_int_equal(try_open(f, "d/e/f", O_RDONLY), 0);
    assert_int_equal(try_open(f, "d/e/f", O_PATH), 0);
    assert_int_equal(try_open(f, "d/e", O_RDONLY | O_DIRECTORY), 0);
    assert_int_equal(try_open(f, "d/e/none", O_RDONLY), -ENOENT);
    assert_int_equal(try_open(f, "none/f", O_RDONLY), -ENOENT);
    assert_int_equal(try_open(f, "d/e/f/g", O_RDONLY), -ENOTDIR);
    assert_int_equal(try_open(f, "d/e/f", O_WRONLY | O_CREAT | O_EXCL),
                     -EEXIST);
}

static void
open_follows_no_symlink(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(try_open(f, "link/e", O_RDONLY), -ELOOP);
    assert_int_equal(try_open(f, "link", O_RDONLY), -ELOOP);
    assert_int_equal(try_open(f, "link", O_RDONLY | O_DIRECTORY), -ELOOP);
    assert_int_equal(try_open(f, "link", O_PATH), -ELOOP);
    assert_int_equal(try_open(f, "link", O_PATH | O_DIRECTORY), -ELOOP);
    assert_int_equal(try_open(f, "link", O_PATH | O_NOFOLLOW), 0);
    assert_int_equal(try_open(f, "d/out", O_RDONLY), -ELOOP);
    assert_int_equal(try_open(f, "d/out", O_WRONLY | O_CREAT), -ELOOP);
    assert_int_equal(try_open(f, "link/new", O_WRONLY | O_CREAT), -ELOOP);
}

static void
open_does_not_leave(void **state)
{
    static const char *const paths[] = {"..", "../x",  "d/..", "/etc/passwd",
                                        "d/", "d//e",  ".",    "d/./e",
                                        "/",  "d/../d"};

    for (size_t i = 0; i < COUNT(paths); i++)
        assert_int_equal(try_open(*state, paths[i], O_RDONLY), -EINVAL);
}

static void
open_of_nothing_is_the_directory_itself(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(count_entries(f, ""), 2);
    assert_int_equal(try_open(f, "", O_PATH), 0);
}

static void
parent_is_opened_and_base_named(void **state)
{
    struct fixture *f = *state;
    const char *base = NULL;
    struct stat st, want;
    int fd;

    fd = mlc_open_parent(f->fd, "d/e/new", &base);
    assert_true(fd >= 0);
    assert_string_equal(base, "new");
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(fstatat(f->fd, "d/e", &want, 0), 0);
    assert_true(st.st_ino == want.st_ino);
    close(fd);
    fd = mlc_open_parent(f->fd, "new", &base);
    assert_true(fd >= 0);
    close(fd);

    assert_int_equal(mlc_open_parent(f->fd, "", &base), -EINVAL);
    assert_int_equal(mlc_open_parent(f->fd, "/x", &base), -EINVAL);
    assert_int_equal(mlc_open_parent(f->fd, "d/..", &base), -EINVAL);
    assert_int_equal(mlc_open_parent(f->fd, "../x", &base), -EINVAL);
    assert_int_equal(mlc_open_parent(f->fd, "link/x", &base), -ELOOP);
    assert_int_equal(mlc_open_parent(f->fd, "none/x", &base), -ENOENT);
}

static void
mkdir_makes_all_parents_but_not_the_last(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mlc_mkdir_parents_at(f->fd, "d/x/y/z"), 0);
    assert_int_equal(count_entries(f, "d/x/y"), 0);
    assert_int_equal(mlc_mkdir_parents_at(f->fd, "d/x/y/z"), 0);
    assert_int_equal(mlc_mkdir_parents_at(f->fd, "top"), 0);
    assert_int_equal(try_open(f, "top", O_PATH), -ENOENT);
}

static void
mkdir_follows_no_symlink(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mlc_mkdir_parents_at(f->fd, "link/x/y"), -ELOOP);
    assert_int_equal(mlc_mkdir_parents_at(f->fd, "n/../../x/y"), -EINVAL);
    assert_int_equal(mlc_mkdir_parents_at(f->fd, "d/out/y"), -ELOOP);
    assert_int_equal(count_entries(f, "d"), 2);
}

static void
written_files_are_read_back(void **state)
{
    struct fixture *f = *state;
    char *data = NULL;
    size_t len = 0;
    struct stat st;
    mode_t mask = umask(022);

    assert_int_equal(mlc_write_file_at(f->fd, "d/f", "one\0x", 5, 0640), 0);
    umask(mask);
    assert_int_equal(mlc_read_file_at(f->fd, "d/f", 5, &data, &len), 0);
    assert_int_equal(len, 5);
    assert_memory_equal(data, "one\0x", 6);
    free(data);
    assert_int_equal(fstatat(f->fd, "d/f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0640);

    assert_int_equal(mlc_write_file_at(f->fd, "d/f", "", 0, 0640), 0);
    assert_int_equal(mlc_read_file_at(f->fd, "d/f", 0, &data, &len), 0);
    assert_string_equal(data, "");
    free(data);
}

static void
failed_write_leaves_nothing(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(mlc_write_file_at(f->fd, "d/e", "x", 1, 0644), -EISDIR);
    assert_int_equal(mlc_write_file_at(f->fd, "none/x", "x", 1, 0644), -ENOENT);
    assert_int_equal(mlc_write_file_at(f->fd, "link/x", "x", 1, 0644), -ELOOP);
    assert_int_equal(count_entries(f, "d"), 2);
}

static void
write_replaces_a_symlink_not_its_target(void **state)
{
    struct fixture *f = *state;
    struct stat st;

    assert_int_equal(mlc_write_file_at(f->fd, "d/out", "x", 1, 0644), 0);
    assert_int_equal(fstatat(f->fd, "d/out", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISREG(st.st_mode));
}

static void
longest_names_can_be_written(void **state)
{
    struct fixture *f = *state;
    char name[256];

    memset(name, 'n', 255);
    name[255] = '\0';
    assert_int_equal(mlc_write_file_at(f->fd, name, "x", 1, 0644), 0);
    assert_int_equal(try_open(f, name, O_RDONLY), 0);
}

static void
read_refuses_what_is_no_small_file(void **state)
{
    struct fixture *f = *state;
    char *data = NULL;
    size_t len = 7;

    assert_int_equal(mlc_write_file_at(f->fd, "f", "12345", 5, 0644), 0);
    assert_int_equal(mlc_read_file_at(f->fd, "f", 4, &data, &len), -EFBIG);
    assert_int_equal(mlc_read_file_at(f->fd, "d", 4, &data, &len), -EISDIR);
    assert_int_equal(mlc_read_file_at(f->fd, "g", 4, &data, &len), -ENOENT);
    assert_int_equal(mlc_read_file_at(f->fd, "link", 4, &data, &len), -ELOOP);
    assert_int_equal(mkfifoat(f->fd, "fifo", 0644), 0);
    assert_int_equal(mlc_read_file_at(f->fd, "fifo", 4, &data, &len), -EINVAL);
    assert_null(data);
    assert_int_equal(len, 7);
}

/* From here on openat2 answers ENOSYS in this process. */
static int
forbid_openat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {.len = COUNT(code), .filter = code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
        return -errno;
    return syscall(SYS_openat2, -1, "", NULL, 0) < 0 && errno == ENOSYS ? 0
                                                                        : -EIO;
}

int
main(void)
{
#define FILE_TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest texts[] = {
        cmocka_unit_test(name_is_one_component),
        cmocka_unit_test(path_from_the_network_is_checked),
        cmocka_unit_test(under_respects_components),
        cmocka_unit_test(join_and_base_agree),
        cmocka_unit_test(encode_keeps_unreserved_only),
        cmocka_unit_test(redact_hides_secrets),
        cmocka_unit_test(redact_cuts_between_characters),
    };
    const struct CMUnitTest files[] = {
        FILE_TEST(open_reaches_what_lies_beneath),
        FILE_TEST(open_follows_no_symlink),
        FILE_TEST(open_does_not_leave),
        FILE_TEST(open_of_nothing_is_the_directory_itself),
        FILE_TEST(parent_is_opened_and_base_named),
        FILE_TEST(mkdir_makes_all_parents_but_not_the_last),
        FILE_TEST(mkdir_follows_no_symlink),
        FILE_TEST(written_files_are_read_back),
        FILE_TEST(failed_write_leaves_nothing),
        FILE_TEST(write_replaces_a_symlink_not_its_target),
        FILE_TEST(longest_names_can_be_written),
        FILE_TEST(read_refuses_what_is_no_small_file),
    };
    int failed;

    failed = cmocka_run_group_tests_name("texts", texts, NULL, NULL);
    failed += cmocka_run_group_tests_name("openat2", files, NULL, NULL);
    if (forbid_openat2() < 0) {
        print_message("no seccomp here: the fallback is not tested\n");
        return failed || getenv("MLC_MUST_WORK") ? 1 : 77;
    }
    failed += cmocka_run_group_tests_name("fallback", files, NULL, NULL);
    return failed != 0;
}

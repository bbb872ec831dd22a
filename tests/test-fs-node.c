/* SPDX-License-Identifier: MIT */
/* The table of nodes: what is forgotten is freed, once. */
#include "config.h"

#include "fs/fs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What node.c takes from other sources of fs/. */
uint64_t
mlc_ino_hash(const struct mlc_domain *d, const char *path)
{
    return strlen(path) + 1;
}

void
mlc_handle_free(struct mlc_fs *fs, struct mlc_handle *h)
{
    free(h);
}

struct fixture {
    struct mlc_fs fs;
    struct mlc_domain domain;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));

    if (!f || mlc_table_init(&f->fs) < 0)
        return -1;
    f->fs.storefd = -1;
    f->fs.root = mlc_node_new_root(&f->fs, &f->domain);
    *state = f;
    return f->fs.root ? 0 : -1;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    mlc_table_done(&f->fs);
    free(f);
    return 0;
}

/* As a look-up of a directory, or of the file of that inode number, does. */
static struct mlc_node *
look_up(struct fixture *f, struct mlc_node *dir, const char *name, ino_t ino)
{
    struct mlc_entry e = {.kind = MLC_KIND_LOCAL};
    struct stat st = {.st_mode = ino ? S_IFREG : S_IFDIR, .st_ino = ino};
    const struct mlc_file_id id = {.ino = ino};
    struct mlc_node *n = NULL;

    assert_int_equal(mlc_node_resolve(&f->fs, dir, name, &e, &st, &id, &n), 0);
    return n;
}

static void
names_in_nested_directories_are_freed_once(void **state)
{
    struct fixture *f = *state;
    struct mlc_fs *fs = &f->fs;

    /* Whichever of the file's names comes first when it goes. */
    for (int is_upper_first = 0; is_upper_first < 2; is_upper_first++) {
        struct mlc_node *upper = look_up(f, fs->root, "upper", 0);
        struct mlc_node *lower = look_up(f, upper, "lower", 0);
        struct mlc_node *file;

        file = look_up(f, is_upper_first ? upper : lower, "file", 7);
        assert_ptr_equal(look_up(f, is_upper_first ? lower : upper, "file", 7),
                         file);
        mlc_node_forget(fs, lower, 1);
        mlc_node_forget(fs, upper, 1);
        assert_int_equal(fs->table.n_nodes, 4);
        mlc_node_forget(fs, file, 2);
        assert_int_equal(fs->table.n_nodes, 1);
        assert_int_equal(fs->table.n_links, 0);
        assert_int_equal(fs->table.n_ids, 0);
    }
}

static void
a_directory_lives_while_a_name_in_it_does(void **state)
{
    struct fixture *f = *state;
    struct mlc_fs *fs = &f->fs;
    struct mlc_node *dir = look_up(f, fs->root, "dir", 0);
    struct mlc_node *file = look_up(f, dir, "file", 7);
    char *path = NULL;

    mlc_node_forget(fs, dir, 1);
    assert_int_equal(mlc_node_path(fs, file, &path), 0);
    assert_string_equal(path, "dir/file");
    free(path);
    mlc_node_forget(fs, file, 1);
    assert_int_equal(fs->table.n_nodes, 1);
}

static void
a_name_is_hidden_until_it_is_seen(void **state)
{
    struct fixture *f = *state;
    struct mlc_fs *fs = &f->fs;

    mlc_hide(fs, &f->domain, "dir/foo");
    mlc_hide(fs, &f->domain, "dir/foobar/x");
    assert_true(mlc_is_hidden(fs, &f->domain, "dir/foo", false));
    assert_false(mlc_is_hidden(fs, &f->domain, "dir/foobar", false));
    mlc_note_seen(fs, &f->domain, "dir/foo");
    assert_false(mlc_is_hidden(fs, &f->domain, "dir/foo", false));
    assert_true(mlc_is_hidden(fs, &f->domain, "dir/foo", true));
    mlc_unhide_below(fs, &f->domain, "dir/foo");
    assert_true(mlc_is_hidden(fs, &f->domain, "dir/foobar/x", false));
    mlc_unhide_below(fs, &f->domain, "dir");
    assert_int_equal(fs->table.n_hidden, 0);
}

static void
many_hidden_names_are_all_found(void **state)
{
    struct fixture *f = *state;
    char path[32];

    for (int i = 0; i < 10000; i++) {
        snprintf(path, sizeof(path), "dir/%d", i);
        mlc_hide(&f->fs, &f->domain, path);
    }
    assert_int_equal(f->fs.table.n_hidden, 10000);
    for (int i = 0; i < 10000; i++) {
        snprintf(path, sizeof(path), "dir/%d", i);
        assert_true(mlc_is_hidden(&f->fs, &f->domain, path, false));
    }
}

static void
a_watched_file_is_seen_being_opened(void **state)
{
    struct fixture *f = *state;
    struct mlc_fs *fs = &f->fs;
    struct mlc_node *file = look_up(f, fs->root, "file", 7);
    struct mlc_node *other = look_up(f, fs->root, "other", 8);
    const struct mlc_file_id id = {.ino = 7};
    struct mlc_handle h = {.fd = -1}, h2 = {.fd = -1};
    struct mlc_watch *w, *w2;

    w = mlc_node_watch(fs, &id);
    assert_non_null(w);
    mlc_node_add_handle(fs, other, &h2);
    w2 = mlc_node_watch(fs, &id);
    assert_true(mlc_node_unwatch(fs, w));
    mlc_node_add_handle(fs, file, &h);
    assert_null(mlc_node_watch(fs, &id));
    mlc_node_remove_handle(fs, file, &h);
    assert_false(mlc_node_unwatch(fs, w2));
    w = mlc_node_watch(fs, &id);
    assert_non_null(w);
    assert_true(mlc_node_unwatch(fs, w));
    mlc_node_remove_handle(fs, other, &h2);
    mlc_node_forget(fs, other, 1);
    mlc_node_forget(fs, file, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_in_nested_directories_are_freed_once),
        CASE(a_directory_lives_while_a_name_in_it_does),
        CASE(a_name_is_hidden_until_it_is_seen),
        CASE(many_hidden_names_are_all_found),
        CASE(a_watched_file_is_seen_being_opened),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

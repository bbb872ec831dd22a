/* SPDX-License-Identifier: MIT */
/* The virtual files of .mlcachefs/ at the mount's root: status.json for
 * people and scripts, metrics for Prometheus. Made when they are opened. */
#include "config.h"

#include "fs/fs.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "backends/cache/cache.h"
#include "backends/cache/evict.h"
#include "backends/util/buf.h"
#include "backends/util/clock.h"

#define MAX_STATUS ((size_t)1 << 20)

static const char *const files[] = {"status.json", "metrics", NULL};

bool
mlc_status_has(const char *name)
{
    for (size_t i = 0; files[i]; i++)
        if (strcmp(name, files[i]) == 0)
            return true;
    return false;
}

int
mlc_status_list(mlc_list_fn *emit, void *arg)
{
    int r = 0;

    for (size_t i = 0; files[i] && r == 0; i++)
        r = emit(arg, files[i], DT_REG);
    return r;
}

struct totals {
    uint64_t nodes, parked;
    struct mlc_store_stats store; /* summed over the stores */
    struct mlc_evict_stats evict;
};

static void
collect(struct mlc_fs *fs, struct totals *t)
{
    memset(t, 0, sizeof(*t));
    pthread_mutex_lock(&fs->table.lock);
    t->nodes = fs->table.n_nodes;
    pthread_mutex_unlock(&fs->table.lock);
    pthread_mutex_lock(&fs->parking.lock);
    t->parked = fs->parking.n_parked;
    pthread_mutex_unlock(&fs->parking.lock);
    mlc_evictor_get_stats(fs->cache->evictor, &t->evict);
    for (unsigned i = 0; i < fs->n_stores; i++) {
        struct mlc_store_stats s;

        mlc_store_get_stats(fs->stores[i], &s);
        t->store.n_objects += s.n_objects;
        t->store.n_partial += s.n_partial;
        t->store.partial_bytes += s.partial_bytes;
        t->store.published += s.published;
        t->store.digest_errors += s.digest_errors;
        t->store.bytes_fetched += s.bytes_fetched;
    }
}

static json_t *
domain_json(struct mlc_domain *d)
{
    struct mlc_status s;

    mlc_domain_get_status(d, &s);
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:I}", "path", d->bases[d->n_bases - 1].path,
        "entries", (json_int_t)s.entries, "hits", (json_int_t)s.hits, "misses",
        (json_int_t)s.misses, "errors", (json_int_t)s.errors);
}

static int
render_json(struct mlc_fs *fs, const struct totals *t, char **ret)
{
    json_t *domains = json_object(), *root;

    for (unsigned i = 0; i < fs->n_domains; i++)
        json_object_set_new(domains, fs->domains[i].backend->name,
                            domain_json(&fs->domains[i]));
    root = json_pack(
        "{s:s, s:s, s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I,"
        " s:I, s:I, s:I, s:I, s:o}",
        "version", PACKAGE_VERSION, "mountpoint", fs->mountpoint, "store",
        fs->store_path, "read_only", (int)fs->is_read_only, "offline",
        (int)fs->cache->is_offline, "uptime_seconds",
        (json_int_t)((mlc_mono_ms() - fs->started_ms) / 1000), "known_names",
        (json_int_t)t->nodes, "waiting_requests", (json_int_t)t->parked,
        "memory_used", (json_int_t)mlc_budget_used(fs->cache->budget),
        "objects", (json_int_t)t->store.n_objects, "partial_files",
        (json_int_t)t->store.n_partial, "partial_bytes",
        (json_int_t)t->store.partial_bytes, "files_fetched",
        (json_int_t)t->store.published, "bytes_fetched",
        (json_int_t)t->store.bytes_fetched, "digest_errors",
        (json_int_t)t->store.digest_errors, "files_evicted",
        (json_int_t)t->evict.files, "bytes_evicted", (json_int_t)t->evict.bytes,
        "domains", domains);
    *ret = root ? json_dumps(root, JSON_INDENT(1)) : NULL;
    json_decref(root);
    return *ret ? 0 : -ENOMEM;
}

static int
metric(struct mlc_buf *b, const char *name, const char *type, const char *help,
       uint64_t value)
{
    return mlc_buf_printf(b,
                          "# HELP mlcachefs_%s %s\n# TYPE mlcachefs_%s %s\n"
                          "mlcachefs_%s %llu\n",
                          name, help, name, type, name,
                          (unsigned long long)value);
}

static int
render_metrics(struct mlc_fs *fs, const struct totals *t, struct mlc_buf *b)
{
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } rows[] = {
        {"known_names", "gauge", "Names the kernel holds.", t->nodes},
        {"waiting_requests", "gauge", "Requests waiting for the network.",
         t->parked},
        {"memory_used_bytes", "gauge", "Buffers of transfers.",
         mlc_budget_used(fs->cache->budget)},
        {"partial_files", "gauge", "Files begun and not finished.",
         t->store.n_partial},
        {"partial_bytes", "gauge", "Bytes of unfinished files on disk.",
         t->store.partial_bytes},
        {"files_fetched_total", "counter", "Files finished and verified.",
         t->store.published},
        {"bytes_fetched_total", "counter", "Bytes that came over the network.",
         t->store.bytes_fetched},
        {"digest_errors_total", "counter", "Files whose digest was wrong.",
         t->store.digest_errors},
        {"files_evicted_total", "counter", "Files that went for others.",
         t->evict.files},
        {"bytes_evicted_total", "counter", "Their bytes.", t->evict.bytes},
        {"lookups_total", "counter", "Look-ups asked by the kernel.",
         atomic_load(&fs->n_lookups)},
        {"reads_total", "counter", "Reads asked by the kernel.",
         atomic_load(&fs->n_reads)},
        {"errors_total", "counter", "Requests answered with EIO.",
         atomic_load(&fs->n_errors)},
    };
    int r = 0;

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && r == 0; i++)
        r = metric(b, rows[i].name, rows[i].type, rows[i].help, rows[i].value);
    return r;
}

int
mlc_status_render(struct mlc_fs *fs, const char *name, char **ret,
                  size_t *ret_len)
{
    struct totals t;
    struct mlc_buf b;
    int r;

    collect(fs, &t);
    if (strcmp(name, "status.json") == 0) {
        r = render_json(fs, &t, ret);
        if (r == 0)
            *ret_len = strlen(*ret);
        return r;
    }
    mlc_buf_init(&b, MAX_STATUS);
    r = render_metrics(fs, &t, &b);
    if (r == 0)
        *ret = mlc_buf_take(&b, ret_len);
    mlc_buf_done(&b);
    return r;
}

/* SPDX-License-Identifier: MIT */
/* Nodes and the names that lead to them.
 *
 * A node lives while the kernel counts a lookup of it, or while something of
 * ours refers to it (an open handle, a parked request, a name inside it).  A
 * link is one name of one node in one directory, and refers to that
 * directory.  A node whose names are all gone (unlinked, or replaced by other
 * content) stays usable for whoever has it open.
 */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "backends/cache/object.h"
#include "backends/util/cleanup.h"
#include "backends/util/path.h"

/* Fewer nodes are not worth giving their memory back. */
#define MIN_TRIM 10000

struct mlc_link {
    struct mlc_node *dir;       /* a reference */
    struct mlc_node *node;      /* no reference: the node owns its links */
    struct mlc_link *hash_next; /* chain of the name hash */
    struct mlc_link *next;      /* the node's other names */
    uint64_t hash;
    char name[];
};

struct mlc_watch {
    struct mlc_watch *next;
    struct mlc_file_id id;
    bool is_opened;
};

static uint64_t
name_hash(const struct mlc_node *dir, const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), (uintptr_t)dir);
}

static uint64_t
id_hash(const struct mlc_file_id *id)
{
    uint64_t key[3] = {id->dev, id->ino, (uint64_t)id->birth_ns};

    return XXH3_64bits(key, sizeof(key));
}

static bool
id_equal(const struct mlc_file_id *a, const struct mlc_file_id *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->birth_ns == b->birth_ns;
}

int
mlc_table_init(struct mlc_fs *fs)
{
    struct mlc_table *t = &fs->table;

    pthread_mutex_init(&t->lock, NULL);
    t->cap_links = t->cap_ids = 1024;
    t->links = calloc(t->cap_links, sizeof(t->links[0]));
    t->ids = calloc(t->cap_ids, sizeof(t->ids[0]));
    return t->links && t->ids ? mlc_hidden_init(t) : -ENOMEM;
}

/* --- hash tables, all with table.lock held ------------------------------- */

static void
grow_links_locked(struct mlc_table *t)
{
    size_t cap = t->cap_links * 2;
    struct mlc_link **grown;

    if (t->n_links < t->cap_links)
        return;
    grown = calloc(cap, sizeof(grown[0]));
    if (!grown)
        return; /* longer chains, that is all */
    for (size_t i = 0; i < t->cap_links; i++)
        for (struct mlc_link *l = t->links[i], *next; l; l = next) {
            next = l->hash_next;
            l->hash_next = grown[l->hash % cap];
            grown[l->hash % cap] = l;
        }
    free(t->links);
    t->links = grown;
    t->cap_links = cap;
}

static struct mlc_link *
find_link_locked(struct mlc_table *t, const struct mlc_node *dir,
                 const char *name)
{
    uint64_t h = name_hash(dir, name);

    for (struct mlc_link *l = t->links[h % t->cap_links]; l; l = l->hash_next)
        if (l->hash == h && l->dir == dir && strcmp(l->name, name) == 0)
            return l;
    return NULL;
}

static int
add_link_locked(struct mlc_table *t, struct mlc_node *n, struct mlc_node *dir,
                const char *name)
{
    size_t len = strlen(name) + 1;
    struct mlc_link *l = malloc(sizeof(*l) + len);

    if (!l)
        return -ENOMEM;
    grow_links_locked(t);
    memcpy(l->name, name, len);
    l->dir = dir;
    dir->refs++;
    l->node = n;
    l->next = n->links;
    n->links = l;
    l->hash = name_hash(dir, name);
    l->hash_next = t->links[l->hash % t->cap_links];
    t->links[l->hash % t->cap_links] = l;
    t->n_links++;
    return 0;
}

/* Returns the directory, whose reference the caller must drop. */
static struct mlc_node *
remove_link_locked(struct mlc_table *t, struct mlc_link *l)
{
    struct mlc_link **p = &t->links[l->hash % t->cap_links];
    struct mlc_node *dir = l->dir;

    while (*p != l)
        p = &(*p)->hash_next;
    *p = l->hash_next;
    for (p = &l->node->links; *p != l;)
        p = &(*p)->next;
    *p = l->next;
    t->n_links--;
    free(l);
    return dir;
}

static struct mlc_node *
find_id_locked(struct mlc_table *t, const struct mlc_file_id *id)
{
    struct mlc_node *n = t->ids[id_hash(id) % t->cap_ids];

    while (n && !id_equal(&n->id, id))
        n = n->id_next;
    return n;
}

static void
remove_id_locked(struct mlc_table *t, struct mlc_node *n)
{
    struct mlc_node **p = &t->ids[id_hash(&n->id) % t->cap_ids];

    if (!n->is_in_ids)
        return;
    while (*p != n)
        p = &(*p)->id_next;
    *p = n->id_next;
    n->is_in_ids = false;
    t->n_ids--;
}

static void
add_id_locked(struct mlc_table *t, struct mlc_node *n,
              const struct mlc_file_id *id)
{
    struct mlc_node *stale = find_id_locked(t, id);

    if (stale)
        remove_id_locked(t, stale);
    if (t->n_ids >= t->cap_ids) {
        size_t cap = t->cap_ids * 2;
        struct mlc_node **grown = calloc(cap, sizeof(grown[0]));

        if (grown) {
            for (size_t i = 0; i < t->cap_ids; i++)
                for (struct mlc_node *m = t->ids[i], *next; m; m = next) {
                    struct mlc_node **q = &grown[id_hash(&m->id) % cap];

                    next = m->id_next;
                    m->id_next = *q;
                    *q = m;
                }
            free(t->ids);
            t->ids = grown;
            t->cap_ids = cap;
        }
    }
    n->id = *id;
    n->id_next = t->ids[id_hash(id) % t->cap_ids];
    t->ids[id_hash(id) % t->cap_ids] = n;
    n->is_in_ids = true;
    t->n_ids++;
}

/* --- lifetime ------------------------------------------------------------ */

static struct mlc_node *
new_node_locked(struct mlc_table *t, struct mlc_domain *d,
                enum mlc_node_type type)
{
    struct mlc_node *n = calloc(1, sizeof(*n));

    if (!n)
        return NULL;
    n->domain = d;
    n->type = type;
    n->open_size = -1;
    n->all_next = t->all;
    if (t->all)
        t->all->all_prev = n;
    t->all = n;
    t->n_nodes++;
    if (t->n_nodes > t->peak)
        t->peak = t->n_nodes;
    return n;
}

static void
free_node_locked(struct mlc_table *t, struct mlc_node *n)
{
    if (n->all_next)
        n->all_next->all_prev = n->all_prev;
    if (n->all_prev)
        n->all_prev->all_next = n->all_next;
    else
        t->all = n->all_next;
    t->n_nodes--;
    free(n->text);
    free(n);
}

/* Frees n, and then every directory that nothing refers to any more. */
static void
maybe_free_locked(struct mlc_table *t, struct mlc_node *n)
{
    while (n && n->nlookup == 0 && n->refs == 0) {
        struct mlc_node *up = NULL;

        /* A link's reference is kept until it is its directory's turn: that of
         * another link, which goes first, may lie in it. */
        while (n->links) {
            struct mlc_node *dir = remove_link_locked(t, n->links);

            if (up)
                up->refs--;
            if (up && up != dir)
                maybe_free_locked(t, up); /* hard links: rare, and flat */
            up = dir;
        }
        remove_id_locked(t, n);
        free_node_locked(t, n);
        if (up)
            up->refs--;
        n = up;
    }
}

struct mlc_node *
mlc_node_of(struct mlc_fs *fs, fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID ? fs->root : (struct mlc_node *)(uintptr_t)ino;
}

struct mlc_node *
mlc_node_ref(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    n->refs++;
    return n;
}

void
mlc_node_unref(struct mlc_fs *fs, struct mlc_node *n)
{
    if (!n)
        return;
    MLC_LOCK_SCOPE(&fs->table.lock);
    n->refs--;
    maybe_free_locked(&fs->table, n);
}

void
mlc_node_forget(struct mlc_fs *fs, struct mlc_node *n, uint64_t nlookup)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    n->nlookup -= nlookup < n->nlookup ? nlookup : n->nlookup;
    maybe_free_locked(&fs->table, n);
}

void
mlc_table_trim(struct mlc_fs *fs)
{
    struct mlc_table *t = &fs->table;
    bool is_due;

    pthread_mutex_lock(&t->lock);
    is_due = t->peak > MIN_TRIM && t->n_nodes < t->peak / 4;
    if (is_due)
        t->peak = t->n_nodes;
    pthread_mutex_unlock(&t->lock);
    if (is_due)
        malloc_trim(0);
}

void
mlc_node_put_lookup(struct mlc_fs *fs, struct mlc_node *n)
{
    mlc_node_forget(fs, n, 1);
}

struct mlc_node *
mlc_node_new_root(struct mlc_fs *fs, struct mlc_domain *d)
{
    struct mlc_node *n;

    MLC_LOCK_SCOPE(&fs->table.lock);
    n = new_node_locked(&fs->table, d, MLC_NODE_DIR);
    if (!n)
        return NULL;
    n->is_root = true;
    n->refs = 1;
    n->ino = mlc_ino_hash(d, "");
    return n;
}

void
mlc_table_done(struct mlc_fs *fs)
{
    struct mlc_table *t = &fs->table;

    /* The kernel is gone, and with it its lookup counts and open handles. */
    for (size_t i = 0; t->links && i < t->cap_links; i++)
        while (t->links[i]) {
            struct mlc_link *l = t->links[i];

            t->links[i] = l->hash_next;
            free(l);
        }
    while (t->all) {
        while (t->all->handles) {
            struct mlc_handle *h = t->all->handles;

            t->all->handles = h->next;
            h->node = h->dir = NULL; /* they go with the table */
            mlc_handle_free(fs, h);
        }
        free_node_locked(t, t->all);
    }
    mlc_hidden_done(t);
    free(t->links);
    free(t->ids);
    pthread_mutex_destroy(&t->lock);
}

/* --- paths --------------------------------------------------------------- */

static int
path_locked(struct mlc_node *n, const char *name, char **ret_path)
{
    char text[PATH_MAX];
    size_t at = sizeof(text) - 1;

    text[at] = '\0';
    for (;;) {
        size_t len;

        if (name) {
            len = strlen(name);
            if (len + 1 > at)
                return -ENAMETOOLONG;
            if (text[at])
                text[--at] = '/';
            at -= len;
            memcpy(text + at, name, len);
        }
        if (n->is_root)
            break;
        if (!n->links)
            return -ESTALE;
        name = n->links->name;
        n = n->links->dir;
    }
    *ret_path = strdup(text + at);
    return *ret_path ? 0 : -ENOMEM;
}

int
mlc_node_path(struct mlc_fs *fs, struct mlc_node *n, char **ret_path)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    return path_locked(n, NULL, ret_path);
}

int
mlc_node_child_path(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
                    char **ret_path)
{
    bool is_long = strlen(name) > NAME_MAX;

    if (is_long && !(dir->domain->backend->flags & MLC_BACKEND_LONG_NAMES))
        return -ENAMETOOLONG;
    /* The kernel gives us no '/'. */
    if (!is_long && !mlc_name_is_safe(name))
        return -EINVAL;
    MLC_LOCK_SCOPE(&fs->table.lock);
    return path_locked(dir, name, ret_path);
}

/* --- what a look-up found ------------------------------------------------ */

static enum mlc_node_type
type_of(const struct mlc_entry *e, const struct stat *st)
{
    switch (e->kind) {
    case MLC_KIND_LOCAL:
        return S_ISDIR(st->st_mode) ? MLC_NODE_DIR : MLC_NODE_LOCAL;
    case MLC_KIND_DIR:
        return MLC_NODE_DIR;
    case MLC_KIND_SYMLINK:
        return MLC_NODE_SYMLINK;
    case MLC_KIND_INLINE:
        return MLC_NODE_INLINE;
    case MLC_KIND_PRIVATE:
        return MLC_NODE_PRIVATE;
    case MLC_KIND_OBJECT:
        return MLC_NODE_OBJECT;
    case MLC_KIND_VIEW:
        return MLC_NODE_VIEW;
    }
    return MLC_NODE_LOCAL;
}

/* Is the local file the one that n's object was writing (it keeps its inode
 * when it moves home), or, with nobody reading, the whole content that n
 * names? */
static bool
is_object_at_home_locked(const struct mlc_node *n, const struct mlc_entry *e,
                         const struct stat *st)
{
    if (!S_ISREG(st->st_mode) || (uint64_t)st->st_size != n->size)
        return false;
    for (struct mlc_handle *h = n->handles; h; h = h->next) {
        dev_t dev;
        ino_t ino;

        if (!h->obj)
            continue;
        mlc_object_file_id(h->obj, &dev, &ino);
        return dev == st->st_dev && ino == st->st_ino;
    }
    return e->is_cached;
}

static bool
is_same_locked(struct mlc_fs *fs, struct mlc_node *n, enum mlc_node_type type,
               const struct mlc_entry *e, const struct stat *st,
               const struct mlc_file_id *id)
{
    if (n->type == MLC_NODE_OBJECT && type == MLC_NODE_LOCAL) {
        if (!is_object_at_home_locked(n, e, st))
            return false;
        n->type = MLC_NODE_LOCAL;
        n->is_cached = true;
        add_id_locked(&fs->table, n, id);
        return true;
    }
    if (n->type == MLC_NODE_OBJECT && type == MLC_NODE_PRIVATE) {
        char *text;

        if (n->content != e->content || n->size != e->size)
            return false;
        text = strdup(e->text);
        if (!text)
            return false;
        /* Who finds the new type without the lock finds the text, too. */
        n->text = text;
        n->type = MLC_NODE_PRIVATE;
        n->is_cached = e->is_cached;
        return true;
    }
    /* Nobody's pages depend on which file that is. */
    if (n->is_whole && e->is_whole && n->type == MLC_NODE_LOCAL &&
        type == MLC_NODE_LOCAL && !id_equal(&n->id, id)) {
        remove_id_locked(&fs->table, n);
        add_id_locked(&fs->table, n, id);
    }
    if (n->type != type)
        return false;
    switch (type) {
    case MLC_NODE_DIR:
        return true;
    case MLC_NODE_LOCAL:
        return id_equal(&n->id, id);
    case MLC_NODE_OBJECT:
    case MLC_NODE_VIEW:
    case MLC_NODE_PRIVATE:
    case MLC_NODE_SYMLINK:
    case MLC_NODE_INLINE:
        return n->content == e->content && n->size == e->size;
    case MLC_NODE_STATUS:
        return n->text && e->text && strcmp(n->text, e->text) == 0;
    }
    return false;
}

uint64_t
mlc_ino_on_disk(const struct mlc_fs *fs, dev_t dev, ino_t ino)
{
    uint64_t key[2] = {dev, ino};
    struct stat store;

    if (fstat(fs->storefd, &store) < 0 || store.st_dev == dev)
        return ino;
    return XXH3_64bits(key, sizeof(key)) | (uint64_t)1 << 63;
}

static uint64_t
choose_ino(const struct mlc_fs *fs, const struct mlc_domain *d,
           const char *path, const struct mlc_entry *e, const struct stat *st)
{
    /* What an origin names keeps its number before and after it is fetched;
     * what users made has the number it has on disk. */
    if (e->kind != MLC_KIND_LOCAL || e->is_cached || e->is_whole)
        return mlc_ino_hash(d, path);
    return mlc_ino_on_disk(fs, st->st_dev, st->st_ino);
}

int
mlc_node_resolve(struct mlc_fs *fs, struct mlc_node *dir, const char *name,
                 struct mlc_entry *e, const struct stat *st,
                 const struct mlc_file_id *id, struct mlc_node **ret)
{
    enum mlc_node_type type = type_of(e, st);
    struct mlc_node *n, *dropped = NULL;
    mlc_autofree char *path = NULL;
    struct mlc_link *l;
    int r;

    if (dir == fs->status_dir)
        type = MLC_NODE_STATUS;
    if (type == MLC_NODE_SYMLINK || type == MLC_NODE_INLINE) {
        e->size = e->text_len;
        e->content = XXH3_64bits(e->text, e->text_len);
    }

    MLC_LOCK_SCOPE(&fs->table.lock);
    r = path_locked(dir, name, &path);
    if (r < 0)
        return r;
    l = find_link_locked(&fs->table, dir, name);
    if (l && is_same_locked(fs, l->node, type, e, st, id)) {
        n = l->node;
        if (type == MLC_NODE_LOCAL)
            n->is_cached = e->is_cached;
        n->is_whole = e->is_whole;
        n->present = e->present;
        n->nlookup++;
        *ret = n;
        return 0;
    }
    /* Another name of a file that is known already (a hard link)? */
    n = type == MLC_NODE_LOCAL ? find_id_locked(&fs->table, id) : NULL;
    if (n && n->domain != dir->domain)
        n = NULL;
    if (!n) {
        n = new_node_locked(&fs->table, dir->domain, type);
        if (!n)
            return -ENOMEM;
        n->is_cached = e->is_cached;
        n->is_whole = e->is_whole;
        n->content = e->content;
        n->size = e->size;
        n->present = e->present;
        n->mtime_ms = e->mtime_ms;
        n->mode = e->mode;
        n->text = mlc_steal(&e->text);
        n->ino = choose_ino(fs, dir->domain, path, e, st);
        if (type == MLC_NODE_LOCAL)
            add_id_locked(&fs->table, n, id);
    }
    n->refs++;
    r = add_link_locked(&fs->table, n, dir, name);
    n->refs--;
    if (r < 0) {
        maybe_free_locked(&fs->table, n);
        return r;
    }
    if (l) {
        dropped = l->node;
        dropped->refs++;
        remove_link_locked(&fs->table, l)->refs--; /* dir: has a new link */
        dropped->refs--;
        maybe_free_locked(&fs->table, dropped);
    }
    n->nlookup++;
    *ret = n;
    return 0;
}

static void
detach_link_locked(struct mlc_table *t, struct mlc_link *l)
{
    struct mlc_node *n = l->node, *dir;

    n->refs++;
    dir = remove_link_locked(t, l);
    n->refs--;
    /* A file without names is not found by its id either: the number may be
     * given to the next file. */
    if (!n->links)
        remove_id_locked(t, n);
    maybe_free_locked(t, n);
    dir->refs--;
    maybe_free_locked(t, dir);
}

void
mlc_node_detach(struct mlc_fs *fs, struct mlc_node *dir, const char *name)
{
    struct mlc_link *l;

    MLC_LOCK_SCOPE(&fs->table.lock);
    l = find_link_locked(&fs->table, dir, name);
    if (l)
        detach_link_locked(&fs->table, l);
}

void
mlc_node_detach_all(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    n->refs++;
    while (n->links)
        detach_link_locked(&fs->table, n->links);
    n->refs--;
    maybe_free_locked(&fs->table, n);
}

int
mlc_node_get_name(struct mlc_fs *fs, struct mlc_node *n,
                  struct mlc_node **ret_dir, char **ret_name)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    if (!n->links)
        return -ESTALE;
    *ret_name = strdup(n->links->name);
    if (!*ret_name)
        return -ENOMEM;
    *ret_dir = n->links->dir;
    (*ret_dir)->refs++;
    return 0;
}

bool
mlc_node_is_nameless(struct mlc_fs *fs, struct mlc_node *n)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    return !n->links;
}

bool
mlc_node_has_id(struct mlc_fs *fs, struct mlc_node *n,
                const struct mlc_file_id *id)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    return id_equal(&n->id, id);
}

struct mlc_node *
mlc_node_peek(struct mlc_fs *fs, struct mlc_node *dir, const char *name)
{
    struct mlc_link *l;

    MLC_LOCK_SCOPE(&fs->table.lock);
    l = find_link_locked(&fs->table, dir, name);
    if (!l)
        return NULL;
    l->node->refs++;
    return l->node;
}

/* A directory whose number is made from its path has another one after a
 * rename: the next to have the old path would share it otherwise. */
static void
renumber_locked(struct mlc_node *n, const char *old_path)
{
    mlc_autofree char *path = NULL;

    if (n && old_path && n->type == MLC_NODE_DIR &&
        n->ino == mlc_ino_hash(n->domain, old_path) &&
        path_locked(n, NULL, &path) == 0)
        n->ino = mlc_ino_hash(n->domain, path);
}

void
mlc_node_move(struct mlc_fs *fs, struct mlc_node *olddir, const char *oldname,
              struct mlc_node *dir, const char *name, bool exchange)
{
    struct mlc_table *t = &fs->table;
    struct mlc_link *from, *to;
    mlc_autofree char *old_path = NULL, *new_path = NULL;
    struct mlc_node *a, *b = NULL;

    MLC_LOCK_SCOPE(&t->lock);
    (void)path_locked(olddir, oldname, &old_path);
    (void)path_locked(dir, name, &new_path);
    from = find_link_locked(t, olddir, oldname);
    to = find_link_locked(t, dir, name);
    a = from ? from->node : NULL;
    b = to ? to->node : NULL;
    if (a)
        a->refs++;
    if (b)
        b->refs++;
    /* New names first, so that neither node is without one in between. */
    if (a && a != b)
        (void)add_link_locked(t, a, dir, name);
    if (b && exchange && a != b)
        (void)add_link_locked(t, b, olddir, oldname);
    if (from)
        detach_link_locked(t, from);
    if (to && a != b)
        detach_link_locked(t, to);
    renumber_locked(a, old_path);
    if (exchange)
        renumber_locked(b, new_path);
    if (a) {
        a->refs--;
        maybe_free_locked(t, a);
    }
    if (b) {
        b->refs--;
        maybe_free_locked(t, b);
    }
}

int
mlc_node_add_link(struct mlc_fs *fs, struct mlc_node *n, struct mlc_node *dir,
                  const char *name)
{
    struct mlc_link *old;
    int r;

    MLC_LOCK_SCOPE(&fs->table.lock);
    old = find_link_locked(&fs->table, dir, name);
    r = add_link_locked(&fs->table, n, dir, name);
    if (r == 0 && old)
        detach_link_locked(&fs->table, old);
    return r;
}

void
mlc_node_become_local(struct mlc_fs *fs, struct mlc_node *n,
                      const struct mlc_file_id *id, bool is_cached)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    remove_id_locked(&fs->table, n);
    n->type = MLC_NODE_LOCAL;
    add_id_locked(&fs->table, n, id);
    n->is_cached = is_cached;
}

void
mlc_node_add_handle(struct mlc_fs *fs, struct mlc_node *n, struct mlc_handle *h)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    n->refs++;
    h->node = n;
    h->next = n->handles;
    n->handles = h;
    for (struct mlc_watch *w = fs->table.watches; w; w = w->next)
        w->is_opened |= id_equal(&w->id, &n->id);
}

void
mlc_node_remove_handle(struct mlc_fs *fs, struct mlc_node *n,
                       struct mlc_handle *h)
{
    MLC_LOCK_SCOPE(&fs->table.lock);

    for (struct mlc_handle **p = &n->handles; *p; p = &(*p)->next)
        if (*p == h) {
            *p = h->next;
            break;
        }
    n->refs--;
    maybe_free_locked(&fs->table, n);
}

struct mlc_watch *
mlc_node_watch(struct mlc_fs *fs, const struct mlc_file_id *id)
{
    struct mlc_table *t = &fs->table;
    mlc_autofree struct mlc_watch *w = calloc(1, sizeof(*w));
    const struct mlc_node *n;

    if (!w)
        return NULL;
    w->id = *id;
    MLC_LOCK_SCOPE(&t->lock);
    n = find_id_locked(t, id);
    if (n && n->handles)
        return NULL;
    w->next = t->watches;
    t->watches = w;
    return mlc_steal(&w);
}

bool
mlc_node_unwatch(struct mlc_fs *fs, struct mlc_watch *w)
{
    struct mlc_watch **p = &fs->table.watches;
    bool is_closed;

    pthread_mutex_lock(&fs->table.lock);
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    pthread_mutex_unlock(&fs->table.lock);
    is_closed = !w->is_opened;
    free(w);
    return is_closed;
}

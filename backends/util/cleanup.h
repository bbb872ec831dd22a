/* SPDX-License-Identifier: MIT */
/* Scope-bound cleanup: a resource is released where its variable goes out of
 * scope, so that functions may return early.  Always initialise the variable
 * at its declaration (NULL, -1).  Hand a value over with mlc_steal*(). */
#ifndef MLC_UTIL_CLEANUP_H
#define MLC_UTIL_CLEANUP_H

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void
mlc_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void
mlc_cleanup_close(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void
mlc_cleanup_dir(DIR **d)
{
    if (*d)
        closedir(*d);
}

static inline void
mlc_cleanup_unlock(pthread_mutex_t **m)
{
    if (*m)
        pthread_mutex_unlock(*m);
}

static inline int
mlc_steal_fd(int *fd)
{
    int r = *fd;

    *fd = -1;
    return r;
}

#define mlc_autofree  __attribute__((cleanup(mlc_cleanup_free)))
#define mlc_autoclose __attribute__((cleanup(mlc_cleanup_close)))
#define mlc_autodir   __attribute__((cleanup(mlc_cleanup_dir)))

/* *p, which becomes NULL: hands ownership over. */
#define mlc_steal(p)                                                           \
    __extension__({                                                            \
        __typeof__(*(p)) mlc_stolen_ = *(p);                                   \
        *(p) = NULL;                                                           \
        mlc_stolen_;                                                           \
    })

/* Defines the cleanup function for variables of type 'type', which free_fn
 * releases (free_fn takes NULL); use as
 * __attribute__((cleanup(mlc_cleanup_NAME))). */
#define MLC_DEFINE_CLEANUP(name, type, free_fn)                                \
    static inline void mlc_cleanup_##name(type *p)                             \
    {                                                                          \
        if (*p)                                                                \
            free_fn(*p);                                                       \
    }                                                                          \
    struct mlc_cleanup_semicolon_

#define MLC_CONCAT_(a, b) a##b
#define MLC_CONCAT(a, b)  MLC_CONCAT_(a, b)

static inline pthread_mutex_t *
mlc_lock_(pthread_mutex_t *m)
{
    pthread_mutex_lock(m);
    return m;
}

/* Holds the mutex until the end of the enclosing scope. */
#define MLC_LOCK_SCOPE(m)                                                      \
    __attribute__((cleanup(mlc_cleanup_unlock), unused)) pthread_mutex_t *     \
    MLC_CONCAT(mlc_scope_, __LINE__) = mlc_lock_(m)

#endif

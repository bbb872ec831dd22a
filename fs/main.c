/* SPDX-License-Identifier: MIT */
/* mlcachefs: start, mount, loop, stop.
 *
 * In the background the parent waits for one byte from the child, which comes
 * when the mount answers, and exits with what became of it.  Signals are taken
 * by a thread of their own; all others block them.
 */
#include "config.h"

#include "fs/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/cache/cache.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/log.h"

/* Requests become as large as the kernel reads ahead.  Measured: at 256 KiB to
 * 2 MiB a file in the page cache is read faster than at 4 MiB, whose requests
 * leave the processor's caches before the reader gets to them. */
#define READ_AHEAD_KB 2048
#define MAX_REQUEST   (1024 * 1024)
#define MAX_LOG       (1024 * 1024)
#define WAKE_MS       50

/* --- a mount of ours that is there already ------------------------------- */

/* Finds the mountinfo line of an mlcachefs mounted exactly at path. */
static bool
find_own_mount(const char *path, unsigned *ret_major, unsigned *ret_minor)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t size = 0;
    bool found = false;

    while (f && getline(&line, &size, f) > 0) {
        unsigned major, minor;
        char where[4096];

        if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, where) !=
            3)
            continue;
        /* Octal escapes for blanks: only ever compared, so decode in place. */
        for (char *p = where, *q = where;; p++, q++) {
            if (p[0] == '\\' && p[1] && p[2] && p[3]) {
                *q =
                    (char)((p[1] - '0') * 64 + (p[2] - '0') * 8 + (p[3] - '0'));
                p += 3;
            } else {
                *q = *p;
            }
            if (!*p)
                break;
        }
        if (strcmp(where, path) == 0) {
            found = strstr(line, " - fuse.mlcachefs ") != NULL;
            *ret_major = major;
            *ret_minor = minor;
        }
    }
    free(line);
    if (f)
        fclose(f);
    return found;
}

static int
lazy_unmount(const char *path)
{
    pid_t pid;
    int status;

    if (umount2(path, MNT_DETACH) == 0)
        return 0;
    pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-z", "-q", "--", path,
               (char *)NULL);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EBUSY;
}

/* A dead mount of our own (a daemon that was killed) is cleared away; one of
 * somebody else's is theirs.  Not stat(), which the kernel still answers from
 * what it knew when the daemon died a moment ago. */
static int
clear_mountpoint(const char *given)
{
    mlc_autofree char *path = strdup(given);
    mlc_autofree char *real = NULL;
    unsigned major, minor;
    struct statfs st;
    size_t len;

    if (!path)
        return -ENOMEM;
    for (len = strlen(path); len > 1 && path[len - 1] == '/'; len--)
        path[len - 1] = '\0';
    real = realpath(path, NULL);
    if (!real || !find_own_mount(real, &major, &minor))
        return 0; /* what is wrong is said later, with the reason */
    if (statfs(real, &st) == 0)
        return mlc_log_err(-EBUSY, "%s: an mlcachefs is mounted there already",
                           path);
    if (errno != ENOTCONN)
        return mlc_log_err(-errno, "mountpoint %s: %m", path);
    if (lazy_unmount(real) < 0)
        return mlc_log_err(-ENOTCONN,
                           "%s: a dead mount is there and cannot be "
                           "unmounted: try 'fusermount3 -uz %s'",
                           path, path);
    mlc_info("%s: unmounted what a dead daemon had left there", path);
    return 0;
}

/* --- readiness ----------------------------------------------------------- */

static void
raise_read_ahead(const struct mlc_fs *fs)
{
    unsigned major, minor;
    char path[128], text[16];
    int fd, len;

    if (!find_own_mount(fs->mountpoint, &major, &minor))
        return;
    snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major,
             minor);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    len = snprintf(text, sizeof(text), "%d", READ_AHEAD_KB);
    if (fd < 0 || write(fd, text, (size_t)len) != len)
        mlc_debug("fs", "%s: %m (a udev rule can raise it)", path);
    if (fd >= 0)
        close(fd);
}

/* Says that the mount answers, once it has: only then has the kernel digested
 * our INIT, and only then may read-ahead be raised. */
static void *
say_ready(void *arg)
{
    struct mlc_fs *fs = arg;
    struct statfs st;

    if (statfs(fs->mountpoint, &st) < 0)
        return NULL;
    raise_read_ahead(fs);
    if (fs->ready_fd >= 0) {
        if (write(fs->ready_fd, "1", 1) != 1)
            mlc_warn("ready_fd: %m");
        close(fs->ready_fd);
    }
    return NULL;
}

static int
start_thread(pthread_t *ret, void *(*run)(void *), void *arg)
{
    sigset_t all, old;
    int r;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    r = -pthread_create(ret, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return r;
}

/* The largest read that can be answered by splicing: a pipe must hold it, its
 * header, and the pages at its ends.  Where a pipe may be no larger than
 * 1 MiB, replies of a full 1 MiB would be copied, at a third of the speed. */
static unsigned
max_read_size(void)
{
    const int page = (int)sysconf(_SC_PAGESIZE);
    int fds[2], size = 0;

    if (pipe2(fds, O_CLOEXEC) == 0) {
        size = fcntl(fds[0], F_SETPIPE_SZ, 2 * MAX_REQUEST);
        if (size < 0)
            size = fcntl(fds[0], F_SETPIPE_SZ, MAX_REQUEST);
        close(fds[0]);
        close(fds[1]);
    }
    if (size <= 4 * page || size > MAX_REQUEST)
        return MAX_REQUEST;
    return (unsigned)(size - 4 * page);
}

static void
op_init(void *userdata, struct fuse_conn_info *conn)
{
    struct mlc_fs *fs = userdata;
    const unsigned wanted = FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE |
                            FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_PARALLEL_DIROPS |
                            FUSE_CAP_CACHE_SYMLINKS;

    conn->want |= conn->capable & wanted;
    /* Requests are small; a pipe for each would only cost system calls. */
    conn->want &= ~(unsigned)FUSE_CAP_SPLICE_READ;
    /* Else every read of a file that is still being fetched would ask for its
     * attributes first; what changed is noticed at open instead. */
    conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    /* Parked reads hold these slots: the more, the better. */
    conn->max_background = 65535;
    conn->congestion_threshold = 65535;
    conn->max_read = fs->max_read;
    conn->time_gran = 1;
    if (start_thread(&fs->ready_thread, say_ready, fs) == 0)
        fs->has_ready_thread = true;
}

void
mlc_ops_init(struct fuse_lowlevel_ops *ops)
{
    *ops = (struct fuse_lowlevel_ops){
        .init = op_init,
        .lookup = mlc_op_lookup,
        .forget = mlc_op_forget,
        .forget_multi = mlc_op_forget_multi,
        .getattr = mlc_op_getattr,
        .setattr = mlc_op_setattr,
        .readlink = mlc_op_readlink,
        .mknod = mlc_op_mknod,
        .mkdir = mlc_op_mkdir,
        .unlink = mlc_op_unlink,
        .rmdir = mlc_op_rmdir,
        .symlink = mlc_op_symlink,
        .rename = mlc_op_rename,
        .link = mlc_op_link,
        .open = mlc_op_open,
        .create = mlc_op_create,
        .read = mlc_op_read,
        .write_buf = mlc_op_write_buf,
        .flush = mlc_op_flush,
        .release = mlc_op_release,
        .fsync = mlc_op_fsync,
        .fallocate = mlc_op_fallocate,
        .lseek = mlc_op_lseek,
        .opendir = mlc_op_opendir,
        .readdir = mlc_op_readdir,
        .readdirplus = mlc_op_readdirplus,
        .releasedir = mlc_op_releasedir,
        .fsyncdir = mlc_op_fsyncdir,
        .statfs = mlc_op_statfs,
        .getxattr = mlc_op_getxattr,
        .setxattr = mlc_op_setxattr,
        .listxattr = mlc_op_listxattr,
        .removexattr = mlc_op_removexattr,
    };
}

/* --- the session --------------------------------------------------------- */

static int
append_escaped(struct mlc_buf *b, const char *text)
{
    int r = 0;

    for (; *text && r == 0; text++)
        r = mlc_buf_printf(b, "%s%c", strchr(",\\", *text) ? "\\" : "", *text);
    return r;
}

/* What libfuse is to be told; all of it, or -errno. */
static int
append_options(const struct mlc_fs *fs, const char *more, struct mlc_buf *b)
{
    int r = mlc_buf_puts(b, "subtype=mlcachefs,default_permissions,fsname=");

    if (r == 0)
        r = append_escaped(b, fs->store_path);
    /* Both the kernel and libfuse want to be told, and to hear the same. */
    if (r == 0)
        r = mlc_buf_printf(b, ",max_read=%u", fs->max_read);
    if (r == 0 && fs->is_read_only)
        r = mlc_buf_puts(b, ",ro");
    if (r == 0 && mlc_opt_flag(fs->options, "allow_other"))
        r = mlc_buf_puts(b, ",allow_other");
    if (r == 0 && more)
        r = mlc_buf_printf(b, ",%s", more);
    return r;
}

static struct fuse_session *
new_session(struct mlc_fs *fs, const char *more_options)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_session *se = NULL;
    struct fuse_lowlevel_ops ops;
    struct mlc_buf list;

    mlc_buf_init(&list, 64 * 1024);
    fs->max_read = max_read_size();
    mlc_ops_init(&ops);
    if (append_options(fs, more_options, &list) == 0 &&
        fuse_opt_add_arg(&args, "mlcachefs") == 0 &&
        fuse_opt_add_arg(&args, "-o") == 0 &&
        fuse_opt_add_arg(&args, list.data) == 0)
        se = fuse_session_new(&args, &ops, sizeof(ops), fs);
    fuse_opt_free_args(&args);
    mlc_buf_done(&list);
    return se;
}

struct signals {
    struct fuse_session *session;
    pthread_t main_thread;
    sigset_t set;
    atomic_bool is_done;
};

static void
ignore_signal(int sig)
{
    (void)sig;
}

/* Ends the loop on SIGTERM, SIGINT, SIGHUP.  The loop's main thread waits in
 * a semaphore and looks at the session only when a signal interrupts that. */
static void *
take_signals(void *arg)
{
    struct signals *s = arg;
    int sig;

    if (sigwait(&s->set, &sig) != 0 || atomic_load(&s->is_done))
        return NULL;
    mlc_info("%s: unmounting", sigabbrev_np(sig));
    fuse_session_exit(s->session);
    while (!atomic_load(&s->is_done)) {
        const struct timespec pause = {.tv_nsec = WAKE_MS * 1000000L};

        pthread_kill(s->main_thread, SIGUSR1);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static int
loop(struct fuse_session *se)
{
    struct signals s = {.session = se, .main_thread = pthread_self()};
    struct sigaction wake = {.sa_handler = ignore_signal};
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    pthread_t thread;
    int r;

    if (!config)
        return -ENOMEM;
    sigaction(SIGUSR1, &wake, NULL);
    sigemptyset(&s.set);
    sigaddset(&s.set, SIGTERM);
    sigaddset(&s.set, SIGINT);
    sigaddset(&s.set, SIGHUP);
    r = start_thread(&thread, take_signals, &s);
    if (r == 0) {
        r = fuse_session_loop_mt(se, config);
        atomic_store(&s.is_done, true);
        pthread_kill(thread, SIGTERM);
        pthread_join(thread, NULL);
    }
    fuse_loop_cfg_destroy(config);
    return r;
}

static void __attribute__((format(printf, 2, 0)))
log_fuse(enum fuse_log_level level, const char *fmt, va_list ap)
{
    char text[512];

    vsnprintf(text, sizeof(text), fmt, ap);
    text[strcspn(text, "\n")] = '\0';
    if (level <= FUSE_LOG_WARNING)
        mlc_warn("%s", text);
    else
        mlc_debug("fuse", "%s", text);
}

/* --- background
 * ---------------------------------------------------------------------------
 */

/* In the parent, does not return: waits for the child's word. */
static int
go_to_background(int *ret_ready_fd)
{
    int fds[2], status = 0;
    ssize_t n;
    pid_t pid;
    char c;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0) {
        close(fds[0]);
        setsid();
        *ret_ready_fd = fds[1];
        return 0;
    }
    close(fds[1]);
    do
        n = read(fds[0], &c, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(EXIT_SUCCESS);
    /* It ended without a word on the pipe, and has said why on stderr. */
    if (waitpid(pid, &status, 0) == pid && WIFEXITED(status) &&
        WEXITSTATUS(status) != 0)
        _exit(WEXITSTATUS(status));
    _exit(EXIT_FAILURE);
}

/* Messages go to the store's log file from here on. */
static void
leave_terminal(const struct mlc_fs *fs)
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC), fd = -1;
    struct stat st;

    if (fs->privfd >= 0) {
        if (fstatat(fs->privfd, "log", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_size > MAX_LOG)
            renameat(fs->privfd, "log", fs->privfd, "log.1");
        fd = openat(fs->privfd, "log",
                    O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
                    0600);
    }
    if (fd >= 0)
        mlc_log_to_fd(fd, true);
    if (null >= 0) {
        for (int i = 0; i < 3; i++)
            dup2(null, i);
        if (null > 2)
            close(null);
    }
    if (chdir("/") < 0)
        mlc_debug("fs", "chdir: %m");
}

/* --- main
 * ------------------------------------------------------------------------------------
 */

static int
serve(struct mlc_fs *fs, const struct mlc_args *args)
{
    int r;

    fs->session = new_session(fs, args->fuse_opts);
    if (!fs->session)
        return mlc_log_err(-EINVAL, "cannot start a FUSE session (see above)");
    if (fuse_session_mount(fs->session, fs->mountpoint) != 0) {
        fuse_session_destroy(fs->session);
        return mlc_log_err(-EIO, "%s: cannot be mounted", fs->mountpoint);
    }
    atomic_store(&fs->is_mounted, true);
    if (!args->is_foreground)
        leave_terminal(fs);
    r = loop(fs->session);
    /* Who waits is answered while the session can still reply. */
    mlc_fs_stop(fs);
    fuse_session_unmount(fs->session);
    fuse_session_destroy(fs->session);
    if (fs->has_ready_thread)
        pthread_join(fs->ready_thread, NULL);
    return r;
}

static int
run(const struct mlc_options *options, const struct mlc_args *args)
{
    struct mlc_fs *fs = NULL;
    int ready_fd = -1, r;

    r = clear_mountpoint(args->mountpoint);
    if (r == 0 && !args->is_foreground)
        r = go_to_background(&ready_fd);
    if (r < 0)
        return r;
    r = mlc_fs_new(options, args->mountpoint, &fs);
    if (r == 0) {
        if (ready_fd >= 0)
            fs->ready_fd = ready_fd;
        r = serve(fs, args);
    }
    mlc_fs_free(fs);
    return r;
}

int
main(int argc, char **argv)
{
    struct mlc_options *options = mlc_options_new();
    struct mlc_args args = {0};
    sigset_t set;
    int r;

    /* Fewer arenas and no growing thresholds: buffers go back to the system
     * when a transfer ends.  There is one thread yet. */
    mallopt(M_ARENA_MAX, 4);               /* NOLINT(concurrency-mt-unsafe) */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024); /* NOLINT(concurrency-mt-unsafe) */
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    fuse_set_log_func(log_fuse);

    r = options ? mlc_options_add_table(options, mlc_core_options) : -ENOMEM;
    for (size_t i = 0; r == 0 && mlc_backends[i]; i++)
        if (mlc_backends[i]->options)
            r = mlc_options_add_table(options, mlc_backends[i]->options);
    if (r == 0)
        r = mlc_args_parse(argc, argv, options, &args);
    if (r == 0 && args.is_help) {
        mlc_print_help(options);
    } else if (r == 0 && args.is_version) {
        printf("mlcachefs %s\n", PACKAGE_VERSION);
    } else if (r == 0) {
        mlc_log_set_debug(args.is_debug);
        r = run(options, &args);
    }
    if (r == 0 && fflush(stdout) != 0)
        r = mlc_log_err(-errno, "standard output: %m");
    mlc_args_done(&args);
    mlc_options_free(options);
    return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

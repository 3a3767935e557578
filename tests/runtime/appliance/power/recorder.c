/* Records what a process does to the files below one folder, in the order in which it takes effect (LD_PRELOAD).
 *
 *   RECORD_ROOT   the folder        RECORD_LOG   where the records go
 *
 * A record: kind (1 byte), inode (8), offset (8), lengths of path, second path and data (4 each), then these three.
 * One lock orders all operations, so that the log is what a disk would have been asked for. mmap is not recorded: the only
 * file that is written so here is SQLite's -shm, which nobody reads after a power cut. The replay compares its own end
 * with the folder's, so that whatever else were missed would be noticed.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 'c', CUT = 't', WRITE = 'w', SYNC = 's', MKDIR = 'd', GONE = 'u', RENAME = 'r', LINK = 'l', MARK = 'm' };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char root[PATH_MAX];
static size_t root_length;
static int out = -1;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static ssize_t raw_write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, size);
}

static void put(const void *data, size_t size) {
    const char *rest = data;
    while (size) {
        ssize_t done = raw_write(out, rest, size);
        if (done <= 0) abort();
        rest += done, size -= (size_t)done;
    }
}

static void record(char kind, uint64_t inode, uint64_t offset, const char *path, const char *second, const void *data,
                   size_t size) {
    uint32_t lengths[3] = {(uint32_t)(path ? strlen(path) : 0), (uint32_t)(second ? strlen(second) : 0), (uint32_t)size};
    put(&kind, 1), put(&inode, 8), put(&offset, 8), put(lengths, sizeof lengths);
    if (path) put(path, lengths[0]);
    if (second) put(second, lengths[1]);
    if (size) put(data, size);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : (uint64_t)found.st_ino;
}

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("RECORD_ROOT"), *log = getenv("RECORD_LOG");
    if (!folder || !log || !realpath(folder, root)) return;
    root_length = strlen(root);
    int (*real)(const char *, int, ...) = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open");
    out = real(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (out < 0) abort();
    record(MKDIR, inode_of(root), 0, root, 0, 0, 0);
}

static int below(const char *path) {
    return out >= 0 && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

/* Absolute, its folder without links; empty for what cannot be there. */
static int whole(int folder, const char *path, char *made) {
    char joined[2 * PATH_MAX], base[PATH_MAX];
    if (out < 0 || !path) return 0;
    if (path[0] == '/') snprintf(joined, sizeof joined, "%s", path);
    else {
        char at[64];
        if (folder == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            snprintf(at, sizeof at, "/proc/self/fd/%d", folder);
            ssize_t size = readlink(at, base, sizeof base - 1);
            if (size < 0) return 0;
            base[size] = 0;
        }
        snprintf(joined, sizeof joined, "%s/%s", base, path);
    }
    size_t size = strlen(joined);
    while (size > 1 && joined[size - 1] == '/') joined[--size] = 0;
    if (!strcmp(joined, root)) return strcpy(made, joined), 1;
    char *name = strrchr(joined, '/');
    *name++ = 0;
    if (!realpath(*joined ? joined : "/", base)) return 0;
    if (strlen(base) + strlen(name) + 2 > PATH_MAX) return 0;
    strcpy(made, base), strcat(made, "/"), strcat(made, name);
    return below(made);
}

static int ours(int fd, struct stat *found) {
    char at[64], path[PATH_MAX];
    if (out < 0 || fd == out) return 0;
    snprintf(at, sizeof at, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(at, path, sizeof path - 1);
    if (size <= 0) return 0;
    path[size] = 0;
    return below(path) && !fstat(fd, found);
}

#define LOCKED(type, call) \
    pthread_mutex_lock(&lock); \
    type result = call; \
    int kept = errno
#define UNLOCKED \
    pthread_mutex_unlock(&lock); \
    errno = kept; \
    return result

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void opened(const char *path, int fd, int was, int cuts) {
    struct stat found;
    if (fd < 0 || fstat(fd, &found) || !S_ISREG(found.st_mode)) return;
    if (!was) record(CREATE, found.st_ino, 0, path, 0, 0, 0);
    else if (cuts) record(CUT, found.st_ino, 0, 0, 0, 0, 0);
}

#define OPEN(name, folder, ...) \
    char made[PATH_MAX]; \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    } \
    if (!(flags & (O_CREAT | O_TRUNC)) || !whole(folder, path, made)) return real(__VA_ARGS__); \
    LOCKED(int, (access(made, F_OK) ? (result_was = 0) : (result_was = 1), real(__VA_ARGS__))); \
    opened(made, result, result_was, flags & O_TRUNC); \
    UNLOCKED

int open(const char *path, int flags, ...) {
    int result_was;
    REAL(int, "open", const char *, int, ...);
    OPEN("open", AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    int result_was;
    REAL(int, "open64", const char *, int, ...);
    OPEN("open64", AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    int result_was;
    REAL(int, "openat", int, const char *, int, ...);
    OPEN("openat", folder, folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    int result_was;
    REAL(int, "openat64", int, const char *, int, ...);
    OPEN("openat64", folder, folder, path, flags, mode);
}

static FILE *stream(FILE *(*real)(const char *, const char *), const char *path, const char *mode) {
    char made[PATH_MAX];
    if (mode[0] == 'r' || !whole(AT_FDCWD, path, made)) return real(path, mode);
    int was = !access(made, F_OK);
    LOCKED(FILE *, real(path, mode));
    if (result) opened(made, fileno(result), was, mode[0] == 'w');
    UNLOCKED;
}
FILE *fopen(const char *path, const char *mode) {
    REAL(FILE *, "fopen", const char *, const char *);
    return stream(real, path, mode);
}
FILE *fopen64(const char *path, const char *mode) {
    REAL(FILE *, "fopen64", const char *, const char *);
    return stream(real, path, mode);
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static off_t place_of(int fd, const struct stat *found) {
    return fcntl(fd, F_GETFL) & O_APPEND ? found->st_size : lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t size) {
    struct stat found;
    if (!ours(fd, &found) || !S_ISREG(found.st_mode)) return raw_write(fd, data, size);
    pthread_mutex_lock(&lock);
    fstat(fd, &found);
    off_t place = place_of(fd, &found);
    ssize_t result = raw_write(fd, data, size);
    int kept = errno;
    if (result > 0) record(WRITE, found.st_ino, (uint64_t)place, 0, 0, data, (size_t)result);
    UNLOCKED;
}

static ssize_t vector(ssize_t (*real)(int, const struct iovec *, int), int fd, const struct iovec *parts, int count) {
    struct stat found;
    if (!ours(fd, &found) || !S_ISREG(found.st_mode)) return real(fd, parts, count);
    ssize_t all = 0;
    for (int i = 0; i < count; i++) {
        ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[i].iov_len) break;
    }
    return all;
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    return vector(real, fd, parts, count);
}

#define PWRITE(name) \
    struct stat found; \
    REAL(ssize_t, name, int, const void *, size_t, off_t); \
    if (!ours(fd, &found)) return real(fd, data, size, place); \
    LOCKED(ssize_t, real(fd, data, size, place)); \
    if (result > 0) record(WRITE, found.st_ino, (uint64_t)place, 0, 0, data, (size_t)result); \
    UNLOCKED
ssize_t pwrite(int fd, const void *data, size_t size, off_t place) { PWRITE("pwrite"); }
ssize_t pwrite64(int fd, const void *data, size_t size, off_t place) { PWRITE("pwrite64"); }

#define FTRUNCATE(name) \
    struct stat found; \
    REAL(int, name, int, off_t); \
    if (!ours(fd, &found)) return real(fd, size); \
    LOCKED(int, real(fd, size)); \
    if (!result) record(CUT, found.st_ino, (uint64_t)size, 0, 0, 0, 0); \
    UNLOCKED
int ftruncate(int fd, off_t size) { FTRUNCATE("ftruncate"); }
int ftruncate64(int fd, off_t size) { FTRUNCATE("ftruncate64"); }

/* What copies inside the kernel would go past us: Python then copies by hand. */
ssize_t sendfile(int to, int from, off_t *place, size_t size) {
    struct stat found;
    REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
    return ours(to, &found) ? (errno = ENOTSOCK, -1) : real(to, from, place, size);
}
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t size, unsigned flags) {
    struct stat found;
    REAL(ssize_t, "copy_file_range", int, off64_t *, int, off64_t *, size_t, unsigned);
    return ours(to, &found) ? (errno = EXDEV, -1) : real(from, a, to, b, size, flags);
}

/* --- syncing ------------------------------------------------------------------------------------------------------ */

#define FSYNC(name) \
    struct stat found; \
    REAL(int, name, int); \
    if (!ours(fd, &found)) return real(fd); \
    LOCKED(int, 0); \
    (void)real; \
    record(SYNC, found.st_ino, 0, 0, 0, 0, 0); \
    UNLOCKED
int fsync(int fd) { FSYNC("fsync"); }
int fdatasync(int fd) { FSYNC("fdatasync"); }

/* --- names -------------------------------------------------------------------------------------------------------- */

static int renamed(int result, const char *a, const char *b) {
    if (!result) record(RENAME, 0, 0, a, b, 0, 0);
    return result;
}
int rename(const char *from, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    REAL(int, "rename", const char *, const char *);
    if (!whole(AT_FDCWD, from, a) || !whole(AT_FDCWD, to, b)) return real(from, to);
    LOCKED(int, renamed(real(from, to), a, b));
    UNLOCKED;
}
int renameat(int f, const char *from, int t, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    REAL(int, "renameat", int, const char *, int, const char *);
    if (!whole(f, from, a) || !whole(t, to, b)) return real(f, from, t, to);
    LOCKED(int, renamed(real(f, from, t, to), a, b));
    UNLOCKED;
}

static int linked(int result, const char *a, const char *b) {
    if (!result) record(LINK, inode_of(b), 0, a, b, 0, 0);
    return result;
}
int link(const char *from, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    REAL(int, "link", const char *, const char *);
    if (!whole(AT_FDCWD, from, a) || !whole(AT_FDCWD, to, b)) return real(from, to);
    LOCKED(int, linked(real(from, to), a, b));
    UNLOCKED;
}
int linkat(int f, const char *from, int t, const char *to, int flags) {
    char a[PATH_MAX], b[PATH_MAX];
    REAL(int, "linkat", int, const char *, int, const char *, int);
    if (!whole(f, from, a) || !whole(t, to, b)) return real(f, from, t, to, flags);
    LOCKED(int, linked(real(f, from, t, to, flags), a, b));
    UNLOCKED;
}

static int made_folder(int result, const char *path) {
    if (!result) record(MKDIR, inode_of(path), 0, path, 0, 0, 0);
    return result;
}
int mkdir(const char *path, mode_t mode) {
    char made[PATH_MAX];
    REAL(int, "mkdir", const char *, mode_t);
    if (!whole(AT_FDCWD, path, made)) return real(path, mode);
    LOCKED(int, made_folder(real(path, mode), made));
    UNLOCKED;
}
int mkdirat(int folder, const char *path, mode_t mode) {
    char made[PATH_MAX];
    REAL(int, "mkdirat", int, const char *, mode_t);
    if (!whole(folder, path, made)) return real(folder, path, mode);
    LOCKED(int, made_folder(real(folder, path, mode), made));
    UNLOCKED;
}

static int removed(int result, const char *path) {
    if (!result) record(GONE, 0, 0, path, 0, 0, 0);
    return result;
}
#define REMOVE(name, folder, ...) \
    char made[PATH_MAX]; \
    if (!whole(folder, path, made)) return real(__VA_ARGS__); \
    LOCKED(int, removed(real(__VA_ARGS__), made)); \
    UNLOCKED
int unlink(const char *path) { REAL(int, "unlink", const char *); REMOVE("unlink", AT_FDCWD, path); }
int rmdir(const char *path) { REAL(int, "rmdir", const char *); REMOVE("rmdir", AT_FDCWD, path); }
int remove(const char *path) { REAL(int, "remove", const char *); REMOVE("remove", AT_FDCWD, path); }
int unlinkat(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    REMOVE("unlinkat", folder, folder, path, flags);
}

/* What the test wants to be remembered at this instant. */
void record_mark(const char *text) {
    if (out < 0) return;
    pthread_mutex_lock(&lock);
    record(MARK, 0, 0, 0, 0, text, strlen(text));
    pthread_mutex_unlock(&lock);
}

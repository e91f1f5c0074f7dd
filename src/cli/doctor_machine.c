/* SPDX-License-Identifier: Apache-2.0 */
/* The doctor's checks of the machine: disk, limits, memory, clock, ports, kernel, service. What is
 * read where stands in proc(5), adjtimex(2), membarrier(2) and the kernel's admin-guide. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <unistd.h>

#include "cli/doctor.h"
#include "core/alloc.h"
#include "manager/manager.h"

enum {
    MIB = 1 << 20,
    OWN_DESCRIPTORS = 64, /* database, segments, loops, log, reserve */
    JUMP_MS = 2000,       /* the two clocks may differ so much by themselves */
    YEAR_2024_S = 1704067200,
    WRITES = 5,
};

/* ---- the real world ---- */

static int real_nofile(struct rlimit *ret_limit)
{
    return getrlimit(RLIMIT_NOFILE, ret_limit);
}

static int real_clock_status(void)
{
    struct timex t = {0};

    return adjtimex(&t); /* only asks: no mode is set */
}

static bool real_has_membarrier(void)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

    return commands > 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED);
}

const mp__doctor_world mp__doctor_real_world = {
    .root = "",
    .statvfs = statvfs,
    .nofile = real_nofile,
    .clock_status = real_clock_status,
    .has_membarrier = real_has_membarrier,
};

/* ---- disk ---- */

static void say_room(mp__doctor *d, const struct statvfs *st)
{
    uint64_t room = (uint64_t)st->f_bavail * st->f_frsize,
             all = (uint64_t)st->f_blocks * st->f_frsize;
    uint64_t kept = (uint64_t)mp__options_int(d->options, "cache.l3_size_mb") * MIB;
    const json_t *l3 = json_object_get(json_object_get(d->status, "cache"), "l3");
    uint64_t used = (uint64_t)json_integer_value(json_object_get(l3, "bytes"));
    char text[32], more[32];

    (void)mp__doctor_bytes(room, text, sizeof(text));
    if (room < 32 * MIB || room < all / 200)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "make room: without it writes are refused (reads go on)", "only %s are free",
                       text);
    else if (room < 256 * MIB || room < all / 20)
        mp__doctor_say(d, MP__FINDING_WARNING, "make room soon", "only %s are free", text);
    else if (kept > used && room < kept - used)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "lower cache.l3_size_mb, or make room: the cache on disk stops growing "
                       "otherwise",
                       "%s are free, and the cache on disk may still take %s", text,
                       mp__doctor_bytes(kept - used, more, sizeof(more)));
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "%s of %s are free", text,
                       mp__doctor_bytes(all, more, sizeof(more)));
    if (st->f_files && st->f_favail < st->f_files / 100)
        mp__doctor_say(d, st->f_favail < 100 ? MP__FINDING_TROUBLE : MP__FINDING_WARNING,
                       "remove small files that nobody needs: new files cannot be made without",
                       "only %llu of %llu inodes are free", (unsigned long long)st->f_favail,
                       (unsigned long long)st->f_files);
}

static int compare_ns(const void *a, const void *b)
{
    uint64_t x, y;

    memcpy(&x, a, sizeof(x));
    memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

/* The median time of a small write that is synced. */
static int time_writes(mp__doctor *d, const char *path, uint64_t *ret_ns)
{
    char block[4096] = "marketprism doctor";
    uint64_t took[WRITES];
    mp__file *file;
    int rc =
        mp__file_open(d->env, path, MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_TRUNCATE, &file);

    if (rc)
        return rc;
    for (int i = 0; i < WRITES && rc == 0; i++) {
        uint64_t began = mp__env_now_ns(d->env);

        rc = mp__file_pwrite(file, block, sizeof(block), (uint64_t)i * sizeof(block));
        if (rc == 0)
            rc = mp__file_sync(file);
        took[i] = mp__env_now_ns(d->env) - began;
    }
    mp__file_close(file);
    (void)mp__env_unlink(d->env, path);
    if (rc)
        return rc;
    qsort(took, WRITES, sizeof(took[0]), compare_ns);
    *ret_ns = took[WRITES / 2];
    return 0;
}

static void say_writes(mp__doctor *d)
{
    char path[4300];
    uint64_t ns = 0;
    double ms;
    int rc = mp__doctor_path(d, ".doctor", path, sizeof(path));

    if (rc == 0)
        rc = time_writes(d, path, &ns);
    ms = (double)ns / 1e6;
    if (rc == -ENOENT || rc == -EACCES)
        return; /* data-dir says it */
    if (rc)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       rc == -ENOSPC  ? "make room (a quota may be reached, too)"
                       : rc == -EROFS ? "mount it writable; dmesg says why it is not"
                                      : "look at the disk (smartctl, dmesg); mend it and check the "
                                        "database",
                       "a synced write into %s fails: %s", d->data_dir, mp_strerror(rc));
    else if (ms > 100)
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "use a faster disk, or find who keeps it busy (iostat -x): each write waits "
                       "for it",
                       "a synced write takes %.0f ms", ms);
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "a synced write takes %.2f ms", ms);
}

void mp__check_disk(mp__doctor *d)
{
    struct statvfs st;

    if (d->world->statvfs(d->data_dir, &st) == 0)
        say_room(d, &st);
    else if (errno != ENOENT)
        mp__doctor_say(d, MP__FINDING_WARNING, "", "the room of %s is not known: %s", d->data_dir,
                       mp_strerror(-errno));
    say_writes(d);
}

/* ---- limits ---- */

/* "Max open files            1024                 524288               files" */
static long long limit_of(const mp__doctor *d, long pid)
{
    char path[64];
    MP__CLEANUP_FREE char *text = NULL;
    const char *line;

    (void)snprintf(path, sizeof(path), "/proc/%ld/limits", pid);
    text = mp__doctor_read(d, path);
    line = text ? strstr(text, "Max open files") : NULL;
    if (!line)
        return -1;
    line += strlen("Max open files");
    line += strspn(line, " ");
    return strncmp(line, "unlimited", 9) == 0 ? INT32_MAX : strtoll(line, NULL, 10);
}

void mp__check_limits(mp__doctor *d)
{
    long long clients = mp__options_int(d->options, "resp.max_clients") +
                        mp__options_int(d->options, "http.max_clients");
    long pid = mp__doctor_pid(d);
    long long has = pid ? limit_of(d, pid) : -1;
    struct rlimit own;

    if (has < 0 && d->world->nofile(&own) == 0) {
        pid = 0;
        has =
            own.rlim_max > INT32_MAX ? INT32_MAX : (long long)own.rlim_max; /* it raises its own */
    }
    if (has < 0)
        mp__doctor_say(d, MP__FINDING_WARNING, "", "the limit of descriptors is not known");
    else if (has < clients + OWN_DESCRIPTORS)
        mp__doctor_say(d, has < 1024 ? MP__FINDING_TROUBLE : MP__FINDING_WARNING,
                       "raise LimitNOFILE in the unit (ulimit -n), or lower resp.max_clients and "
                       "http.max_clients",
                       "%lld descriptors are allowed%s, and %lld clients", has,
                       pid ? " to the daemon" : "", clients);
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "%lld descriptors for %lld clients", has, clients);
}

/* ---- memory ---- */

static long long meminfo(const mp__doctor *d, const char *name)
{
    MP__CLEANUP_FREE char *text = mp__doctor_read(d, "/proc/meminfo");
    const char *line = text ? strstr(text, name) : NULL;

    return line ? strtoll(line + strlen(name), NULL, 10) * 1024 : -1;
}

/* The least memory.max from the process's cgroup up; -1: there is none. cgroup v2. */
static long long cgroup_max(const mp__doctor *d, long pid)
{
    char path[64], file[4400], *group, *end;
    MP__CLEANUP_FREE char *text = NULL;
    long long least = -1;

    if (pid)
        (void)snprintf(path, sizeof(path), "/proc/%ld/cgroup", pid);
    else
        (void)snprintf(path, sizeof(path), "/proc/self/cgroup");
    text = mp__doctor_read(d, path);
    group = text ? strstr(text, "0::/") : NULL;
    if (!group)
        return -1;
    group += 3;
    group[strcspn(group, "\n")] = '\0';
    for (;;) {
        long long max;

        (void)snprintf(file, sizeof(file), "/sys/fs/cgroup%s/memory.max",
                       strcmp(group, "/") == 0 ? "" : group);
        max = mp__doctor_number(d, file, -1);
        if (max >= 0 && (least < 0 || max < least))
            least = max;
        end = strrchr(group, '/');
        if (!end || strcmp(group, "/") == 0)
            return least;
        if (end == group)
            end++;
        *end = '\0';
    }
}

void mp__check_memory(mp__doctor *d)
{
    mp__memory_plan plan = {0};
    bool planned = mp__memory_plan_make(d->options, &plan, NULL) == 0;
    /* the queues are seldom full, unless they were given their part */
    long long cache = (long long)(plan.max ? plan.max : plan.l1_bytes + plan.l2_bytes);
    long long most = cgroup_max(d, mp__doctor_pid(d)), there = meminfo(d, "MemAvailable:");
    char wanted[32], given[32];

    (void)mp__doctor_bytes((uint64_t)cache, wanted, sizeof(wanted));
    if (!planned) /* the check of the configuration says why */
        return;
    if (most >= 0 && cache + 64LL * MIB > most)
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       "raise the service's memory limit (MemoryMax), or lower memory.max: else "
                       "the kernel ends the daemon",
                       "its cgroup allows %s, and the caches alone may take %s",
                       mp__doctor_bytes((uint64_t)most, given, sizeof(given)), wanted);
    else if (there >= 0 && cache > there)
        mp__doctor_say(d, MP__FINDING_WARNING, "lower memory.max, or give the machine more memory",
                       "%s of memory are available, and the caches may take %s",
                       mp__doctor_bytes((uint64_t)there, given, sizeof(given)), wanted);
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "the caches may take %s, %s are available", wanted,
                       there < 0 ? "nobody knows how many"
                                 : mp__doctor_bytes((uint64_t)there, given, sizeof(given)));
}

/* ---- clock ---- */

void mp__check_clock(mp__doctor *d)
{
    int64_t wall_ms = mp__env_wall_ms(d->env);
    int status = d->world->clock_status();
    const json_t *started = json_object_get(d->status, "started_ms");

    if (wall_ms / 1000 < YEAR_2024_S)
        mp__doctor_say(d, MP__FINDING_TROUBLE, "set it: expiries and times of change are wrong",
                       "the clock stands before 2024");
    if (started) {
        int64_t up_ms = json_integer_value(json_object_get(d->status, "uptime_s")) * 1000;
        int64_t off_ms = wall_ms - json_integer_value(started) - up_ms;

        /* uptime is told in whole seconds, rounded down */
        if (off_ms < -JUMP_MS || off_ms > JUMP_MS + 1000)
            mp__doctor_say(
                d, MP__FINDING_WARNING,
                "find who sets it; let NTP slew instead of step (chrony: makestep only at "
                "the start)",
                "the clock was set by %+.1f s since the daemon started", (double)off_ms / 1000);
    }
    if (status == TIME_ERROR)
        mp__doctor_say(d, MP__FINDING_WARNING, "run an NTP client (chrony, systemd-timesyncd)",
                       "the clock is not synchronised");
    else if (status < 0)
        mp__doctor_say(d, MP__FINDING_OK, "", "whether it is synchronised cannot be asked here");
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "synchronised");
}

/* ---- ports ---- */

/* The inode of the socket that listens on @port, 0: none is seen. */
static unsigned long listener_inode(const mp__doctor *d, const char *table, unsigned port)
{
    MP__CLEANUP_FREE char *text = mp__doctor_read(d, table);
    char *line = text ? strchr(text, '\n') : NULL; /* behind the heads of the columns */

    while (line && *++line) {
        /* "   0: 0100007F:1D38 00000000:0000 0A …": local address, remote, state; inode is tenth */
        char *field = strchr(line, ':'), *colon = field ? strchr(field + 1, ':') : NULL;
        char *next = strchr(line, '\n'), *p = colon;
        bool listens;

        if (!colon || (next && colon > next))
            break;
        listens = strtoul(colon + 1, NULL, 16) == port && strncmp(colon + 5, " ", 1) == 0;
        for (int i = 0; p && i < 2; i++)
            p = strchr(p + 1, ' ');
        if (listens && p && strtoul(p + 1, NULL, 16) == 0x0A) {
            for (int i = 0; p && i < 6; i++) {
                p = strchr(p + 1, ' ');
                while (p && p[1] == ' ')
                    p++;
            }
            return p ? strtoul(p + 1, NULL, 10) : 0;
        }
        line = next;
    }
    return 0;
}

static bool has_socket(const mp__doctor *d, const char *pid, unsigned long inode)
{
    char path[400], link[64], want[64];
    DIR *dir;
    bool found = false;

    (void)snprintf(path, sizeof(path), "%s/proc/%.20s/fd", d->world->root, pid);
    (void)snprintf(want, sizeof(want), "socket:[%lu]", inode);
    dir = opendir(path);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e && !found; e = readdir(dir)) {
        char name[700];
        ssize_t n;

        (void)snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        n = readlink(name, link, sizeof(link) - 1);
        link[n > 0 ? n : 0] = '\0';
        found = strcmp(link, want) == 0;
    }
    if (dir)
        (void)closedir(dir);
    return found;
}

/* "nginx (123)", or "another process" where it may not be looked at. */
static const char *holder_of(const mp__doctor *d, unsigned port, char *text, size_t capacity,
                             long *ret_pid)
{
    unsigned long inode = listener_inode(d, "/proc/net/tcp", port);
    char path[300];
    DIR *proc;

    *ret_pid = 0;
    (void)snprintf(text, capacity, "another process");
    if (!inode)
        inode = listener_inode(d, "/proc/net/tcp6", port);
    (void)snprintf(path, sizeof(path), "%s/proc", d->world->root);
    proc = inode ? opendir(path) : NULL;
    for (struct dirent *e = proc ? readdir(proc) : NULL; e; e = readdir(proc)) {
        MP__CLEANUP_FREE char *name = NULL;

        if (e->d_name[0] < '0' || e->d_name[0] > '9' || !has_socket(d, e->d_name, inode))
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
        name = mp__doctor_read(d, path);
        *ret_pid = strtol(e->d_name, NULL, 10);
        (void)snprintf(text, capacity, "%.*s (%ld)", name ? (int)strcspn(name, "\n") : 1,
                       name ? name : "?", *ret_pid);
        break;
    }
    if (proc)
        (void)closedir(proc);
    return text;
}

/* Another daemon of ours is no stranger to be stopped: it is told by what it runs on. */
static void say_holder(mp__doctor *d, const char *option, const char *address, const char *holder,
                       long pid)
{
    const char *other = json_string_value(json_object_get(d->status, "data_dir"));
    mp__doctor there = *d;

    there.data_dir = other;
    if (other && pid && strcmp(other, d->data_dir) != 0 && mp__doctor_pid(&there) == pid)
        mp__doctor_say(
            d, MP__FINDING_TROUBLE, "give this one another port (--set), or stop the other daemon",
            "%s: %s is held by %s, the daemon that runs on %.200s", option, address, holder, other);
    else
        mp__doctor_say(d, MP__FINDING_TROUBLE, "stop that, or choose another port",
                       "%s: %s is held by %s", option, address, holder);
}

static void check_port(mp__doctor *d, const char *option)
{
    const char *address = mp__options_text(d->options, option);
    char host[256], holder[64];
    uint16_t port = 0;
    mp__diag diag = {0};
    long pid = 0, own = mp__doctor_pid(d);
    int rc = mp__address_parse(address, host, sizeof(host), &port, &diag);

    if (rc) {
        mp__doctor_say(d, MP__FINDING_TROUBLE, "write HOST:PORT", "%s: %.300s", option, diag.text);
        return;
    }
    if (port == 0) {
        mp__doctor_say(d, MP__FINDING_OK, "", "%s: the system chooses", option);
        return;
    }
    rc = mp__listen_probe(d->env, host, port);
    if (rc == -EADDRINUSE)
        (void)holder_of(d, port, holder, sizeof(holder), &pid);
    if (rc == 0 && own)
        mp__doctor_say(d, MP__FINDING_WARNING, "give the daemon's own --config or --set here",
                       "%s: nobody listens at %s, and process %ld has the data directory", option,
                       address, own);
    else if (rc == 0)
        mp__doctor_say(d, MP__FINDING_OK, "", "%s: %s is free", option, address);
    else if (rc == -EADDRINUSE && pid && pid == own)
        mp__doctor_say(d, MP__FINDING_OK, "", "%s: the daemon listens at %s", option, address);
    else if (rc == -EADDRINUSE)
        say_holder(d, option, address, holder, pid);
    else
        mp__doctor_say(d, MP__FINDING_TROUBLE,
                       rc == -EACCES ? "choose a port from 1024 on, or give the service "
                                       "CAP_NET_BIND_SERVICE"
                                     : "choose an address that this machine has",
                       "%s: %s cannot be listened at: %s", option, address, mp_strerror(rc));
}

void mp__check_ports(mp__doctor *d)
{
    check_port(d, "resp.listen");
    check_port(d, "http.listen");
}

/* ---- kernel ---- */

static void check_inotify(mp__doctor *d)
{
    long long watches = mp__doctor_number(d, "/proc/sys/fs/inotify/max_user_watches", -1);
    long long instances = mp__doctor_number(d, "/proc/sys/fs/inotify/max_user_instances", -1);

    if (instances >= 0 && instances < 16)
        mp__doctor_say(d, MP__FINDING_WARNING, "sysctl fs.inotify.max_user_instances=128",
                       "only %lld users of inotify are allowed: the file origin would have to look "
                       "instead of being told",
                       instances);
    else if (watches >= 0 && watches < 1024)
        mp__doctor_say(d, MP__FINDING_WARNING, "sysctl fs.inotify.max_user_watches=65536",
                       "only %lld watches of folders are allowed", watches);
}

static void check_io_uring(mp__doctor *d)
{
    long long disabled = mp__doctor_number(d, "/proc/sys/kernel/io_uring_disabled", 0);

    if (mp__options_bool(d->options, "server.io_uring") && disabled > 0)
        mp__doctor_say(d, MP__FINDING_OK, "",
                       "io_uring is refused to %s (kernel.io_uring_disabled): each connection costs"
                       " system calls of its own",
                       disabled == 1 ? "those who are not in its group" : "all");
}

void mp__check_kernel(mp__doctor *d)
{
    MP__CLEANUP_FREE char *pages =
        mp__doctor_read(d, "/sys/kernel/mm/transparent_hugepage/enabled");
    long long backlog = mp__doctor_number(d, "/proc/sys/net/core/somaxconn", -1);
    size_t before = d->count;

    if (!d->world->has_membarrier())
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "allow membarrier(2) in the sandbox, or use a kernel from 4.14 on",
                       "there is no membarrier: reads of the cache are slower");
    if (strcmp(mp__options_text(d->options, "origin.type"), "file") == 0)
        check_inotify(d);
    check_io_uring(d);
    if (pages && strstr(pages, "[always]"))
        mp__doctor_say(d, MP__FINDING_WARNING,
                       "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled",
                       "huge pages are given always: memory in use grows by what they round up");
    if (backlog >= 0 && backlog < 511)
        mp__doctor_say(d, MP__FINDING_WARNING, "sysctl net.core.somaxconn=4096",
                       "at most %lld connections can wait to be accepted", backlog);
    if (d->count == before)
        mp__doctor_say(d, MP__FINDING_OK, "", "nothing is missing");
}

/* ---- service ---- */

static long long status_of(const char *text, const char *name)
{
    const char *line = text ? strstr(text, name) : NULL;

    return line ? strtoll(line + strlen(name), NULL, 10) : -1;
}

void mp__check_service(mp__doctor *d)
{
    long pid = mp__doctor_pid(d);
    char path[64];
    MP__CLEANUP_FREE char *text = NULL;
    long long uid, seccomp, no_new;

    if (!pid) {
        if (d->world->uid == 0)
            mp__doctor_say(d, MP__FINDING_OK, "",
                           "no daemon runs on it; who starts it here is root");
        else
            mp__doctor_say(d, MP__FINDING_OK, "", "no daemon runs on it");
        return;
    }
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", pid);
    text = mp__doctor_read(d, path);
    uid = status_of(text, "\nUid:");
    seccomp = status_of(text, "\nSeccomp:");
    no_new = status_of(text, "\nNoNewPrivs:");
    if (!text)
        mp__doctor_say(d, MP__FINDING_WARNING, "ask as root, or as who runs it",
                       "process %ld cannot be looked at", pid);
    else if (uid == 0)
        mp__doctor_say(d, MP__FINDING_WARNING, "run it as a user of its own (User= in the unit)",
                       "the daemon runs as root%s", seccomp > 0 ? ", under a filter of calls" : "");
    else
        mp__doctor_say(d, MP__FINDING_OK, "", "runs as user %lld, %s, %s", uid,
                       seccomp > 0 ? "under a filter of calls" : "without a filter of calls",
                       no_new == 1 ? "cannot gain rights" : "may gain rights by setuid programs");
}

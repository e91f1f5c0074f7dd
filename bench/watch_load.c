/* SPDX-License-Identifier: Apache-2.0 */
/* Watchers of one key prefix, thousands of them on one epoll, and a writer: how long from the
 * writer's reply, and how long from its request, until each of them knows. Or, without writes,
 * watchers that wait and do nothing.
 *
 *   watch_load --resp HOST:PORT [--http HOST:PORT] [--sse N] [--poll N] [--watch N] [--writes N]
 *              [--publish] [--pid PID] [--pause MS]
 *
 * --sse, --poll: over HTTP; --watch: over RESP (MP.WATCH). --publish is for redis-server: --watch
 * then subscribes to a channel, and the writer publishes. One write at a time: the next one begins
 * --pause ms after the last watcher has heard. The generator is one thread, so what it needs to
 * read from all watchers is part of what it measures; therefore the kernel's time stamp of what it
 * reads is looked at as well, which is when a watcher of its own would have been woken. One JSON
 * object: latencies in ms, the server's memory before and with the watchers, and its CPU time a
 * delivery. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum kind { SSE, POLL, WATCH, KINDS };
enum { WRITES_MAX = 10000, WARM_MAX = 50, READ_SIZE = 65536, LOCAL_PORTS = 20000 };

typedef struct watcher {
    int fd;
    enum kind kind;
    int heard;     /* newest write it knows of; -1: none */
    bool ready;    /* it has said hello */
    char tail[16]; /* of what was read, in case the number is torn */
    size_t tail_size;
    char position[64];
} watcher;

static struct {
    struct sockaddr_in resp, http;
    unsigned counts[KINDS], writes, pause_ms;
    long pid;
    bool publish;
} run = {.writes = 200, .pause_ms = 20};

static watcher *watchers;
static unsigned watcher_count, heard_count;
static int epoll = -1, writer = -1;
static double asked_at;
static double replied_at; /* 0: the reply is awaited */
static int newest = -1;
static size_t unstamped;
static double asked_at_wall; /* by the clock of the kernel's time stamps */
static double replied_at_wall;
/* ms: until it is read, from the reply and from the request; until it is in the watcher's socket,
 * from the request, and from when the reply was in the writer's */
static double *latencies, *since_asked, *to_socket, *after_reply;
static size_t latency_count;

static void die(const char *what)
{
    (void)fprintf(stderr, "watch_load: %s%s%s\n", what, errno ? ": " : "",
                  errno ? strerror(errno) : "");
    exit(1);
}

static double clock_s(clockid_t clock)
{
    struct timespec t;

    (void)clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double now_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

/* ---- the server, from outside ---- */

static double cpu_s(void)
{
    char path[64], line[1024], *p;
    unsigned long user = 0, system = 0;
    FILE *file;

    if (!run.pid)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", run.pid);
    file = fopen(path, "r");
    if (!file || !fgets(line, sizeof(line), file))
        die(path);
    (void)fclose(file);
    p = strrchr(line, ')'); /* the name may hold anything */
    for (int field = 2; p && field < 13; field++)
        p = strchr(p + 1, ' ');
    if (!p)
        die("an unknown /proc/PID/stat");
    user = strtoul(p + 1, &p, 10);
    system = strtoul(p + 1, NULL, 10);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static long rss_kb(void)
{
    char path[64], line[256];
    long kb = 0;
    FILE *file;

    if (!run.pid)
        return 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", run.pid);
    file = fopen(path, "r");
    if (!file)
        die(path);
    while (fgets(line, sizeof(line), file))
        if (strncmp(line, "VmRSS:", 6) == 0)
            kb = strtol(line + 6, NULL, 10);
    (void)fclose(file);
    return kb;
}

/* ---- connections ---- */

static void send_all(int fd, const char *text, size_t size)
{
    while (size) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);

        if (n < 0)
            die("send");
        text += n;
        size -= (size_t)n;
    }
}

/* Above some thousands the ports of one address run out: each has its own on 127/8. */
static int connect_to(const struct sockaddr_in *to, unsigned number)
{
    struct sockaddr_in from = {.sin_family = AF_INET};
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

    if (fd < 0)
        die("socket");
    from.sin_addr.s_addr = htonl(0x7f000001u + number / LOCAL_PORTS);
    /* the port is chosen by connect(), which may use one that still waits for another server */
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&from, sizeof(from)) != 0 ||
        connect(fd, (const struct sockaddr *)to, sizeof(*to)) != 0)
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void add_to_epoll(int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        die("epoll_ctl");
}

static void ask(watcher *w)
{
    char text[512];
    int n = 0;

    switch (w->kind) {
    case SSE:
        n = snprintf(text, sizeof(text),
                     "GET /v1/watch?prefix=bench/ HTTP/1.1\r\nHost: bench\r\n\r\n");
        break;
    case POLL:
        n = snprintf(text, sizeof(text),
                     "GET /v1/watch?prefix=bench/&wait=10m%s%s HTTP/1.1\r\nHost: bench\r\n\r\n",
                     w->position[0] ? "&rev=" : "", w->position);
        break;
    case WATCH:
    case KINDS:
        n = snprintf(text, sizeof(text), "%s\r\n",
                     run.publish ? "SUBSCRIBE bench" : "MP.WATCH PREFIX bench/");
        break;
    }
    send_all(w->fd, text, (size_t)n);
}

static void want_time_stamps(int fd)
{
    int one = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &one, sizeof(one)) != 0)
        die("SO_TIMESTAMPNS");
}

static void open_watchers(void)
{
    for (int kind = 0; kind < KINDS; kind++)
        watcher_count += run.counts[kind];
    watchers = calloc(watcher_count ? watcher_count : 1, sizeof(*watchers));
    latencies = calloc((size_t)watcher_count * run.writes + 1, sizeof(*latencies));
    since_asked = calloc((size_t)watcher_count * run.writes + 1, sizeof(*since_asked));
    to_socket = calloc((size_t)watcher_count * run.writes + 1, sizeof(*to_socket));
    after_reply = calloc((size_t)watcher_count * run.writes + 1, sizeof(*after_reply));
    if (!watchers || !latencies || !since_asked || !to_socket || !after_reply)
        die("memory");
    for (unsigned i = 0, kind = 0, of_kind = 0; i < watcher_count; i++) {
        while (of_kind == run.counts[kind]) {
            kind++;
            of_kind = 0;
        }
        of_kind++;
        watchers[i] = (watcher){.kind = (enum kind)kind, .heard = -1};
        watchers[i].fd = connect_to(kind == WATCH ? &run.resp : &run.http, i);
        want_time_stamps(watchers[i].fd);
        ask(&watchers[i]);
        add_to_epoll(watchers[i].fd, &watchers[i]);
    }
}

/* ---- what comes ---- */

/* When something was read, and when it had come into the socket. */
typedef struct moment {
    double read_at;
    double came_at; /* by the wall clock */
} moment;

static void heard(watcher *w, int number, moment at)
{
    if (number <= w->heard)
        return;
    w->heard = number;
    if (number != newest)
        return;
    heard_count++;
    if (number >= 0 && number < (int)run.writes) {
        bool is_early = replied_at == 0 || at.read_at < replied_at;
        double ms = is_early ? 0 : (at.read_at - replied_at) * 1e3;

        since_asked[latency_count] = (at.read_at - asked_at) * 1e3;
        to_socket[latency_count] = (at.came_at - asked_at_wall) * 1e3;
        latencies[latency_count++] = ms;
    }
}

/* Keys are called seq-00000001 and so on, warming ones seq-w. */
static void look_for_numbers(watcher *w, const char *data, size_t size, moment at)
{
    static const char mark[] = "seq-";
    const char *p = data, *end = data + size;

    while ((p = memmem(p, (size_t)(end - p), mark, 4)) != NULL && end - p >= 12) {
        heard(w, (int)strtol(p + 4, NULL, 10), at); /* behind 8 digits comes none */
        p += 4;
    }
}

static void note_position(watcher *w, const char *data, size_t size)
{
    static const char mark[] = "\"position\":\"";
    const char *p = memmem(data, size, mark, sizeof(mark) - 1), *end;

    if (!p)
        return;
    p += sizeof(mark) - 1;
    end = memchr(p, '"', (size_t)(data + size - p));
    if (end && (size_t)(end - p) < sizeof(w->position)) {
        memcpy(w->position, p, (size_t)(end - p));
        w->position[end - p] = '\0';
    }
}

/* What is there, into @data, and when it came; -1: nothing more will come. */
static ssize_t read_some(int fd, char *data, size_t size, moment *ret_at)
{
    struct iovec part = {.iov_base = data, .iov_len = size};
    union {
        char space[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr aligned;
    } control;
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &message, 0);
    struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    struct timespec t;

    *ret_at = (moment){now_s(), clock_s(CLOCK_REALTIME)};
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        ret_at->came_at = (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
    } else {
        unstamped++; /* it was sent before the kernel began with it */
    }
    return n;
}

static void comes(watcher *w)
{
    static char buffer[READ_SIZE + sizeof(w->tail)];
    ssize_t n;
    size_t size;
    moment at;

    memcpy(buffer, w->tail, w->tail_size);
    n = read_some(w->fd, buffer + w->tail_size, READ_SIZE, &at);
    if (n <= 0)
        die("a watcher was disconnected");
    size = w->tail_size + (size_t)n;
    w->ready = true;
    look_for_numbers(w, buffer, size, at);
    if (w->kind == POLL && memmem(buffer, size, "\"reset\":false}", 14)) {
        note_position(w, buffer, size);
        ask(w);
    }
    w->tail_size = size < 11 ? size : 11; /* one less than a number needs */
    memcpy(w->tail, buffer + size - w->tail_size, w->tail_size);
}

static void reply_comes(void)
{
    char buffer[256];
    moment at;
    ssize_t n = read_some(writer, buffer, sizeof(buffer), &at);

    if (n <= 0 || buffer[0] == '-')
        die("the write was refused");
    replied_at = at.read_at;
    replied_at_wall = at.came_at;
}

static bool turn(int timeout_ms)
{
    static struct epoll_event events[4096];
    int n = epoll_wait(epoll, events, 4096, timeout_ms);

    if (n < 0)
        die("epoll_wait");
    for (int i = 0; i < n; i++)
        if (!events[i].data.ptr)
            reply_comes(); /* the writer first */
    for (int i = 0; i < n; i++)
        if (events[i].data.ptr)
            comes(events[i].data.ptr);
    return n > 0;
}

static void settle(unsigned ms)
{
    double end = now_s() + ms * 1e-3, left = ms * 1e-3;

    while (left > 0) {
        (void)turn((int)(left * 1e3) + 1);
        left = end - now_s();
    }
}

static void begin_write(int number)
{
    char text[128];
    int n;

    newest = number;
    heard_count = 0;
    replied_at = 0;
    asked_at = now_s();
    asked_at_wall = clock_s(CLOCK_REALTIME);
    n = run.publish ? snprintf(text, sizeof(text), "PUBLISH bench seq-%08d\r\n", number)
                    : snprintf(text, sizeof(text), "SET bench/seq-%08d 1\r\n", number);
    send_all(writer, text, (size_t)n);
}

/* One write and all who hear of it. */
static void write_once(int number, bool must)
{
    double end = now_s() + (must ? 20 : 0.5);
    size_t first = latency_count;

    begin_write(number);
    while (heard_count < watcher_count || replied_at == 0) {
        (void)turn(100);
        if (now_s() > end) {
            if (must)
                die("a watcher did not hear of a write within 20 s");
            break;
        }
    }
    for (size_t i = first; i < latency_count; i++)
        after_reply[i] = to_socket[i] - (replied_at_wall - asked_at_wall) * 1e3;
}

/* ---- figures ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double quantile(const double *sorted, double q)
{
    return latency_count ? sorted[(size_t)(q * (double)(latency_count - 1))] : 0;
}

static void parse_address(const char *text, struct sockaddr_in *out)
{
    char host[64];
    const char *colon = strrchr(text, ':');

    if (!colon || (size_t)(colon - text) >= sizeof(host))
        die("an address is HOST:PORT");
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    *out = (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10))};
    if (inet_pton(AF_INET, host, &out->sin_addr) != 1)
        die("HOST is an IPv4 address");
}

static void take_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(name, "--publish") == 0) {
            run.publish = true;
            continue;
        }
        i++;
        if (strcmp(name, "--resp") == 0)
            parse_address(value, &run.resp);
        else if (strcmp(name, "--http") == 0)
            parse_address(value, &run.http);
        else if (strcmp(name, "--sse") == 0)
            run.counts[SSE] = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(name, "--poll") == 0)
            run.counts[POLL] = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(name, "--watch") == 0)
            run.counts[WATCH] = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(name, "--writes") == 0)
            run.writes = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(name, "--pause") == 0)
            run.pause_ms = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(name, "--pid") == 0)
            run.pid = strtol(value, NULL, 10);
        else
            die("unknown argument; see the head of watch_load.c");
    }
    if (run.writes > WRITES_MAX)
        die("--writes is too large");
}

static void allow_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    long rss_before, rss_with;
    double cpu;

    take_arguments(argc, argv);
    allow_descriptors();
    epoll = epoll_create1(0);
    writer = connect_to(&run.resp, 0);
    want_time_stamps(writer);
    add_to_epoll(writer, NULL);
    for (int i = 0; i < 20; i++) /* so that what the server has once is not counted to watchers */
        write_once(-2, false);
    rss_before = rss_kb();
    open_watchers();
    settle(1500);
    rss_with = rss_kb();
    for (int i = 0; i < WARM_MAX && run.writes && (i < 3 || heard_count < watcher_count); i++) {
        for (unsigned w = 0; w < watcher_count; w++)
            watchers[w].heard = -100;
        write_once(-1 - i % 2, false);
    }
    cpu = cpu_s();
    unstamped = 0;
    for (unsigned i = 0; i < run.writes; i++) {
        settle(run.pause_ms);
        write_once((int)i, true);
    }
    cpu = cpu_s() - cpu;
    if (unstamped)
        die("the kernel gave no time stamps");
    qsort(latencies, latency_count, sizeof(*latencies), compare);
    qsort(after_reply, latency_count, sizeof(*after_reply), compare);
    qsort(to_socket, latency_count, sizeof(*to_socket), compare);
    qsort(since_asked, latency_count, sizeof(*since_asked), compare);
    (void)printf("{\"sse\":%u,\"poll\":%u,\"watch\":%u,\"writes\":%u,\"p50_ms\":%.3f,"
                 "\"p99_ms\":%.3f,\"max_ms\":%.3f,\"asked_p50_ms\":%.3f,\"asked_p99_ms\":%.3f,"
                 "\"socket_p50_ms\":%.3f,\"socket_p99_ms\":%.3f,"
                 "\"socket_after_reply_p50_ms\":%.3f,\"socket_after_reply_p99_ms\":%.3f,"
                 "\"cpu_us_a_delivery\":%.2f,"
                 "\"rss_before_kb\":%ld,\"rss_with_kb\":%ld,\"kb_a_watcher\":%.2f}\n",
                 run.counts[SSE], run.counts[POLL], run.counts[WATCH], run.writes,
                 quantile(latencies, 0.5), quantile(latencies, 0.99), quantile(latencies, 1),
                 quantile(since_asked, 0.5), quantile(since_asked, 0.99), quantile(to_socket, 0.5),
                 quantile(to_socket, 0.99), quantile(after_reply, 0.5), quantile(after_reply, 0.99),
                 latency_count ? cpu * 1e6 / (double)latency_count : 0, rss_before, rss_with,
                 watcher_count ? (double)(rss_with - rss_before) / watcher_count : 0);
    return 0;
}

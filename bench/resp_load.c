/* SPDX-License-Identifier: Apache-2.0 */
/* Load on a RESP server, and the processor time that the server took for it.
 *
 * One thread, epoll, fixed-size replies that are counted and not parsed, so that the generator
 * never is the limit: resp_load HOST PORT PID KEYS DEPTH CONNECTIONS SECONDS [set]. Keys are
 * key:%07d with 200-byte values, asked for by Zipf 1.0. Prints one JSON object. */
#include <arpa/inet.h>
#include <dirent.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { VALUE = 200, CONNECTIONS_MAX = 512, SAMPLES = 1 << 20, LATENCIES = 1 << 20 };

typedef struct connection {
    int fd;
    size_t awaited; /* bytes until the batch is answered */
    uint64_t sent_ns;
} connection;

static connection connections[CONNECTIONS_MAX];
static uint32_t *samples; /* Zipf ranks, drawn before */
static uint32_t *latencies_us;
static size_t latency_count, sample_at;
static char request[1 << 20];
static bool writes;

static uint64_t now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* Time on the processor of all threads of @pid, ns; finer than the ticks of /proc/PID/stat. */
static uint64_t cpu_ns(long pid)
{
    char path[300], line[128];
    struct dirent *entry;
    uint64_t sum = 0;
    DIR *dir;

    (void)snprintf(path, sizeof(path), "/proc/%ld/task", pid);
    dir = opendir(path);
    if (!dir)
        die(path);
    while ((entry = readdir(dir))) {
        FILE *file;

        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%ld/task/%s/schedstat", pid, entry->d_name);
        file = fopen(path, "r");
        if (file && fgets(line, sizeof(line), file))
            sum += strtoull(line, NULL, 10);
        if (file)
            (void)fclose(file);
    }
    (void)closedir(dir);
    return sum;
}

static int connect_to(const char *host, int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);

    if (fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

static void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n <= 0)
            die("send");
        data += n;
        size -= (size_t)n;
    }
}

static void read_exactly(int fd, size_t size)
{
    char sink[65536];

    while (size) {
        ssize_t n = recv(fd, sink, size < sizeof(sink) ? size : sizeof(sink), 0);

        if (n <= 0)
            die("recv");
        size -= (size_t)n;
    }
}

static size_t add_set(char *p, unsigned key)
{
    size_t n = (size_t)snprintf(p, 64, "*3\r\n$3\r\nSET\r\n$11\r\nkey:%07u\r\n$%d\r\n", key, VALUE);

    memset(p + n, 'a' + (int)(key % 26), VALUE);
    memcpy(p + n + VALUE, "\r\n", 2);
    return n + VALUE + 2;
}

static void preload(int fd, unsigned keys)
{
    for (unsigned k = 0; k < keys;) {
        size_t n = 0;
        unsigned batch = 0;

        for (; batch < 500 && k < keys; batch++, k++)
            n += add_set(request + n, k);
        send_all(fd, request, n);
        read_exactly(fd, batch * 5);
    }
}

static void draw_samples(unsigned keys)
{
    double *sums = malloc(keys * sizeof(*sums)), total = 0;
    uint64_t state = 88172645463325252u;

    samples = malloc(SAMPLES * sizeof(*samples));
    latencies_us = malloc(LATENCIES * sizeof(*latencies_us));
    for (unsigned i = 0; i < keys; i++)
        sums[i] = total += 1.0 / (i + 1);
    for (size_t i = 0; i < SAMPLES; i++) {
        unsigned low = 0, high = keys - 1;
        double u;

        state ^= state << 13; /* xorshift64 (Marsaglia, 2003) */
        state ^= state >> 7;
        state ^= state << 17;
        u = (double)(state >> 11) / 9007199254740992.0 * total;
        while (low < high) {
            unsigned middle = (low + high) / 2;

            if (sums[middle] < u)
                low = middle + 1;
            else
                high = middle;
        }
        samples[i] =
            (uint32_t)((uint64_t)low * 2654435761u % keys); /* ranks strewn over the keys */
    }
    free(sums);
}

static void send_batch(connection *c, unsigned depth)
{
    size_t n = 0;

    for (unsigned i = 0; i < depth; i++) {
        uint32_t key = samples[sample_at++ & (SAMPLES - 1)];

        n += writes
                 ? add_set(request + n, key)
                 : (size_t)snprintf(request + n, 64, "*2\r\n$3\r\nGET\r\n$11\r\nkey:%07u\r\n", key);
    }
    c->awaited = depth * (writes ? 5u : 6u + VALUE + 2u);
    c->sent_ns = now_ns();
    send_all(c->fd, request, n);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    unsigned keys, depth, count, seconds;
    struct epoll_event events[CONNECTIONS_MAX];
    uint64_t answered = 0, begin, end, cpu;
    char sink[1 << 18];
    int epoll;
    long pid;

    if (argc < 8)
        return fprintf(stderr,
                       "usage: resp_load HOST PORT PID KEYS DEPTH CONNECTIONS SECONDS [set]\n"),
               2;
    pid = strtol(argv[3], NULL, 10);
    keys = (unsigned)strtoul(argv[4], NULL, 10);
    depth = (unsigned)strtoul(argv[5], NULL, 10);
    count = (unsigned)strtoul(argv[6], NULL, 10);
    seconds = (unsigned)strtoul(argv[7], NULL, 10);
    writes = argc > 8;
    if (!keys || !depth || depth > 1000 || !count || count > CONNECTIONS_MAX)
        return 2;
    draw_samples(keys);
    epoll = epoll_create1(0);
    for (unsigned i = 0; i < count; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = &connections[i]};

        connections[i].fd = connect_to(argv[1], (int)strtol(argv[2], NULL, 10));
        (void)epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].fd, &e);
    }
    if (!getenv("NO_PRELOAD"))
        preload(connections[0].fd, keys);
    for (unsigned k = 0; k < 20000; k += depth) { /* warm */
        send_batch(&connections[0], depth);
        read_exactly(connections[0].fd, connections[0].awaited);
    }
    cpu = cpu_ns(pid);
    begin = now_ns();
    end = begin + (uint64_t)seconds * 1000000000u;
    for (unsigned i = 0; i < count; i++)
        send_batch(&connections[i], depth);
    while (now_ns() < end) {
        int n = epoll_wait(epoll, events, CONNECTIONS_MAX, 100);

        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            ssize_t got = recv(c->fd, sink, sizeof(sink), MSG_DONTWAIT);

            if (got <= 0 || (size_t)got > c->awaited)
                die("a reply of the wrong size");
            c->awaited -= (size_t)got;
            if (c->awaited)
                continue;
            answered += depth;
            if (latency_count < LATENCIES)
                latencies_us[latency_count++] = (uint32_t)((now_ns() - c->sent_ns) / 1000);
            send_batch(c, depth);
        }
    }
    end = now_ns();
    cpu = cpu_ns(pid) - cpu;
    qsort(latencies_us, latency_count, sizeof(*latencies_us), compare);
    (void)printf("{\"requests\":%llu,\"per_second\":%.0f,\"server_cpu_us\":%.4f,\"p50_us\":%u,"
                 "\"p99_us\":%u}\n",
                 (unsigned long long)answered, (double)answered * 1e9 / (double)(end - begin),
                 (double)cpu / 1e3 / (double)answered,
                 latency_count ? latencies_us[latency_count / 2] : 0,
                 latency_count ? latencies_us[latency_count * 99 / 100] : 0);
    return 0;
}

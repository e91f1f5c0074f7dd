/* SPDX-License-Identifier: Apache-2.0 */
/* Loads RESP servers with GETs and says how much CPU each took for one: A B A B, so that a machine
 * that grows slower in between slows both.
 *
 *   resp_load --target NAME=HOST:PORT,PID [--target ...] [--keys N] [--depth N] [--connections N]
 *             [--value BYTES] [--seconds S] [--rounds N] [--zipf Z] [--seed N] [--command get|set]
 *
 * What is gated is the server's CPU time a request (utime + stime of /proc/PID/stat over the turn,
 * divided by the requests answered), since on few cores throughput measures the generator. Replies
 * have a fixed size and are only counted, so that the generator is light. One JSON object. */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "load.h"

enum {
    TARGETS_MAX = 4,
    ROUNDS_MAX = 99,
    DEPTH_MAX = 256,
    CONNECTIONS_MAX = 1000,
    KEY_SIZE = 30,
    LATENCY_KEPT = 1 << 16,
};

typedef struct target {
    char name[32], host[64];
    uint16_t port;
    long pid;
    double cpu_us[ROUNDS_MAX], rate[ROUNDS_MAX], p50_us[ROUNDS_MAX], p99_us[ROUNDS_MAX];
} target;

typedef struct connection {
    int fd;
    size_t waiting; /* bytes of replies that are due */
    double sent_at;
} connection;

static struct {
    target targets[TARGETS_MAX];
    unsigned target_count, rounds, depth, connections, value_size;
    uint32_t keys;
    double seconds, zipf;
    uint64_t seed;
    bool set;
} run = {.rounds = 5,
         .depth = 1,
         .connections = 50,
         .value_size = 200,
         .keys = 1000,
         .seconds = 2,
         .zipf = 1.0,
         .seed = 1};

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15ULL; /* splitmix64, Steele et al. 2014 */

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    return z ^ z >> 31;
}

/* ---- requests, rendered before the clock runs ---- */

enum { SEQUENCE = 1 << 16 };
static uint32_t *sequence; /* keys in the order they are asked for */
static char *requests;     /* SEQUENCE + DEPTH_MAX of them, each request_size long */
static size_t request_size, reply_size;

static void draw_sequence(void)
{
    double *sums = malloc(sizeof(double) * run.keys), sum = 0;
    uint64_t state = run.seed;

    sequence = malloc(sizeof(*sequence) * SEQUENCE);
    if (!sums || !sequence)
        die("out of memory");
    for (uint32_t i = 0; i < run.keys; i++)
        sums[i] = sum += 1 / pow(i + 1, run.zipf);
    for (size_t i = 0; i < SEQUENCE; i++) {
        double at = (double)(random_next(&state) >> 11) * 0x1p-53 * sum;
        uint32_t low = 0, high = run.keys - 1;

        while (low < high) {
            uint32_t middle = (low + high) / 2;

            if (sums[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        /* ranks are scattered over the keys, so that neighbours in rank are none in memory */
        sequence[i] = (uint32_t)((uint64_t)low * 2654435761u % run.keys);
    }
    free(sums);
}

/* Into @out, which has value_size and 128 bytes. */
static size_t render(char *out, bool set, uint32_t key)
{
    size_t n = (size_t)snprintf(out, 128, "*%d\r\n$3\r\n%s\r\n$%d\r\nkey:%0*u\r\n", set ? 3 : 2,
                                set ? "SET" : "GET", KEY_SIZE, KEY_SIZE - 4, key);

    if (set) {
        n += (size_t)snprintf(out + n, 128 - n, "$%u\r\n", run.value_size);
        for (unsigned i = 0; i < run.value_size; i++)
            out[n++] = (char)('a' + (key + i) % 26);
        out[n++] = '\r';
        out[n++] = '\n';
    }
    return n;
}

static void render_all(void)
{
    char digits[16];
    char *one = malloc(run.value_size + 128);

    if (!one)
        die("out of memory");
    request_size = render(one, run.set, 0);
    reply_size = run.set ? strlen("+OK\r\n")
                         : (size_t)snprintf(digits, sizeof(digits), "%u", run.value_size) +
                               run.value_size + strlen("$\r\n\r\n");
    requests = malloc(request_size * (SEQUENCE + DEPTH_MAX) + 1);
    if (!requests)
        die("out of memory");
    for (size_t i = 0; i < SEQUENCE + DEPTH_MAX; i++) {
        (void)render(one, run.set, sequence[i % SEQUENCE]);
        memcpy(requests + i * request_size, one, request_size);
    }
    free(one);
}

/* ---- sockets ---- */

static void take(int fd, size_t size)
{
    static char sink[1 << 16];

    while (size) {
        ssize_t n = recv(fd, sink, size < sizeof(sink) ? size : sizeof(sink), 0);

        if (n <= 0)
            die("cannot receive");
        size -= (size_t)n;
    }
}

/* SET every key once, and GET the first to see that replies have the size that is counted on. */
static void fill(const target *t)
{
    enum { BATCH = 500 };
    char *batch = malloc(BATCH * ((size_t)run.value_size + 128));
    int fd = dial(t->host, t->port);

    if (!batch)
        die("out of memory");
    for (uint32_t key = 0; key < run.keys;) {
        size_t n = 0, count = 0;

        for (; key < run.keys && count < BATCH; key++, count++)
            n += render(batch + n, true, key);
        send_all(fd, batch, n);
        take(fd, count * strlen("+OK\r\n"));
    }
    if (!run.set) {
        for (uint32_t key = 0; key < run.keys; key++) { /* once through, so that all are warm */
            size_t n = render(batch, false, key);

            if (key % 16 == 0)
                send_all(fd, batch, n);
            if (key % 16 == 0)
                take(fd, reply_size);
        }
    }
    (void)close(fd);
    free(batch);
}

/* ---- a turn ---- */

static double latencies[LATENCY_KEPT];
static size_t latency_count;

static void ask(connection *c, uint64_t *state)
{
    size_t at = random_next(state) % SEQUENCE;

    c->waiting = reply_size * run.depth;
    c->sent_at = now_s();
    send_all(c->fd, requests + at * request_size, request_size * run.depth);
}

/* Ask on every connection again as soon as it has all its answers; answered requests. */
static uint64_t load(connection *all, int epoll, double seconds)
{
    static char sink[1 << 16];
    struct epoll_event events[CONNECTIONS_MAX];
    uint64_t answered = 0, state = run.seed + 99;
    double end = now_s() + seconds, now = 0;

    for (unsigned i = 0; i < run.connections; i++)
        ask(&all[i], &state);
    for (unsigned idle = 0; idle < run.connections;) {
        int n = epoll_wait(epoll, events, CONNECTIONS_MAX, 5000);

        if (n <= 0)
            die("the server does not answer");
        now = now_s();
        for (int i = 0; i < n; i++) {
            connection *c = &all[events[i].data.u32];
            ssize_t got = recv(c->fd, sink, sizeof(sink), MSG_DONTWAIT);

            if (got <= 0 || (size_t)got > c->waiting)
                die("not the answers that were expected");
            c->waiting -= (size_t)got;
            if (c->waiting)
                continue;
            answered += run.depth;
            latencies[latency_count++ % LATENCY_KEPT] = now - c->sent_at;
            if (now < end)
                ask(c, &state);
            else
                idle++;
        }
    }
    return answered;
}

static void turn(target *t, unsigned round)
{
    static connection all[CONNECTIONS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    double cpu, began;
    uint64_t answered;
    size_t n;

    for (unsigned i = 0; i < run.connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        all[i].fd = dial(t->host, t->port);
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    (void)load(all, epoll, run.seconds / 10); /* warm */
    latency_count = 0;
    began = now_s();
    cpu = cpu_s(t->pid);
    answered = load(all, epoll, run.seconds);
    t->cpu_us[round] = (cpu_s(t->pid) - cpu) * 1e6 / (double)answered;
    t->rate[round] = (double)answered / (now_s() - began);
    n = latency_count < LATENCY_KEPT ? latency_count : LATENCY_KEPT;
    t->p50_us[round] = quantile(latencies, n, 0.5) * 1e6;
    t->p99_us[round] = quantile(latencies, n, 0.99) * 1e6;
    for (unsigned i = 0; i < run.connections; i++)
        (void)close(all[i].fd);
    (void)close(epoll);
}

/* ---- arguments and result ---- */

static void add_target(const char *text)
{
    target *t = &run.targets[run.target_count];
    const char *equals = strchr(text, '='), *colon = equals ? strchr(equals, ':') : NULL;
    const char *comma = colon ? strchr(colon, ',') : NULL;

    if (run.target_count == TARGETS_MAX)
        die("too many targets");
    if (!comma)
        die("--target NAME=HOST:PORT,PID");
    (void)snprintf(t->name, sizeof(t->name), "%.*s", (int)(equals - text), text);
    (void)snprintf(t->host, sizeof(t->host), "%.*s", (int)(colon - equals - 1), equals + 1);
    t->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    t->pid = strtol(comma + 1, NULL, 10);
    run.target_count++;
}

static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *flag = argv[i], *value = argv[i + 1];

        if (strcmp(flag, "--target") == 0)
            add_target(value);
        else if (strcmp(flag, "--keys") == 0)
            run.keys = (uint32_t)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--depth") == 0)
            run.depth = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--connections") == 0)
            run.connections = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--value") == 0)
            run.value_size = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--seconds") == 0)
            run.seconds = strtod(value, NULL);
        else if (strcmp(flag, "--rounds") == 0)
            run.rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--zipf") == 0)
            run.zipf = strtod(value, NULL);
        else if (strcmp(flag, "--seed") == 0)
            run.seed = strtoull(value, NULL, 10);
        else if (strcmp(flag, "--command") == 0)
            run.set = strcmp(value, "set") == 0;
        else
            die("there is no such flag; see the head of bench/resp_load.c");
    }
    if (run.target_count == 0 || run.keys < 1 || run.depth < 1 || run.depth > DEPTH_MAX ||
        run.connections < 1 || run.connections > CONNECTIONS_MAX || run.rounds < 1 ||
        run.rounds > ROUNDS_MAX || run.seconds < 0.1)
        die("a flag is missing or out of range; see the head of bench/resp_load.c");
}

static double median(const double *values)
{
    double copy[ROUNDS_MAX];

    memcpy(copy, values, sizeof(double) * run.rounds);
    return quantile(copy, run.rounds, 0.5);
}

static void print_result(void)
{
    double first = median(run.targets[0].cpu_us);

    (void)printf(
        "{\"command\":\"%s\",\"keys\":%u,\"depth\":%u,\"connections\":%u,\"value_bytes\":%u,"
        "\"zipf\":%g,\"rounds\":%u,\"seconds\":%g,\"targets\":[",
        run.set ? "set" : "get", run.keys, run.depth, run.connections, run.value_size, run.zipf,
        run.rounds, run.seconds);
    for (unsigned i = 0; i < run.target_count; i++) {
        const target *t = &run.targets[i];

        (void)printf("%s{\"name\":\"%s\",\"cpu_us_per_request\":%.4f,\"requests_per_s\":%.0f,"
                     "\"p50_us\":%.1f,\"p99_us\":%.1f,\"cpu_us_of_turns\":[",
                     i ? "," : "", t->name, median(t->cpu_us), median(t->rate), median(t->p50_us),
                     median(t->p99_us));
        for (unsigned r = 0; r < run.rounds; r++)
            (void)printf("%s%.4f", r ? "," : "", t->cpu_us[r]);
        (void)printf("]}");
    }
    (void)printf("]");
    if (run.target_count > 1) /* of the medians of turns that stood beside each other */
        (void)printf(",\"ratio\":%.4f", first / median(run.targets[1].cpu_us));
    (void)printf("}\n");
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    draw_sequence();
    render_all();
    for (unsigned i = 0; i < run.target_count; i++)
        fill(&run.targets[i]);
    for (unsigned round = 0; round < run.rounds; round++)
        for (unsigned i = 0; i < run.target_count; i++)
            turn(&run.targets[i], round);
    print_result();
    free(sequence);
    free(requests);
    return 0;
}

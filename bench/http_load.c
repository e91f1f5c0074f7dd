/* SPDX-License-Identifier: Apache-2.0 */
/* Loads HTTP servers with GETs of one path and says how much CPU each took for one: A B A B, so
 * that a machine that grows slower in between slows both.
 *
 *   http_load --target NAME=HOST:PORT,PID[+PID...] [--header "Name: value"] [--target ...] [--path
 * P]
 *             [--depth N] [--connections N] [--seconds S] [--rounds N]
 *
 * Gated is the CPU time a request of the server's processes, as in resp_load.c. Answers are read as
 * far as their ends are needed, since their sizes differ from one to the next (Age, request ids).
 * A header is of the target before it; {etag} in it becomes the ETag of the target's first answer.
 * One JSON object. */
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
    PIDS_MAX = 8,
    ROUNDS_MAX = 99,
    DEPTH_MAX = 64,
    CONNECTIONS_MAX = 1000,
    LATENCY_KEPT = 1 << 16,
    REQUEST_MAX = 1024,
    HEAD_MAX = 4096,
};

typedef struct target {
    char name[32], host[64];
    const char *header; /* "" or "Name: value" */
    uint16_t port;
    long pids[PIDS_MAX];
    unsigned pid_count;
    char requests[DEPTH_MAX * REQUEST_MAX]; /* depth of them */
    size_t size;
    int status; /* of the answers */
    double cpu_us[ROUNDS_MAX], rate[ROUNDS_MAX], p50_us[ROUNDS_MAX], p99_us[ROUNDS_MAX];
} target;

typedef struct connection {
    int fd;
    unsigned waiting; /* answers that are due */
    size_t body_left; /* of the one that is being read */
    size_t head_size; /* of an incomplete head in head[] */
    char head[HEAD_MAX];
    double sent_at;
} connection;

static struct {
    target targets[TARGETS_MAX];
    unsigned target_count, rounds, depth, connections;
    const char *path;
    double seconds;
} run = {.rounds = 5, .depth = 1, .connections = 16, .seconds = 2, .path = "/"};

/* ---- answers ---- */

/* The head that ends at @end: its body's size. */
static size_t body_size(const char *head, const char *end)
{
    const char *length = memmem(head, (size_t)(end - head), "Content-Length: ", 16);

    if (!length)
        length = memmem(head, (size_t)(end - head), "content-length: ", 16);
    return length ? strtoul(length + 16, NULL, 10) : 0;
}

/* Read on; false when something is left of no answer that is due. */
static bool eat(connection *c, const char *data, size_t size)
{
    const char *p = data, *stop = data + size;

    while (p < stop) {
        const char *end;
        size_t skip;

        if (c->body_left) {
            size_t n = (size_t)(stop - p) < c->body_left ? (size_t)(stop - p) : c->body_left;

            p += n;
            c->body_left -= n;
            c->waiting -= c->body_left == 0;
            continue;
        }
        if (c->waiting == 0)
            return false;
        if (c->head_size) { /* the head came in pieces: gather it */
            size_t room = HEAD_MAX - c->head_size, n = (size_t)(stop - p);

            n = n < room ? n : room;
            memcpy(c->head + c->head_size, p, n);
            end = memmem(c->head, c->head_size + n, "\r\n\r\n", 4);
            if (!end) {
                c->head_size += n;
                return c->head_size < HEAD_MAX;
            }
            skip = (size_t)(end + 4 - c->head) - c->head_size;
            c->body_left = body_size(c->head, end);
            c->head_size = 0;
        } else {
            end = memmem(p, (size_t)(stop - p), "\r\n\r\n", 4);
            if (!end) {
                c->head_size = (size_t)(stop - p);
                if (c->head_size >= HEAD_MAX)
                    return false;
                memcpy(c->head, p, c->head_size);
                return true;
            }
            skip = (size_t)(end + 4 - p);
            c->body_left = body_size(p, end);
        }
        p += skip;
        c->waiting -= c->body_left == 0;
    }
    return true;
}

/* ---- requests ---- */

static size_t render(char *out, const char *header)
{
    int n = snprintf(out, REQUEST_MAX, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s\r\n", run.path,
                     header, header[0] ? "\r\n" : "");

    if (n >= REQUEST_MAX)
        die("the request is too long");
    return (size_t)n;
}

/* One request by itself: its status, and its ETag into @etag. */
static int probe(const target *t, const char *header, char *etag, size_t capacity)
{
    char text[REQUEST_MAX], answer[1 << 16];
    size_t size = render(text, header), got = 0;
    int fd = dial(t->host, t->port);
    connection c = {.waiting = 1};
    const char *tag;

    send_all(fd, text, size);
    while (c.waiting) {
        ssize_t n;

        got = got < sizeof(answer) / 2 ? got : sizeof(answer) / 2; /* the head is what matters */
        n = recv(fd, answer + got, sizeof(answer) - 1 - got, 0);
        if (n <= 0 || !eat(&c, answer + got, (size_t)n))
            die("not an answer that was expected");
        got += (size_t)n;
    }
    answer[got] = '\0';
    tag = strstr(answer, "ETag: ");
    (void)snprintf(etag, capacity, "%.*s", tag ? (int)strcspn(tag + 6, "\r") : 0,
                   tag ? tag + 6 : "");
    (void)close(fd);
    return (int)strtol(answer + 9, NULL, 10);
}

static void prepare(target *t)
{
    const char *header = t->header, *brace = strstr(header, "{etag}");
    char etag[256], filled[512], one[REQUEST_MAX];
    size_t size;

    (void)probe(t, "", etag, sizeof(etag));
    if (brace)
        (void)snprintf(filled, sizeof(filled), "%.*s%s%s", (int)(brace - header), header, etag,
                       brace + 6);
    else
        (void)snprintf(filled, sizeof(filled), "%s", header);
    size = render(one, filled);
    for (unsigned i = 0; i < run.depth; i++)
        memcpy(t->requests + i * size, one, size);
    t->size = size * run.depth;
    t->status = probe(t, filled, etag, sizeof(etag));
}

/* ---- a turn ---- */

static double latencies[LATENCY_KEPT];
static size_t latency_count;

static void ask(const target *t, connection *c)
{
    c->waiting = run.depth;
    c->sent_at = now_s();
    send_all(c->fd, t->requests, t->size);
}

/* Ask on every connection again as soon as it has all its answers; answered requests. */
static uint64_t load(const target *t, connection *all, int epoll, double seconds)
{
    static char sink[1 << 16];
    struct epoll_event events[CONNECTIONS_MAX];
    double end = now_s() + seconds, now;
    uint64_t answered = 0;

    for (unsigned i = 0; i < run.connections; i++)
        ask(t, &all[i]);
    for (unsigned idle = 0; idle < run.connections;) {
        int n = epoll_wait(epoll, events, CONNECTIONS_MAX, 5000);

        if (n <= 0)
            die("the server does not answer");
        now = now_s();
        for (int i = 0; i < n; i++) {
            connection *c = &all[events[i].data.u32];
            ssize_t got = recv(c->fd, sink, sizeof(sink), MSG_DONTWAIT);

            if (got <= 0 || !eat(c, sink, (size_t)got))
                die("not the answers that were expected");
            if (c->waiting)
                continue;
            answered += run.depth;
            latencies[latency_count++ % LATENCY_KEPT] = now - c->sent_at;
            if (now < end)
                ask(t, c);
            else
                idle++;
        }
    }
    return answered;
}

static double cpu_of(const target *t)
{
    double sum = 0;

    for (unsigned i = 0; i < t->pid_count; i++)
        sum += cpu_s(t->pids[i]);
    return sum;
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

        all[i] = (connection){.fd = dial(t->host, t->port)};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    (void)load(t, all, epoll, run.seconds / 10); /* warm */
    latency_count = 0;
    began = now_s();
    cpu = cpu_of(t);
    answered = load(t, all, epoll, run.seconds);
    t->cpu_us[round] = (cpu_of(t) - cpu) * 1e6 / (double)answered;
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
        die("--target NAME=HOST:PORT,PID[+PID...]");
    (void)snprintf(t->name, sizeof(t->name), "%.*s", (int)(equals - text), text);
    (void)snprintf(t->host, sizeof(t->host), "%.*s", (int)(colon - equals - 1), equals + 1);
    t->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    t->header = "";
    for (const char *p = comma; p && t->pid_count < PIDS_MAX; p = strchr(p + 1, '+'))
        t->pids[t->pid_count++] = strtol(p + 1, NULL, 10);
    run.target_count++;
}

static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *flag = argv[i], *value = argv[i + 1];

        if (strcmp(flag, "--target") == 0)
            add_target(value);
        else if (strcmp(flag, "--path") == 0)
            run.path = value;
        else if (strcmp(flag, "--header") == 0 && run.target_count)
            run.targets[run.target_count - 1].header = value;
        else if (strcmp(flag, "--depth") == 0)
            run.depth = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--connections") == 0)
            run.connections = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--seconds") == 0)
            run.seconds = strtod(value, NULL);
        else if (strcmp(flag, "--rounds") == 0)
            run.rounds = (unsigned)strtoul(value, NULL, 10);
        else
            die("there is no such flag; see the head of bench/http_load.c");
    }
    if (run.target_count == 0 || run.depth < 1 || run.depth > DEPTH_MAX || run.connections < 1 ||
        run.connections > CONNECTIONS_MAX || run.rounds < 1 || run.rounds > ROUNDS_MAX ||
        run.seconds < 0.1)
        die("a flag is missing or out of range; see the head of bench/http_load.c");
}

static double median(const double *values)
{
    double copy[ROUNDS_MAX];

    memcpy(copy, values, sizeof(double) * run.rounds);
    return quantile(copy, run.rounds, 0.5);
}

static void print_result(void)
{
    (void)printf("{\"depth\":%u,\"connections\":%u,\"rounds\":%u,\"seconds\":%g,\"targets\":[",
                 run.depth, run.connections, run.rounds, run.seconds);
    for (unsigned i = 0; i < run.target_count; i++) {
        const target *t = &run.targets[i];

        (void)printf(
            "%s{\"name\":\"%s\",\"status\":%d,\"cpu_us_per_request\":%.4f,"
            "\"requests_per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"cpu_us_of_turns\":[",
            i ? "," : "", t->name, t->status, median(t->cpu_us), median(t->rate), median(t->p50_us),
            median(t->p99_us));
        for (unsigned r = 0; r < run.rounds; r++)
            (void)printf("%s%.4f", r ? "," : "", t->cpu_us[r]);
        (void)printf("]}");
    }
    (void)printf("]}\n");
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    for (unsigned i = 0; i < run.target_count; i++)
        prepare(&run.targets[i]);
    for (unsigned round = 0; round < run.rounds; round++)
        for (unsigned i = 0; i < run.target_count; i++)
            turn(&run.targets[i], round);
    print_result();
    return 0;
}

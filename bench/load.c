/* SPDX-License-Identifier: Apache-2.0 */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LATENCY_KEPT = 1 << 16, SINK = 1 << 16 };

void die(const char *what)
{
    (void)fprintf(stderr, "load: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(1);
}

double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The name in parentheses may hold anything, so count from its end. */
double cpu_s(long pid)
{
    char path[64], text[1024], *p;
    FILE *file;
    size_t n;
    unsigned long long user, system;

    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    file = fopen(path, "re");
    if (!file)
        die("the server has gone");
    n = fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    text[n] = '\0';
    p = strrchr(text, ')');
    for (int field = 3; p && field <= 14; field++)
        p = strchr(p + 1, ' ');
    if (!p)
        die("cannot read /proc/PID/stat");
    user = strtoull(p + 1, &p, 10);
    system = strtoull(p, NULL, 10);
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

int dial(const char *host, uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1 ||
        connect(fd, (struct sockaddr *)&to, sizeof(to)) != 0)
        die("cannot connect");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    return fd;
}

void send_all(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

        if (n <= 0 && errno != EINTR)
            die("cannot send");
        data += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double quantile(double *values, size_t n, double q)
{
    if (n == 0)
        return 0;
    qsort(values, n, sizeof(*values), compare);
    return values[(size_t)(q * (double)(n - 1))];
}

/* ---- targets ---- */

void load_target_parse(const char *text, load_target *t)
{
    const char *equals = strchr(text, '='), *colon = equals ? strchr(equals, ':') : NULL;
    const char *comma = colon ? strchr(colon, ',') : NULL;

    if (!comma)
        die("--target NAME=HOST:PORT,PID[+PID...]");
    (void)snprintf(t->name, sizeof(t->name), "%.*s", (int)(equals - text), text);
    (void)snprintf(t->host, sizeof(t->host), "%.*s", (int)(colon - equals - 1), equals + 1);
    t->port = (uint16_t)strtoul(colon + 1, NULL, 10);
    for (const char *p = comma; p && t->pid_count < LOAD_PIDS_MAX; p = strchr(p + 1, '+'))
        t->pids[t->pid_count++] = strtol(p + 1, NULL, 10);
}

static double cpu_of(const load_target *t)
{
    double sum = 0;

    for (unsigned i = 0; i < t->pid_count; i++)
        sum += cpu_s(t->pids[i]);
    return sum;
}

/* ---- turns ---- */

static double latencies[LATENCY_KEPT];
static size_t latency_count;

typedef struct open_connection {
    int fd;
    double sent_at;
} open_connection;

static void ask(const load_plan *plan, const load_target *t, open_connection *c, unsigned i)
{
    c->sent_at = now_s();
    plan->ask(t, i, c->fd);
}

/* Ask on every connection again as soon as it has all its answers; answered requests. */
static uint64_t load(const load_plan *plan, const load_target *t, open_connection *all, int epoll,
                     double seconds)
{
    static char sink[SINK];
    struct epoll_event events[LOAD_CONNECTIONS_MAX];
    double end = now_s() + seconds, now;
    uint64_t answered = 0;

    if (plan->begin)
        plan->begin();
    for (unsigned i = 0; i < plan->connections; i++)
        ask(plan, t, &all[i], i);
    for (unsigned idle = 0; idle < plan->connections;) {
        int n = epoll_wait(epoll, events, LOAD_CONNECTIONS_MAX, 5000);

        if (n <= 0)
            die("the server does not answer");
        now = now_s();
        for (int i = 0; i < n; i++) {
            unsigned at = events[i].data.u32;
            ssize_t got = recv(all[at].fd, sink, sizeof(sink), MSG_DONTWAIT);
            int rc = got > 0 ? plan->eat(at, sink, (size_t)got) : -1;

            if (rc < 0)
                die("not the answers that were expected");
            if (rc == 0)
                continue;
            answered += plan->depth;
            latencies[latency_count++ % LATENCY_KEPT] = now - all[at].sent_at;
            if (now < end)
                ask(plan, t, &all[at], at);
            else
                idle++;
        }
    }
    return answered;
}

void load_turn(const load_plan *plan, load_target *t, unsigned round)
{
    static open_connection all[LOAD_CONNECTIONS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    double cpu, began;
    uint64_t answered;
    size_t n;

    for (unsigned i = 0; i < plan->connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

        all[i] = (open_connection){.fd = dial(t->host, t->port)};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].fd, &event) != 0)
            die("epoll_ctl");
    }
    (void)load(plan, t, all, epoll, plan->seconds / 10); /* warm */
    latency_count = 0;
    began = now_s();
    cpu = cpu_of(t);
    answered = load(plan, t, all, epoll, plan->seconds);
    t->cpu_us[round] = (cpu_of(t) - cpu) * 1e6 / (double)answered;
    t->rate[round] = (double)answered / (now_s() - began);
    n = latency_count < LATENCY_KEPT ? latency_count : LATENCY_KEPT;
    t->p50_us[round] = quantile(latencies, n, 0.5) * 1e6;
    t->p99_us[round] = quantile(latencies, n, 0.99) * 1e6;
    for (unsigned i = 0; i < plan->connections; i++)
        (void)close(all[i].fd);
    (void)close(epoll);
}

bool load_plan_is_good(const load_plan *plan)
{
    return plan->depth >= 1 && plan->connections >= 1 &&
           plan->connections <= LOAD_CONNECTIONS_MAX && plan->rounds >= 1 &&
           plan->rounds <= LOAD_ROUNDS_MAX && plan->seconds >= 0.1;
}

/* ---- results ---- */

static double median(const load_plan *plan, const double *values)
{
    double copy[LOAD_ROUNDS_MAX];

    memcpy(copy, values, sizeof(double) * plan->rounds);
    return quantile(copy, plan->rounds, 0.5);
}

double load_cpu_us(const load_plan *plan, const load_target *t)
{
    return median(plan, t->cpu_us);
}

void load_print(const load_plan *plan, const load_target *t)
{
    (void)printf("\"cpu_us_per_request\":%.4f,\"requests_per_s\":%.0f,\"p50_us\":%.1f,"
                 "\"p99_us\":%.1f,\"cpu_us_of_turns\":[",
                 median(plan, t->cpu_us), median(plan, t->rate), median(plan, t->p50_us),
                 median(plan, t->p99_us));
    for (unsigned r = 0; r < plan->rounds; r++)
        (void)printf("%s%.4f", r ? "," : "", t->cpu_us[r]);
    (void)printf("]");
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loads RESP servers with GETs and says how much CPU each took for one: A B A B, so that a machine
 * that grows slower in between slows both.
 *
 *   resp_load --target NAME=HOST:PORT,PID [--target ...] [--keys N] [--depth N] [--connections N]
 *             [--value BYTES] [--seconds S] [--rounds N] [--zipf Z] [--seed N]
 *             [--command get|set|mget]
 *
 * Of mget one request has --depth keys, and each counts. What is gated is the server's CPU time a
 * request: load.h. Replies have a fixed size and are only counted, so that the generator is light.
 * One JSON object. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { TARGETS_MAX = 4, DEPTH_MAX = 256, KEY_SIZE = 30 };

static void begin(void);
static void ask(const load_target *t, unsigned i, int fd);
static int eat(unsigned i, const char *data, size_t size);

static load_target targets[TARGETS_MAX];
static unsigned target_count;
static load_plan plan = {.rounds = 5,
                         .depth = 1,
                         .connections = 50,
                         .seconds = 2,
                         .begin = begin,
                         .ask = ask,
                         .eat = eat};

static struct {
    unsigned value_size;
    uint32_t keys;
    double zipf;
    uint64_t seed;
    bool set, mget;
} run = {.value_size = 200, .keys = 1000, .zipf = 1.0, .seed = 1};

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
static char mget_head[32]; /* in front of the keys, and of the values */
static size_t mget_head_size, mget_reply_head_size;

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

static size_t render_key(char *out, uint32_t key)
{
    return (size_t)snprintf(out, 128, "$%d\r\nkey:%0*u\r\n", KEY_SIZE, KEY_SIZE - 4, key);
}

/* Into @out, which has value_size and 128 bytes. */
static size_t render(char *out, bool set, uint32_t key)
{
    size_t n = (size_t)snprintf(out, 128, "*%d\r\n$3\r\n%s\r\n", set ? 3 : 2, set ? "SET" : "GET");

    n += render_key(out + n, key);
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
    request_size = run.mget ? render_key(one, 0) : render(one, run.set, 0);
    mget_head_size =
        (size_t)snprintf(mget_head, sizeof(mget_head), "*%u\r\n$4\r\nMGET\r\n", plan.depth + 1);
    mget_reply_head_size = (size_t)snprintf(digits, sizeof(digits), "*%u\r\n", plan.depth);
    reply_size = run.set ? strlen("+OK\r\n")
                         : (size_t)snprintf(digits, sizeof(digits), "%u", run.value_size) +
                               run.value_size + strlen("$\r\n\r\n");
    requests = malloc(request_size * (SEQUENCE + DEPTH_MAX) + 1);
    if (!requests)
        die("out of memory");
    for (size_t i = 0; i < SEQUENCE + DEPTH_MAX; i++) {
        uint32_t key = sequence[i % SEQUENCE];

        (void)(run.mget ? render_key(one, key) : render(one, run.set, key));
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
static void fill(const load_target *t)
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

static size_t waiting[LOAD_CONNECTIONS_MAX]; /* bytes of replies that are due */
static uint64_t asked;                       /* state of what chooses the requests */

static void begin(void)
{
    asked = run.seed + 99;
}

static void ask(const load_target *t, unsigned i, int fd)
{
    size_t at = random_next(&asked) % SEQUENCE;

    (void)t;
    waiting[i] = reply_size * plan.depth;
    if (run.mget) {
        static char whole[sizeof(mget_head) + DEPTH_MAX * 128];

        waiting[i] += mget_reply_head_size;
        memcpy(whole, mget_head, mget_head_size);
        memcpy(whole + mget_head_size, requests + at * request_size, request_size * plan.depth);
        send_all(fd, whole, mget_head_size + request_size * plan.depth);
        return;
    }
    send_all(fd, requests + at * request_size, request_size * plan.depth);
}

static int eat(unsigned i, const char *data, size_t size)
{
    (void)data;
    if (size > waiting[i])
        return -1;
    waiting[i] -= size;
    return waiting[i] == 0;
}

/* ---- arguments and result ---- */

static void add_target(const char *text)
{
    if (target_count == TARGETS_MAX)
        die("too many targets");
    load_target_parse(text, &targets[target_count++]);
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
            plan.depth = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--connections") == 0)
            plan.connections = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--value") == 0)
            run.value_size = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--seconds") == 0)
            plan.seconds = strtod(value, NULL);
        else if (strcmp(flag, "--rounds") == 0)
            plan.rounds = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--zipf") == 0)
            run.zipf = strtod(value, NULL);
        else if (strcmp(flag, "--seed") == 0)
            run.seed = strtoull(value, NULL, 10);
        else if (strcmp(flag, "--command") == 0) {
            run.set = strcmp(value, "set") == 0;
            run.mget = strcmp(value, "mget") == 0;
        } else
            die("there is no such flag; see the head of bench/resp_load.c");
    }
    if (target_count == 0 || run.keys < 1 || plan.depth > DEPTH_MAX || !load_plan_is_good(&plan))
        die("a flag is missing or out of range; see the head of bench/resp_load.c");
}

static void print_result(void)
{
    (void)printf(
        "{\"command\":\"%s\",\"keys\":%u,\"depth\":%u,\"connections\":%u,\"value_bytes\":%u,"
        "\"zipf\":%g,\"rounds\":%u,\"seconds\":%g,\"targets\":[",
        run.set ? "set" : (run.mget ? "mget" : "get"), run.keys, plan.depth, plan.connections,
        run.value_size, run.zipf, plan.rounds, plan.seconds);
    for (unsigned i = 0; i < target_count; i++) {
        (void)printf("%s{\"name\":\"%s\",", i ? "," : "", targets[i].name);
        load_print(&plan, &targets[i]);
        (void)printf("}");
    }
    (void)printf("]");
    if (target_count > 1) /* of the medians of turns that stood beside each other */
        (void)printf(",\"ratio\":%.4f",
                     load_cpu_us(&plan, &targets[0]) / load_cpu_us(&plan, &targets[1]));
    (void)printf("}\n");
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    draw_sequence();
    render_all();
    for (unsigned i = 0; i < target_count; i++)
        fill(&targets[i]);
    for (unsigned round = 0; round < plan.rounds; round++)
        for (unsigned i = 0; i < target_count; i++)
            load_turn(&plan, &targets[i], round);
    print_result();
    free(sequence);
    free(requests);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Loads HTTP servers with GETs of one path and says how much CPU each took for one: A B A B, so
 * that a machine that grows slower in between slows both.
 *
 *   http_load --target NAME=HOST:PORT,PID[+PID...] [--header "Name: value"] [--target ...] [--path
 * P]
 *             [--depth N] [--connections N] [--seconds S] [--rounds N]
 *
 * Gated is the CPU time a request of the server's processes: load.h. Answers are read as
 * far as their ends are needed, since their sizes differ from one to the next (Age, request ids).
 * A header is of the target before it; {etag} in it becomes the ETag of the target's first answer.
 * One JSON object. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

enum { TARGETS_MAX = 4, DEPTH_MAX = 64, REQUEST_MAX = 1024, HEAD_MAX = 4096 };

typedef struct target {
    load_target load;                       /* first */
    const char *header;                     /* "" or "Name: value" */
    char requests[DEPTH_MAX * REQUEST_MAX]; /* depth of them */
    size_t size;
    int status; /* of the answers */
} target;

typedef struct connection {
    unsigned waiting; /* answers that are due */
    size_t body_left; /* of the one that is being read */
    size_t head_size; /* of an incomplete head in head[] */
    char head[HEAD_MAX];
} connection;

static void ask(const load_target *t, unsigned i, int fd);
static int eat_at(unsigned i, const char *data, size_t size);

static target targets[TARGETS_MAX];
static unsigned target_count;
static const char *path = "/";
static load_plan plan = {
    .rounds = 5, .depth = 1, .connections = 16, .seconds = 2, .ask = ask, .eat = eat_at};

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
    int n = snprintf(out, REQUEST_MAX, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s%s\r\n", path,
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
    int fd = dial(t->load.host, t->load.port);
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
    for (unsigned i = 0; i < plan.depth; i++)
        memcpy(t->requests + i * size, one, size);
    t->size = size * plan.depth;
    t->status = probe(t, filled, etag, sizeof(etag));
}

/* ---- a turn ---- */

static connection connections[LOAD_CONNECTIONS_MAX];

static void ask(const load_target *t, unsigned i, int fd)
{
    connections[i] = (connection){.waiting = plan.depth};
    send_all(fd, ((const target *)t)->requests, ((const target *)t)->size);
}

static int eat_at(unsigned i, const char *data, size_t size)
{
    return !eat(&connections[i], data, size) ? -1 : connections[i].waiting == 0;
}

/* ---- arguments and result ---- */

static void add_target(const char *text)
{
    target *t = &targets[target_count++];

    if (target_count > TARGETS_MAX)
        die("too many targets");
    load_target_parse(text, &t->load);
    t->header = "";
}

static void read_arguments(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *flag = argv[i], *value = argv[i + 1];

        if (strcmp(flag, "--target") == 0)
            add_target(value);
        else if (strcmp(flag, "--path") == 0)
            path = value;
        else if (strcmp(flag, "--header") == 0 && target_count)
            targets[target_count - 1].header = value;
        else if (strcmp(flag, "--depth") == 0)
            plan.depth = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--connections") == 0)
            plan.connections = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(flag, "--seconds") == 0)
            plan.seconds = strtod(value, NULL);
        else if (strcmp(flag, "--rounds") == 0)
            plan.rounds = (unsigned)strtoul(value, NULL, 10);
        else
            die("there is no such flag; see the head of bench/http_load.c");
    }
    if (target_count == 0 || plan.depth > DEPTH_MAX || !load_plan_is_good(&plan))
        die("a flag is missing or out of range; see the head of bench/http_load.c");
}

static void print_result(void)
{
    (void)printf("{\"depth\":%u,\"connections\":%u,\"rounds\":%u,\"seconds\":%g,\"targets\":[",
                 plan.depth, plan.connections, plan.rounds, plan.seconds);
    for (unsigned i = 0; i < target_count; i++) {
        (void)printf("%s{\"name\":\"%s\",\"status\":%d,", i ? "," : "", targets[i].load.name,
                     targets[i].status);
        load_print(&plan, &targets[i].load);
        (void)printf("}");
    }
    (void)printf("]}\n");
}

int main(int argc, char **argv)
{
    read_arguments(argc, argv);
    for (unsigned i = 0; i < target_count; i++)
        prepare(&targets[i]);
    for (unsigned round = 0; round < plan.rounds; round++)
        for (unsigned i = 0; i < target_count; i++)
            load_turn(&plan, &targets[i].load, round);
    print_result();
    return 0;
}

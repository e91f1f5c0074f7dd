/* SPDX-License-Identifier: Apache-2.0 */
/* From kill -9 of a daemon with 100,000 keys to its first right answer after it was started again:
 * this very program as a child process, on a folder of its own, through a socket. Beside it: how
 * long this program takes to start and end when it has nothing to do. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/benches.h"
#include "client/client.h"
#include "core/alloc.h"
#include "core/env.h"

enum { KEYS = 100000, AT_ONCE = 300, ROUNDS = 7, ROUNDS_MAX = 101, WAIT_MS = 20000 };

typedef struct daemon_ {
    char folder[64], address[64];
    pid_t pid;
    int out; /* its standard output */
} daemon_;

static double now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- the child ---- */

/* Run this program with @arguments; its output comes to *ret_out. */
static int spawn(char *const arguments[], pid_t *ret_pid, int *ret_out)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return -errno;
    *ret_pid = fork();
    if (*ret_pid == 0) {
        (void)dup2(ends[1], 1);
        (void)dup2(ends[1], 2);
        (void)execv("/proc/self/exe", arguments);
        _exit(127);
    }
    (void)close(ends[1]);
    if (*ret_pid < 0) {
        (void)close(ends[0]);
        return -errno;
    }
    *ret_out = ends[0];
    return 0;
}

/* The ready line says where it listens; whatever comes before it is passed over. */
static int read_ready(daemon_ *d, mp__diag *diag)
{
    char text[4096];
    size_t size = 0;
    const char *at, *end;

    for (;;) {
        ssize_t n = read(d->out, text + size, sizeof(text) - 1 - size);

        if (n <= 0)
            return mp__diag_set(diag, MP_ECLOSED, "the daemon did not start: %.*s", (int)size,
                                text);
        size += (size_t)n;
        text[size] = '\0';
        at = strstr(text, "\"resp\":\"");
        end = at ? strchr(at + 8, '"') : NULL;
        if (end)
            break;
        if (size == sizeof(text) - 1)
            return mp__diag_set(diag, MP_EPROTO, "the daemon said no ready line");
    }
    (void)snprintf(d->address, sizeof(d->address), "%.*s", (int)(end - at - 8), at + 8);
    return 0;
}

static int start(daemon_ *d, mp__diag *diag)
{
    char name[] = "marketprism", serve[] = "serve", data[] = "--data-dir", resp[] = "--resp";
    char http[] = "--http", any[] = "127.0.0.1:0";
    char *arguments[] = {name, serve, data, d->folder, resp, any, http, any, NULL};
    int rc = spawn(arguments, &d->pid, &d->out);

    return rc ? mp__diag_set(diag, rc, "cannot start the daemon: %s", mp_strerror(rc))
              : read_ready(d, diag);
}

static void end(daemon_ *d, int signal_)
{
    if (d->pid > 0) {
        (void)kill(d->pid, signal_);
        (void)waitpid(d->pid, NULL, 0);
        (void)close(d->out);
    }
    d->pid = 0;
}

/* ---- its keys ---- */

static void name_key(unsigned i, char *name, size_t capacity)
{
    (void)snprintf(name, capacity, "services/unit-%06u.endpoint.port", i);
}

static void name_value(unsigned i, char *value, size_t capacity)
{
    (void)snprintf(value, capacity, "{\"host\":\"unit-%06u.internal\",\"port\":%u,\"tls\":true}", i,
                   1024 + i % 50000);
}

static int put_some(mp__client *client, unsigned first, unsigned count, mp__diag *diag)
{
    static char names[AT_ONCE][64], values[AT_ONCE][96];
    mp_str words[1 + 3 * AT_ONCE] = {MP_STR("MP.PUT")};
    mp__reply *reply = NULL;
    int rc;

    for (unsigned i = 0; i < count; i++) {
        name_key(first + i, names[i], sizeof(names[i]));
        name_value(first + i, values[i], sizeof(values[i]));
        words[1 + 3 * i] = mp_str_of(names[i]);
        words[2 + 3 * i] = MP_STR("application/json");
        words[3 + 3 * i] = mp_str_of(values[i]);
    }
    rc = mp__client_call(client, words, 1 + 3 * (size_t)count, &reply, diag);
    if (rc == 0 && reply->type == MP__REPLY_ERROR)
        rc = mp__diag_set(diag, MP_EORIGIN, "%.*s", (int)reply->text.size, reply->text.data);
    (void)mp__reply_free(reply);
    return rc;
}

static int fill(const daemon_ *d, mp__diag *diag)
{
    mp__client *client = NULL;
    int rc = mp__client_open(d->address, WAIT_MS, &client, diag);

    for (unsigned i = 0; rc == 0 && i < KEYS; i += AT_ONCE)
        rc = put_some(client, i, KEYS - i < AT_ONCE ? KEYS - i : AT_ONCE, diag);
    (void)mp__client_close(client);
    return rc;
}

static int ask(const daemon_ *d, unsigned i, mp__diag *diag)
{
    mp__client *client = NULL;
    mp__reply *reply = NULL;
    char name[64], value[96];
    mp_str words[2] = {MP_STR("GET")};
    int rc = mp__client_open(d->address, WAIT_MS, &client, diag);

    name_key(i, name, sizeof(name));
    name_value(i, value, sizeof(value));
    words[1] = mp_str_of(name);
    if (rc == 0)
        rc = mp__client_call(client, words, 2, &reply, diag);
    if (rc == 0 && !mp_str_equal(reply->text, mp_str_of(value)))
        rc = mp__diag_set(diag, MP_ECORRUPT, "%s was answered wrongly after the restart", name);
    (void)mp__reply_free(reply);
    (void)mp__client_close(client);
    return rc;
}

/* ---- the figures ---- */

static int restart_once(daemon_ *d, unsigned round, double *ret_ms, mp__diag *diag)
{
    double began;
    int rc;

    end(d, SIGKILL);
    began = now_ms();
    rc = start(d, diag);
    if (rc == 0)
        rc = ask(d, (round * 7919u + 17u) % KEYS, diag);
    *ret_ms = now_ms() - began;
    return rc;
}

static int bare_once(double *ret_ms, mp__diag *diag)
{
    char name[] = "marketprism", version[] = "version", text[256];
    char *arguments[] = {name, version, NULL};
    double began = now_ms();
    pid_t pid = -1;
    int out = -1, rc = spawn(arguments, &pid, &out);

    if (rc)
        return mp__diag_set(diag, rc, "cannot start this program: %s", mp_strerror(rc));
    while (read(out, text, sizeof(text)) > 0)
        ;
    (void)waitpid(pid, NULL, 0);
    (void)close(out);
    *ret_ms = now_ms() - began;
    return 0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

int mp__bench_restart(const mp__bench_options *options, mp__buf *out, mp__diag *diag)
{
    unsigned rounds = options->rounds ? options->rounds : ROUNDS;
    double ours[ROUNDS_MAX], bare[ROUNDS_MAX];
    daemon_ d = {.folder = "/tmp/marketprism-bench-XXXXXX"};
    int rc = mkdtemp(d.folder) ? start(&d, diag)
                               : mp__diag_set(diag, -errno, "cannot make a folder in /tmp: %s",
                                              mp_strerror(-errno));

    if (rounds > ROUNDS_MAX)
        rounds = ROUNDS_MAX;
    if (rc == 0)
        rc = fill(&d, diag);
    for (unsigned i = 0; i < rounds && rc == 0; i++) {
        rc = restart_once(&d, i, &ours[i], diag);
        if (rc == 0)
            rc = bare_once(&bare[i], diag);
    }
    end(&d, SIGTERM);
    mp__bench_folder_remove(d.folder);
    if (rc)
        return rc;
    qsort(ours, rounds, sizeof(double), by_value);
    qsort(bare, rounds, sizeof(double), by_value);
    return mp__buf_printf(
        out,
        options->json
            ? "{\"bench\":\"restart\",\"keys\":%d,\"rounds\":%u,\"median_ms\":%.1f,\"max_ms\":%.1f,"
              "\"reference\":\"this program started with nothing to do, in turns\","
              "\"bare_start_ms\":%.1f}\n"
            : "%d keys, %u times kill -9: to the first right answer %.1f ms, at most %.1f ms; this "
              "program started with nothing to do takes %.1f ms\n",
        KEYS, rounds, ours[rounds / 2], ours[rounds - 1], bare[rounds / 2]);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What the load generators share: time, the CPU time of a server, sockets, quantiles; and turns of
 * load on servers that are compared.
 *
 * In a turn every connection of a target asks again as soon as it has all its answers. What is
 * compared is the CPU time that the target's processes took for a request (utime + stime of
 * /proc/PID/stat over the turn, divided by the requests answered), since on few cores throughput
 * measures the generator. */
#ifndef MP_BENCH_LOAD_H
#define MP_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LOAD_PIDS_MAX = 8, LOAD_ROUNDS_MAX = 99, LOAD_CONNECTIONS_MAX = 1000 };

_Noreturn void die(const char *what);
double now_s(void);
double cpu_s(long pid); /* utime + stime in seconds */
int dial(const char *host, uint16_t port);
void send_all(int fd, const char *data, size_t size);
double quantile(double *values, size_t n, double q); /* sorts them */

typedef struct load_target {
    char name[32], host[64];
    uint16_t port;
    long pids[LOAD_PIDS_MAX];
    unsigned pid_count;
    double cpu_us[LOAD_ROUNDS_MAX], rate[LOAD_ROUNDS_MAX]; /* of each turn */
    double p50_us[LOAD_ROUNDS_MAX], p99_us[LOAD_ROUNDS_MAX];
} load_target;

/* NAME=HOST:PORT,PID[+PID...] */
void load_target_parse(const char *text, load_target *ret_target);

typedef struct load_plan {
    unsigned rounds, depth, connections;
    double seconds;      /* of a turn */
    void (*begin)(void); /* each turn shall ask the same: begin anew; may be NULL */
    /* Send `depth` requests on the connection @i. */
    void (*ask)(const load_target *target, unsigned i, int fd);
    /* Bytes came on it: 1 that was all, 0 more is due, -1 these were not. */
    int (*eat)(unsigned i, const char *data, size_t size);
} load_plan;

bool load_plan_is_good(const load_plan *plan);
void load_turn(const load_plan *plan, load_target *target, unsigned round);

double load_cpu_us(const load_plan *plan, const load_target *target); /* the median of the turns */
/* The members of a JSON object that say what the turns brought. */
void load_print(const load_plan *plan, const load_target *target);

#endif

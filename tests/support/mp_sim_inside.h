/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the simulator share: what it is made of, and its sockets (mp_sim_streams.c). */
#ifndef MP_SIM_INSIDE_H
#define MP_SIM_INSIDE_H

#include <assert.h>
#include <stdlib.h>

#include "core/env_ops.h"
#include "mp_sim.h"

/* Tests want plain heap that never fails under mp_fail_begin(). */
#define NEVER UINT64_MAX

enum { WINDOW = 64 * 1024, LATENCY_US = 300, WORK_US = 2000 };

typedef struct sim_loop sim_loop;
typedef struct sim_worker sim_worker;
typedef struct sim_timer sim_timer;
typedef struct sim_stream sim_stream;
typedef struct sim_dirwatch sim_dirwatch;
typedef struct sim_listener sim_listener;
typedef struct sim_connect sim_connect;

struct sim_loop {
    mp__loop base;
    sim_loop *next;
    mp_sim *sim;
    mp__task_queue queue;
    uint64_t ready_ns; /* when its posts are run */
    void (*on_turn)(void *context);
    void *context;
    bool stopped;
};

struct sim_timer {
    mp__timer base;
    sim_timer *next;
    sim_loop *loop;
    uint64_t due_ns, repeat_ns;
    void (*fn)(void *context);
    void *context;
};

struct sim_dirwatch {
    mp__dirwatch base;
    sim_dirwatch *next;
    sim_loop *loop;
    uint64_t ready_ns; /* when it is told of what changed */
    void (*fn)(void *context, const char *name);
    void *context;
    char name[128]; /* "": several */
    char path[256];
};

struct sim_worker {
    mp__worker base;
    sim_worker *next;
    mp_sim *sim;
    mp__task_queue queue;
    uint64_t ready_ns, idle_ns, idle_due_ns;
    void (*run_batch)(void *context, mp__task *first);
    void *context;
    char name[16];
};

struct sim_listener {
    mp__listener base;
    sim_listener *next;
    sim_loop *loop;
    uint16_t port;
    bool paused;
    void (*on_accept)(void *context, mp__stream *stream);
    void *context;
};

/* One end of a connection. Bytes on their way to it lie in `in`. */
struct sim_stream {
    mp__stream base;
    sim_stream *next, *peer;
    sim_loop *loop;
    const mp__stream_events *events;
    void *context;
    char *in;
    size_t in_size;
    uint64_t ready_ns; /* when the next of them comes */
    bool paused, started, closing, told_end;
    bool ended; /* the peer will send no more */
    int error;  /* told instead of an end */
    bool wants_drained;
    uint16_t port;
};

struct sim_connect {
    sim_connect *next;
    sim_loop *loop;
    uint16_t port;
    uint64_t ready_ns;
    void (*on_connect)(void *context, int error, mp__stream *stream);
    void *context;
};

struct mp_sim {
    mp_env env;
    mp_platter *disk;
    uint64_t random, now_ns, disk_ms;
    int64_t wall_offset_ms;
    sim_loop *loops;
    sim_timer *timers;
    sim_dirwatch *dirwatches;
    int dirwatch_error;
    bool dirwatch_silent;
    sim_worker *workers;
    sim_listener *listeners;
    sim_stream *streams;
    sim_connect *connects;
    uint16_t next_port;
    char slow_name[16];
    uint64_t slow_least_ms, slow_most_ms;
    bool partitioned;
};

static inline mp_sim *sim_of(mp_env *env)
{
    return (mp_sim *)env;
}

static inline void *get(size_t size)
{
    void *memory = calloc(1, size);

    assert(memory);
    return memory;
}

static inline uint64_t soon(mp_sim *sim, uint64_t most_us)
{
    return sim->now_ns + mp_sim_random(sim, most_us) * 1000u;
}

void mp_sim_turn_ends(sim_loop *loop); /* what the loop does after its events */

/* ---- sockets: mp_sim_streams.c ---- */

int mp_sim_listen(mp__loop *base, const char *host, uint16_t *port, bool shared,
                  void (*on_accept)(void *context, mp__stream *stream), void *context,
                  mp__listener **ret_listener);
int mp_sim_listen_probe(mp_env *env, const char *host, uint16_t port);
void mp_sim_listener_pause(mp__listener *listener, bool pause);
mp__listener *mp_sim_listener_free(mp__listener *base);
int mp_sim_connect_start(mp__loop *base, const char *host, uint16_t port, uint64_t timeout_ms,
                         void (*on_connect)(void *context, int error, mp__stream *stream),
                         void *context);
void mp_sim_connect_ends(sim_connect *c);
void mp_sim_wake(sim_stream *s);
void mp_sim_stream_start(mp__stream *base, const mp__stream_events *events, void *context);
void mp_sim_stream_pause(mp__stream *base, bool pause);
int mp_sim_stream_write(mp__stream *base, const struct iovec *parts, int count);
int mp_sim_stream_descriptor(const mp__stream *base);
size_t mp_sim_stream_queued(const mp__stream *base);
void mp_sim_stream_close(mp__stream *base);
void mp_sim_stream_reset(mp__stream *base);
const char *mp_sim_stream_peer(mp__stream *base, char *text, size_t capacity);
void mp_sim_stream_free(sim_stream *s);
void mp_sim_stream_goes_on(sim_stream *s);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the real env, for the table in env_real.c; the contracts are those of env.h. */
#ifndef MP_CORE_ENV_REAL_H
#define MP_CORE_ENV_REAL_H

#include <stdatomic.h>
#include <uv.h>

#include "core/env_ops.h"

uint64_t mp__real_now_ns(mp_env *env);
uint64_t mp__real_cpu_ns(mp_env *env);
int64_t mp__real_wall_ms(mp_env *env);
void mp__real_random(mp_env *env, void *data, size_t size);

int mp__real_file_open(mp_env *env, const char *path, int flags, mp__file **ret_file);
void mp__real_file_close(mp__file *file);
int64_t mp__real_file_pread(mp__file *file, void *data, size_t size, uint64_t offset);
int64_t mp__real_file_pread_nowait(mp__file *file, void *data, size_t size, uint64_t offset);
int mp__real_file_pwrite(mp__file *file, const void *data, size_t size, uint64_t offset);
int mp__real_file_sync(mp__file *file);
int mp__real_file_truncate(mp__file *file, uint64_t size);
int mp__real_file_stat(mp__file *file, mp__stat *ret_stat);
int mp__real_file_lock(mp__file *file);
int mp__real_stat(mp_env *env, const char *path, mp__stat *ret_stat);
int mp__real_mkdir_one(mp_env *env, const char *path);
int mp__real_rename(mp_env *env, const char *from, const char *to);
int mp__real_unlink(mp_env *env, const char *path);
int mp__real_sync_dir(mp_env *env, const char *path);
int mp__real_list(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                  void *context);
int mp__real_disk_free(mp_env *env, const char *path, uint64_t *ret_bytes);

/* ---- waking (env_wake.c) ---- */

/* Part of what has a queue and a thread that sleeps while it is empty. */
typedef struct mp__real_wake {
    void (*fn)(struct mp__real_wake *wake);
    atomic_uint posters; /* that have posted and have yet to wake it */
    bool is_first;       /* of those that are held back */
} mp__real_wake;

/* A post that must wake: begin while the queue is locked, so that it is not freed meanwhile, then
 * up, which ends it. */
void mp__real_wake_begin(mp__real_wake *wake);
void mp__real_wake_up(mp__real_wake *wake);
void mp__real_wake_end(mp__real_wake *wake);
/* Before it is freed, when nobody posts any more: wait for those. */
void mp__real_wake_done(mp__real_wake *wake);
void mp__real_hold_wakes(mp_env *env);
void mp__real_release_wakes(mp_env *env);
void mp__real_flush_wakes(void); /* those that are held; it goes on holding */

/* ---- loops ---- */

enum { MP__READ_BUFFER = 64 * 1024 };

typedef struct mp__real_gather mp__real_gather;

typedef struct mp__real_loop {
    mp__loop base;
    mp__real_wake waking;
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t before_sleep;
    uv_check_t after_sleep;
    mp__real_gather *gather; /* or NULL */
    uv_mutex_t lock;         /* over posted and stopping */
    mp__task_queue posted;
    bool wake_sent, stopping;
    void (*on_turn)(void *context);
    void *on_turn_context;
    uv_thread_t thread;
    bool threaded;
    void (*at_start)(void *context);
    void *at_start_context;
    char name[16];
    char read_buffer[MP__READ_BUFFER]; /* one for all streams: used only within a read */
} mp__real_loop;

/* How much of a stream is read at a time into @room bytes. */
static inline size_t mp__real_read_size(const mp__real_loop *loop, size_t room)
{
    return loop->base.read_most && loop->base.read_most < room ? loop->base.read_most : room;
}

int mp__real_loop_new(mp_env *env, const char *name, mp__loop **ret_loop);
mp__loop *mp__real_loop_free(mp__loop *loop);
int mp__real_loop_run(mp__loop *loop);
void mp__real_loop_stop(mp__loop *loop);
void mp__real_loop_post(mp__loop *loop, mp__task *task);
uint64_t mp__real_loop_now_ns(mp__loop *loop);
int mp__real_loop_gather(mp__loop *loop, bool ring);
bool mp__real_loop_has_ring(const mp__loop *loop);
void mp__real_loop_on_turn(mp__loop *loop, void (*fn)(void *context), void *context);
int mp__real_loop_on_signal(mp__loop *loop, int signal, void (*fn)(void *context, int signal),
                            void *context);
int mp__real_loop_run_on_thread(mp__loop *loop, void (*at_start)(void *context), void *context);
void mp__real_loop_join(mp__loop *loop);
int mp__real_timer_new(mp__loop *loop, void (*fn)(void *context), void *context,
                       mp__timer **ret_timer);
void mp__real_timer_start(mp__timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
void mp__real_timer_stop(mp__timer *timer);
mp__timer *mp__real_timer_free(mp__timer *timer);

int mp__real_dirwatch_new(mp__loop *loop, const char *path,
                          void (*fn)(void *context, const char *name), void *context,
                          mp__dirwatch **ret_watch);
mp__dirwatch *mp__real_dirwatch_free(mp__dirwatch *watch);

int mp__real_listen(mp__loop *loop, const char *host, uint16_t *port, bool shared,
                    void (*on_accept)(void *context, mp__stream *stream), void *context,
                    mp__listener **ret_listener);
int mp__real_listen_probe(mp_env *env, const char *host, uint16_t port);
void mp__real_listener_pause(mp__listener *listener, bool pause);
mp__listener *mp__real_listener_free(mp__listener *listener);
/* Of an address, or localhost; MP_EINVAL: of a name. */
int mp__real_resolve(const char *host, uint16_t port, struct sockaddr_storage *ret_address);
int mp__real_connect(mp__loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
                     void (*on_connect)(void *context, int error, mp__stream *stream),
                     void *context);
void mp__real_stream_start(mp__stream *stream, const mp__stream_events *events, void *context);
void mp__real_stream_pause(mp__stream *stream, bool pause);
int mp__real_stream_write_kept(mp__stream *stream, const struct iovec *parts, int count,
                               const mp_blob *kept);
int mp__real_stream_write(mp__stream *stream, const struct iovec *parts, int count);
int mp__real_stream_flush(mp__stream *stream);
int mp__real_stream_descriptor(const mp__stream *stream);
size_t mp__real_stream_queued(const mp__stream *stream);
size_t mp__real_stream_unsent(const mp__stream *stream);
void mp__real_stream_close(mp__stream *stream);
void mp__real_stream_reset(mp__stream *stream);
void mp__real_stream_shutdown(mp__stream *stream);
void mp__real_stream_end(mp__stream *stream);
const char *mp__real_stream_peer(mp__stream *stream, char *text, size_t capacity);

/* ---- streams, from the inside (env_stream.c, env_gather.c) ---- */

typedef struct mp__real_stream {
    mp__stream base;
    uv_tcp_t uv;
    mp__real_loop *loop;
    const mp__stream_events *events;
    void *context;
    size_t queued;
    struct mp__real_stream *next_ready;
    unsigned staged; /* its write that waits for the end of the turn, from 1; 0: none */
    int fd;          /* while it gathers */
    bool closing, shutting, reading, is_ready;
} mp__real_stream;

mp__real_stream *mp__real_stream_new(mp__real_loop *loop); /* not connected; NULL: no memory */

/* What a read gave: @n bytes, 0 at the end, or -errno. */
void mp__real_stream_came(mp__real_stream *stream, char *data, int64_t n);
/* Let libuv send what is left of @data behind the first @sent bytes. 0 or -errno. */
int mp__real_stream_queue(mp__real_stream *stream, char *data, size_t size, size_t sent);
void mp__real_stream_broke(mp__real_stream *stream, int error);

int mp__real_gather_new(bool ring, mp__real_gather **ret_gather);
mp__real_gather *mp__real_gather_free(mp__real_gather *gather); /* accepts NULL, returns NULL */
bool mp__real_gather_has_ring(const mp__real_gather *gather);   /* any thread; accepts NULL */
/* libuv says that there is something to read. */
void mp__real_gather_ready(mp__real_stream *stream);
/* Read what is ready. */
void mp__real_gather_read(mp__real_gather *gather);
/* Keep @total bytes until the turn ends. False: they are to be written at once, behind what
 * mp__real_gather_take() gives. */
bool mp__real_gather_write(mp__real_stream *stream, const struct iovec *parts, int count,
                           size_t total);
/* What is kept of @stream, which must be written before any other is kept; empty: nothing. */
struct iovec mp__real_gather_take(mp__real_stream *stream);
/* Send what is kept. */
void mp__real_gather_flush(mp__real_gather *gather);

int mp__real_worker_new(mp_env *env, const char *name, uint64_t idle_ms,
                        void (*run_batch)(void *context, mp__task *first), void *context,
                        mp__worker **ret_worker);
void mp__real_worker_set_idle(mp__worker *base, uint64_t idle_ms);
void mp__real_worker_post(mp__worker *worker, mp__task *task);
size_t mp__real_worker_queued(const mp__worker *worker);
mp__worker *mp__real_worker_free(mp__worker *worker);

#endif

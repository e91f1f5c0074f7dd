/* SPDX-License-Identifier: Apache-2.0 */
/* What an env implements. Each object (file, loop, timer, listener, stream, worker) begins with a
 * pointer to its env's table, through which env.h's functions dispatch. Contracts: env.h. */
#ifndef MP_CORE_ENV_OPS_H
#define MP_CORE_ENV_OPS_H

#include "core/env.h"

typedef struct mp__env_ops {
    uint64_t (*now_ns)(mp_env *env);
    uint64_t (*cpu_ns)(mp_env *env); /* or NULL */
    int64_t (*wall_ms)(mp_env *env);
    void (*random)(mp_env *env, void *data, size_t size);

    int (*file_open)(mp_env *env, const char *path, int flags, mp__file **ret_file);
    void (*file_close)(mp__file *file);
    int64_t (*file_pread)(mp__file *file, void *data, size_t size, uint64_t offset);
    int64_t (*file_pread_nowait)(mp__file *file, void *data, size_t size, uint64_t offset);
    int (*file_pwrite)(mp__file *file, const void *data, size_t size, uint64_t offset);
    int (*file_sync)(mp__file *file);
    int (*file_truncate)(mp__file *file, uint64_t size);
    int (*file_stat)(mp__file *file, mp__stat *ret_stat);
    int (*file_lock)(mp__file *file);
    int (*stat)(mp_env *env, const char *path, mp__stat *ret_stat);
    int (*mkdir_one)(mp_env *env, const char *path);
    int (*rename)(mp_env *env, const char *from, const char *to);
    int (*unlink)(mp_env *env, const char *path);
    int (*sync_dir)(mp_env *env, const char *path);
    int (*list)(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                void *context);
    int (*disk_free)(mp_env *env, const char *path, uint64_t *ret_bytes);

    int (*loop_new)(mp_env *env, const char *name, mp__loop **ret_loop);
    mp__loop *(*loop_free)(mp__loop *loop);
    int (*loop_run)(mp__loop *loop);
    void (*loop_stop)(mp__loop *loop);
    void (*loop_post)(mp__loop *loop, mp__task *task);
    uint64_t (*loop_now_ns)(mp__loop *loop);
    int (*loop_gather)(mp__loop *loop, bool ring); /* or NULL */
    bool (*loop_has_ring)(const mp__loop *loop);   /* or NULL */
    void (*loop_on_turn)(mp__loop *loop, void (*fn)(void *context), void *context);
    int (*loop_on_signal)(mp__loop *loop, int signal, void (*fn)(void *context, int signal),
                          void *context);
    int (*loop_run_on_thread)(mp__loop *loop, void (*at_start)(void *context), void *context);
    void (*loop_join)(mp__loop *loop);

    int (*timer_new)(mp__loop *loop, void (*fn)(void *context), void *context,
                     mp__timer **ret_timer);
    void (*timer_start)(mp__timer *timer, uint64_t delay_ms, uint64_t repeat_ms);
    void (*timer_stop)(mp__timer *timer);
    mp__timer *(*timer_free)(mp__timer *timer);

    int (*dirwatch_new)(mp__loop *loop, const char *path,
                        void (*fn)(void *context, const char *name), void *context,
                        mp__dirwatch **ret_watch);
    mp__dirwatch *(*dirwatch_free)(mp__dirwatch *watch);

    int (*listen)(mp__loop *loop, const char *host, uint16_t *port, bool shared,
                  void (*on_accept)(void *context, mp__stream *stream), void *context,
                  mp__listener **ret_listener);
    int (*listen_probe)(mp_env *env, const char *host, uint16_t port);
    void (*listener_pause)(mp__listener *listener, bool pause);
    mp__listener *(*listener_free)(mp__listener *listener);
    int (*connect)(mp__loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
                   void (*on_connect)(void *context, int error, mp__stream *stream), void *context);
    void (*stream_start)(mp__stream *stream, const mp__stream_events *events, void *context);
    void (*stream_pause)(mp__stream *stream, bool pause);
    int (*stream_write)(mp__stream *stream, const struct iovec *parts, int count);
    /* NULL: copied like all else. */
    int (*stream_write_kept)(mp__stream *stream, const struct iovec *parts, int count,
                             const mp_blob *kept);
    int (*stream_flush)(mp__stream *stream); /* or NULL */
    int (*stream_descriptor)(const mp__stream *stream);
    size_t (*stream_queued)(const mp__stream *stream);
    size_t (*stream_unsent)(const mp__stream *stream); /* or NULL: what is queued */
    void (*stream_close)(mp__stream *stream);
    void (*stream_reset)(mp__stream *stream);
    void (*stream_shutdown)(mp__stream *stream);
    void (*stream_end)(mp__stream *stream); /* or NULL */
    const char *(*stream_peer)(mp__stream *stream, char *text, size_t capacity);

    /* may both be NULL: a post then wakes at once, or nobody sleeps */
    void (*hold_wakes)(mp_env *env);
    void (*release_wakes)(mp_env *env);

    int (*worker_new)(mp_env *env, const char *name, uint64_t idle_ms,
                      void (*run_batch)(void *context, mp__task *first), void *context,
                      mp__worker **ret_worker);
    void (*worker_set_idle)(mp__worker *worker, uint64_t idle_ms);
    void (*worker_post)(mp__worker *worker, mp__task *task);
    size_t (*worker_queued)(const mp__worker *worker);
    mp__worker *(*worker_free)(mp__worker *worker);
} mp__env_ops;

struct mp_env {
    const mp__env_ops *ops;
};
struct mp__file {
    const mp__env_ops *ops;
};
struct mp__loop {
    const mp__env_ops *ops;
    mp_env *env;
    size_t read_most; /* of a stream at a time; 0: as much as there is room for */
};
struct mp__timer {
    const mp__env_ops *ops;
};
struct mp__dirwatch {
    const mp__env_ops *ops;
};
struct mp__listener {
    const mp__env_ops *ops;
};
struct mp__stream {
    const mp__env_ops *ops;
};
struct mp__worker {
    const mp__env_ops *ops;
};

/* Tasks in the order of their posts; not locked. */
typedef struct mp__task_queue {
    mp__task *first, **last;
    size_t count;
} mp__task_queue;

static inline void mp__task_queue_init(mp__task_queue *queue)
{
    *queue = (mp__task_queue){NULL, &queue->first, 0};
}

static inline void mp__task_queue_add(mp__task_queue *queue, mp__task *task)
{
    task->next = NULL;
    *queue->last = task;
    queue->last = &task->next;
    __atomic_store_n(&queue->count, queue->count + 1, __ATOMIC_RELAXED); /* who asks has no lock */
}

static inline mp__task *mp__task_queue_take_all(mp__task_queue *queue)
{
    mp__task *first = queue->first;

    queue->first = NULL;
    queue->last = &queue->first;
    __atomic_store_n(&queue->count, 0, __ATOMIC_RELAXED);
    return first;
}

/* The parts of the real env, each in its own file; a layered env borrows what it does not change.
 */
extern const mp__env_ops mp__env_real_ops;

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* env.h's functions: dispatch through the env's table, and what every env has in common. */
#include "core/env.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "core/alloc.h"
#include "core/env_ops.h"

uint64_t mp__env_now_ns(mp_env *env)
{
    return env->ops->now_ns(env);
}

uint64_t mp__env_cpu_ns(mp_env *env)
{
    return env->ops->cpu_ns ? env->ops->cpu_ns(env) : env->ops->now_ns(env);
}

int64_t mp__env_wall_ms(mp_env *env)
{
    return env->ops->wall_ms(env);
}

void mp__env_random(mp_env *env, void *data, size_t size)
{
    env->ops->random(env, data, size);
}

/* ---- files ---- */

int mp__file_open(mp_env *env, const char *path, int flags, mp__file **ret_file)
{
    return env->ops->file_open(env, path, flags, ret_file);
}

void mp__file_close(mp__file *file)
{
    if (file)
        file->ops->file_close(file);
}

int64_t mp__file_pread(mp__file *file, void *data, size_t size, uint64_t offset)
{
    return file->ops->file_pread(file, data, size, offset);
}

int64_t mp__file_pread_nowait(mp__file *file, void *data, size_t size, uint64_t offset)
{
    return file->ops->file_pread_nowait(file, data, size, offset);
}

int mp__file_pwrite(mp__file *file, const void *data, size_t size, uint64_t offset)
{
    return file->ops->file_pwrite(file, data, size, offset);
}

int mp__file_sync(mp__file *file)
{
    return file->ops->file_sync(file);
}

int mp__file_truncate(mp__file *file, uint64_t size)
{
    return file->ops->file_truncate(file, size);
}

int mp__file_stat(mp__file *file, mp__stat *ret_stat)
{
    return file->ops->file_stat(file, ret_stat);
}

int mp__file_lock(mp__file *file)
{
    return file->ops->file_lock(file);
}

int mp__env_stat(mp_env *env, const char *path, mp__stat *ret_stat)
{
    return env->ops->stat(env, path, ret_stat);
}

int mp__env_mkdir(mp_env *env, const char *path)
{
    MP__CLEANUP_FREE char *part = mp__strdup(path);
    int rc = 0;

    if (!part)
        return MP_ENOMEM;
    for (char *p = part + 1; *p && rc == 0; p++) {
        if (*p != '/')
            continue;
        *p = '\0';
        rc = env->ops->mkdir_one(env, part);
        *p = '/';
        /* a parent that is there and not ours to make in is no trouble */
        rc = rc == -EEXIST || rc == -EROFS || rc == -EACCES ? 0 : rc;
    }
    if (rc == 0)
        rc = env->ops->mkdir_one(env, part);
    return rc == -EEXIST ? 0 : rc;
}

int mp__env_rename(mp_env *env, const char *from, const char *to)
{
    return env->ops->rename(env, from, to);
}

int mp__env_unlink(mp_env *env, const char *path)
{
    return env->ops->unlink(env, path);
}

int mp__env_sync_dir(mp_env *env, const char *path)
{
    return env->ops->sync_dir(env, path);
}

int mp__env_list(mp_env *env, const char *path, int (*each)(void *context, const char *name),
                 void *context)
{
    return env->ops->list(env, path, each, context);
}

int mp__env_disk_free(mp_env *env, const char *path, uint64_t *ret_bytes)
{
    return env->ops->disk_free(env, path, ret_bytes);
}

/* All that a pipe or a device gives; its size says nothing. */
static int read_special(mp__file *file, size_t size_max, char **ret_data, size_t *ret_size)
{
    size_t size = 0, room = 4096;
    char *data = NULL;

    for (;;) {
        char *more = mp__realloc(data, room + 1);
        int64_t n = more ? mp__file_pread(file, more + size, room - size, size) : MP_ENOMEM;

        data = more ? more : data;
        if (n >= 0 && size + (size_t)n > size_max)
            n = MP_ELIMIT;
        if (n < 0) {
            (void)mp__free(data);
            return (int)n;
        }
        size += (size_t)n;
        if (size < room)
            break;
        room *= 2;
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

static int read_plain(mp__file *file, uint64_t size, char **ret_data, size_t *ret_size)
{
    char *data = mp__malloc((size_t)size + 1);
    int64_t n = data ? mp__file_pread(file, data, (size_t)size, 0) : MP_ENOMEM;

    if (n < 0) {
        (void)mp__free(data);
        return (int)n;
    }
    *ret_data = data;
    *ret_size = (size_t)n;
    return 0;
}

int mp__env_read_file(mp_env *env, const char *path, size_t size_max, char **ret_data,
                      size_t *ret_size)
{
    mp__file *file;
    mp__stat stat;
    char *data = NULL;
    size_t size = 0;
    int rc = mp__file_open(env, path, MP__OPEN_READ, &file);

    if (rc)
        return rc;
    rc = mp__file_stat(file, &stat);
    if (rc == 0 && stat.is_dir)
        rc = -EISDIR;
    if (rc == 0 && stat.size > size_max)
        rc = MP_ELIMIT;
    if (rc == 0)
        rc = stat.is_special ? read_special(file, size_max, &data, &size)
                             : read_plain(file, stat.size, &data, &size);
    mp__file_close(file);
    if (rc)
        return rc;
    data[size] = '\0';
    *ret_data = data;
    *ret_size = size;
    return 0;
}

static int write_new(mp_env *env, const char *path, const void *data, size_t size)
{
    mp__file *file;
    int rc = mp__file_open(env, path, MP__OPEN_WRITE | MP__OPEN_CREATE | MP__OPEN_TRUNCATE, &file);

    if (rc)
        return rc;
    rc = mp__file_pwrite(file, data, size, 0);
    if (rc == 0)
        rc = mp__file_sync(file);
    mp__file_close(file);
    return rc;
}

int mp__env_write_file_atomic(mp_env *env, const char *path, const void *data, size_t size)
{
    const char *slash = strrchr(path, '/');
    mp_str folder =
        slash ? mp_str_new(path, slash == path ? 1 : (size_t)(slash - path)) : MP_STR(".");
    MP__CLEANUP_FREE char *beside = mp__malloc(strlen(path) + 8);
    MP__CLEANUP_FREE char *parent = mp__str_dup(folder);
    int rc;

    if (!beside || !parent)
        return MP_ENOMEM;
    (void)snprintf(beside, strlen(path) + 8, "%s.new", path);
    rc = write_new(env, beside, data, size);
    if (rc == 0)
        rc = mp__env_rename(env, beside, path);
    if (rc) {
        (void)mp__env_unlink(env, beside);
        return rc;
    }
    return mp__env_sync_dir(env, parent);
}

/* ---- loops, timers ---- */

int mp__loop_new(mp_env *env, const char *name, mp__loop **ret_loop)
{
    return env->ops->loop_new(env, name, ret_loop);
}

mp__loop *mp__loop_free(mp__loop *loop)
{
    return loop ? loop->ops->loop_free(loop) : NULL;
}

int mp__loop_run(mp__loop *loop)
{
    return loop->ops->loop_run(loop);
}

void mp__loop_stop(mp__loop *loop)
{
    loop->ops->loop_stop(loop);
}

void mp__loop_post(mp__loop *loop, mp__task *task)
{
    loop->ops->loop_post(loop, task);
}

mp_env *mp__loop_env(mp__loop *loop)
{
    return loop->env;
}

uint64_t mp__loop_now_ns(mp__loop *loop)
{
    return loop->ops->loop_now_ns(loop);
}

void mp__loop_read_most(mp__loop *loop, size_t bytes)
{
    loop->read_most = bytes;
}

int mp__loop_gather(mp__loop *loop, bool ring)
{
    return loop->ops->loop_gather ? loop->ops->loop_gather(loop, ring) : 0;
}

bool mp__loop_has_ring(const mp__loop *loop)
{
    return loop->ops->loop_has_ring && loop->ops->loop_has_ring(loop);
}

void mp__loop_on_turn(mp__loop *loop, void (*fn)(void *context), void *context)
{
    loop->ops->loop_on_turn(loop, fn, context);
}

int mp__loop_on_signal(mp__loop *loop, int signal, void (*fn)(void *context, int signal),
                       void *context)
{
    return loop->ops->loop_on_signal(loop, signal, fn, context);
}

int mp__loop_run_on_thread(mp__loop *loop, void (*at_start)(void *context), void *context)
{
    return loop->ops->loop_run_on_thread(loop, at_start, context);
}

void mp__loop_join(mp__loop *loop)
{
    loop->ops->loop_join(loop);
}

int mp__timer_new(mp__loop *loop, void (*fn)(void *context), void *context, mp__timer **ret_timer)
{
    return loop->ops->timer_new(loop, fn, context, ret_timer);
}

void mp__timer_start(mp__timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    timer->ops->timer_start(timer, delay_ms, repeat_ms);
}

void mp__timer_stop(mp__timer *timer)
{
    timer->ops->timer_stop(timer);
}

mp__timer *mp__timer_free(mp__timer *timer)
{
    return timer ? timer->ops->timer_free(timer) : NULL;
}

int mp__dirwatch_new(mp__loop *loop, const char *path, void (*fn)(void *context, const char *name),
                     void *context, mp__dirwatch **ret_watch)
{
    return loop->ops->dirwatch_new(loop, path, fn, context, ret_watch);
}

mp__dirwatch *mp__dirwatch_free(mp__dirwatch *watch)
{
    return watch ? watch->ops->dirwatch_free(watch) : NULL;
}

/* ---- streams ---- */

static int port_parse(const char *text, uint16_t *ret_port)
{
    unsigned value = 0;
    size_t n = strlen(text);

    if (n == 0 || n > 5)
        return MP_EINVAL;
    for (; *text; text++) {
        if (*text < '0' || *text > '9')
            return MP_EINVAL;
        value = value * 10 + (unsigned)(*text - '0');
    }
    if (value > UINT16_MAX)
        return MP_EINVAL;
    *ret_port = (uint16_t)value;
    return 0;
}

int mp__address_parse(const char *text, char *host, size_t host_capacity, uint16_t *ret_port,
                      mp__diag *diag)
{
    const char *colon = strrchr(text, ':');
    const char *first = text;
    size_t size = colon ? (size_t)(colon - text) : 0;

    if (!colon || size == 0 || port_parse(colon + 1, ret_port) != 0)
        return mp__diag_set(diag, MP_EINVAL,
                            "'%s' is no address; write host:port, as 127.0.0.1:7480 or [::1]:7480",
                            text);
    if (*text == '[') {
        if (colon[-1] != ']' || size < 3)
            return mp__diag_set(diag, MP_EINVAL, "'%s': an IPv6 host ends in ']'", text);
        first++;
        size -= 2;
    } else if (memchr(text, ':', size)) {
        return mp__diag_set(diag, MP_EINVAL, "'%s': put an IPv6 host in brackets, as [::1]:7480",
                            text);
    }
    if (size >= host_capacity)
        return mp__diag_set(diag, MP_EINVAL, "'%s': the host is too long", text);
    memcpy(host, first, size);
    host[size] = '\0';
    return 0;
}

bool mp__address_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;

    if (strcmp(host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return (ntohl(v4.s_addr) >> 24) == 127;
    return inet_pton(AF_INET6, host, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
}

int mp__listen(mp__loop *loop, const char *host, uint16_t *port, bool shared,
               void (*on_accept)(void *context, mp__stream *stream), void *context,
               mp__listener **ret_listener)
{
    return loop->ops->listen(loop, host, port, shared, on_accept, context, ret_listener);
}

int mp__listen_probe(mp_env *env, const char *host, uint16_t port)
{
    return env->ops->listen_probe(env, host, port);
}

void mp__listener_pause(mp__listener *listener, bool pause)
{
    listener->ops->listener_pause(listener, pause);
}

mp__listener *mp__listener_free(mp__listener *listener)
{
    return listener ? listener->ops->listener_free(listener) : NULL;
}

int mp__connect(mp__loop *loop, const char *host, uint16_t port, uint64_t timeout_ms,
                void (*on_connect)(void *context, int error, mp__stream *stream), void *context)
{
    return loop->ops->connect(loop, host, port, timeout_ms, on_connect, context);
}

void mp__stream_start(mp__stream *stream, const mp__stream_events *events, void *context)
{
    stream->ops->stream_start(stream, events, context);
}

void mp__stream_pause(mp__stream *stream, bool pause)
{
    stream->ops->stream_pause(stream, pause);
}

int mp__stream_write_kept(mp__stream *stream, const struct iovec *parts, int count,
                          const mp_blob *kept)
{
    return stream->ops->stream_write_kept
               ? stream->ops->stream_write_kept(stream, parts, count, kept)
               : stream->ops->stream_write(stream, parts, count);
}

int mp__stream_write(mp__stream *stream, const struct iovec *parts, int count)
{
    return stream->ops->stream_write(stream, parts, count);
}

int mp__stream_flush(mp__stream *stream)
{
    return stream->ops->stream_flush ? stream->ops->stream_flush(stream) : 0;
}

int mp__stream_descriptor(const mp__stream *stream)
{
    return stream->ops->stream_descriptor(stream);
}

size_t mp__stream_queued(const mp__stream *stream)
{
    return stream->ops->stream_queued(stream);
}

size_t mp__stream_unsent(const mp__stream *stream)
{
    return stream->ops->stream_unsent ? stream->ops->stream_unsent(stream)
                                      : stream->ops->stream_queued(stream);
}

void mp__stream_close(mp__stream *stream)
{
    stream->ops->stream_close(stream);
}

void mp__stream_reset(mp__stream *stream)
{
    stream->ops->stream_reset(stream);
}

void mp__stream_shutdown(mp__stream *stream)
{
    stream->ops->stream_shutdown(stream);
}

void mp__stream_end(mp__stream *stream)
{
    if (stream->ops->stream_end)
        stream->ops->stream_end(stream);
}

const char *mp__stream_peer(mp__stream *stream, char *text, size_t capacity)
{
    return stream->ops->stream_peer(stream, text, capacity);
}

void mp__env_hold_wakes(mp_env *env)
{
    if (env->ops->hold_wakes)
        env->ops->hold_wakes(env);
}

void mp__env_release_wakes(mp_env *env)
{
    if (env->ops->release_wakes)
        env->ops->release_wakes(env);
}

/* ---- workers ---- */

int mp__worker_new(mp_env *env, const char *name, void (*run_batch)(void *context, mp__task *first),
                   void *context, mp__worker **ret_worker)
{
    return env->ops->worker_new(env, name, 0, run_batch, context, ret_worker);
}

int mp__worker_new_idle(mp_env *env, const char *name, uint64_t idle_ms,
                        void (*run_batch)(void *context, mp__task *first), void *context,
                        mp__worker **ret_worker)
{
    return env->ops->worker_new(env, name, idle_ms, run_batch, context, ret_worker);
}

void mp__worker_set_idle(mp__worker *worker, uint64_t idle_ms)
{
    worker->ops->worker_set_idle(worker, idle_ms);
}

void mp__worker_post(mp__worker *worker, mp__task *task)
{
    worker->ops->worker_post(worker, task);
}

size_t mp__worker_queued(const mp__worker *worker)
{
    return worker->ops->worker_queued(worker);
}

mp__worker *mp__worker_free(mp__worker *worker)
{
    return worker ? worker->ops->worker_free(worker) : NULL;
}

void mp__worker_run_each(void *context, mp__task *first)
{
    (void)context;
    while (first) {
        mp__task *next = first->next; /* run() may free or post the task again */

        first->run(first);
        first = next;
    }
}

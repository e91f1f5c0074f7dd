/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's workers: a thread, a queue, and all that is queued as one batch. */
#include "core/env_real.h"

#include <pthread.h>
#include <stdio.h>

#include "core/alloc.h"

typedef struct real_worker {
    mp__worker base;
    mp__real_wake waking;
    uv_thread_t thread;
    uv_mutex_t lock;
    uv_cond_t more;
    mp__task_queue queue;
    bool stopping;
    uint64_t idle_ms; /* the thread's own once it runs */
    void (*run_batch)(void *context, mp__task *first);
    void *context;
    char name[16];
} real_worker;

/* All that is queued; waits for something. NULL with *ret_end false: nothing came for idle_ms. */
static mp__task *next_batch(real_worker *worker, bool *ret_end)
{
    mp__task *first;
    int rc = 0;

    uv_mutex_lock(&worker->lock);
    while (!worker->queue.first && !worker->stopping && rc == 0) {
        if (worker->idle_ms)
            rc = uv_cond_timedwait(&worker->more, &worker->lock, worker->idle_ms * 1000000u);
        else
            uv_cond_wait(&worker->more, &worker->lock);
    }
    first = mp__task_queue_take_all(&worker->queue);
    *ret_end = !first && worker->stopping;
    uv_mutex_unlock(&worker->lock);
    return first;
}

static void wake_worker(mp__real_wake *waking)
{
    real_worker *worker = (real_worker *)(void *)((char *)waking - offsetof(real_worker, waking));

    uv_cond_signal(&worker->more);
}

static void worker_main(void *context)
{
    real_worker *worker = context;
    bool end = false;

    (void)pthread_setname_np(pthread_self(), worker->name);
    for (;;) {
        mp__task *first = next_batch(worker, &end);

        if (end)
            return;
        worker->run_batch(worker->context, first);
    }
}

int mp__real_worker_new(mp_env *env, const char *name, uint64_t idle_ms,
                        void (*run_batch)(void *context, mp__task *first), void *context,
                        mp__worker **ret_worker)
{
    real_worker *worker = mp__calloc(1, sizeof(*worker));
    int rc;

    if (!worker)
        return MP_ENOMEM;
    worker->base.ops = env->ops;
    worker->waking.fn = wake_worker;
    worker->idle_ms = idle_ms;
    worker->run_batch = run_batch;
    worker->context = context;
    (void)snprintf(worker->name, sizeof(worker->name), "%s", name);
    mp__task_queue_init(&worker->queue);
    rc = uv_mutex_init(&worker->lock);
    if (rc)
        goto fail_free;
    rc = uv_cond_init(&worker->more);
    if (rc)
        goto fail_mutex;
    uv_mutex_lock(&worker->lock); /* it runs nothing before it can be found where it belongs */
    rc = uv_thread_create(&worker->thread, worker_main, worker);
    if (rc == 0)
        *ret_worker = &worker->base;
    uv_mutex_unlock(&worker->lock);
    if (rc)
        goto fail_cond;
    return 0;

fail_cond:
    uv_cond_destroy(&worker->more);
fail_mutex:
    uv_mutex_destroy(&worker->lock);
fail_free:
    (void)mp__free(worker);
    return rc;
}

void mp__real_worker_set_idle(mp__worker *base, uint64_t idle_ms)
{
    ((real_worker *)base)->idle_ms = idle_ms;
}

void mp__real_worker_post(mp__worker *base, mp__task *task)
{
    real_worker *worker = (real_worker *)base;
    bool was_empty;

    uv_mutex_lock(&worker->lock);
    was_empty = !worker->queue.first;
    mp__task_queue_add(&worker->queue, task);
    if (was_empty)
        mp__real_wake_begin(&worker->waking);
    uv_mutex_unlock(&worker->lock);
    if (was_empty)
        mp__real_wake_up(&worker->waking);
}

size_t mp__real_worker_queued(const mp__worker *base)
{
    const real_worker *worker = (const real_worker *)base;

    return __atomic_load_n(&worker->queue.count, __ATOMIC_RELAXED);
}

mp__worker *mp__real_worker_free(mp__worker *base)
{
    real_worker *worker = (real_worker *)base;

    mp__real_flush_wakes(); /* who it waits for may be among them */
    uv_mutex_lock(&worker->lock);
    worker->stopping = true;
    uv_mutex_unlock(&worker->lock);
    uv_cond_signal(&worker->more);
    (void)uv_thread_join(&worker->thread);
    mp__real_wake_done(&worker->waking);
    uv_cond_destroy(&worker->more);
    uv_mutex_destroy(&worker->lock);
    return mp__free(worker);
}

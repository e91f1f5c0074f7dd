/* SPDX-License-Identifier: Apache-2.0 */
/* The real env's loops and timers, on libuv. */
#include "core/env_real.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "core/alloc.h"

static mp__real_loop *real(mp__loop *loop)
{
    return (mp__real_loop *)loop;
}

static void signal_closed(uv_handle_t *handle)
{
    (void)mp__free(handle->data);
}

/* What is still open when a loop ends is its own and its signals'. */
static void close_if_open(uv_handle_t *handle, void *context)
{
    (void)context;
    if (!uv_is_closing(handle))
        uv_close(handle, uv_handle_get_type(handle) == UV_SIGNAL ? signal_closed : NULL);
}

static void wake_loop(mp__real_wake *waking)
{
    mp__real_loop *loop =
        (mp__real_loop *)(void *)((char *)waking - offsetof(mp__real_loop, waking));

    (void)uv_async_send(&loop->wake);
}

static void run_posted(uv_async_t *wake)
{
    mp__real_loop *loop = wake->data;
    mp__task *first;
    bool stopping;

    uv_mutex_lock(&loop->lock);
    first = mp__task_queue_take_all(&loop->posted);
    loop->wake_sent = false;
    stopping = loop->stopping;
    uv_mutex_unlock(&loop->lock);
    mp__worker_run_each(NULL, first);
    if (stopping)
        uv_stop(&loop->uv);
}

static void turn_ends(uv_prepare_t *prepare)
{
    mp__real_loop *loop = prepare->data;

    if (loop->on_turn)
        loop->on_turn(loop->on_turn_context);
    if (loop->gather)
        mp__real_gather_flush(loop->gather);
    mp__real_flush_wakes(); /* what this turn posted */
}

static void was_announced(uv_check_t *check)
{
    mp__real_loop *loop = check->data;

    mp__real_gather_read(loop->gather);
}

int mp__real_loop_gather(mp__loop *base, bool ring)
{
    mp__real_loop *loop = real(base);
    int rc = mp__real_gather_new(ring, &loop->gather);

    return rc ? rc : uv_check_start(&loop->after_sleep, was_announced);
}

bool mp__real_loop_has_ring(const mp__loop *loop)
{
    return mp__real_gather_has_ring(((const mp__real_loop *)loop)->gather);
}

int mp__real_loop_new(mp_env *env, const char *name, mp__loop **ret_loop)
{
    mp__real_loop *loop = mp__calloc(1, sizeof(*loop));
    int rc;

    if (!loop)
        return MP_ENOMEM;
    loop->base = (mp__loop){env->ops, env};
    loop->waking.fn = wake_loop;
    loop->waking.is_first = true;
    mp__task_queue_init(&loop->posted);
    (void)snprintf(loop->name, sizeof(loop->name), "%s", name);
    rc = uv_mutex_init(&loop->lock);
    if (rc)
        goto fail_free;
    rc = uv_loop_init(&loop->uv);
    if (rc)
        goto fail_mutex;
    rc = uv_async_init(&loop->uv, &loop->wake, run_posted);
    if (rc == 0)
        rc = uv_prepare_init(&loop->uv, &loop->before_sleep);
    if (rc == 0)
        rc = uv_check_init(&loop->uv, &loop->after_sleep);
    if (rc == 0)
        rc = uv_prepare_start(&loop->before_sleep, turn_ends);
    if (rc)
        goto fail_loop;
    loop->wake.data = loop->before_sleep.data = loop->after_sleep.data = loop->uv.data = loop;
    *ret_loop = &loop->base;
    return 0;

fail_loop:
    uv_walk(&loop->uv, close_if_open, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop->uv);
fail_mutex:
    uv_mutex_destroy(&loop->lock);
fail_free:
    (void)mp__free(loop);
    return rc;
}

mp__loop *mp__real_loop_free(mp__loop *base)
{
    mp__real_loop *loop = real(base);

    mp__real_wake_done(&loop->waking);
    uv_walk(&loop->uv, close_if_open, NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop->uv);
    loop->gather = mp__real_gather_free(loop->gather);
    uv_mutex_destroy(&loop->lock);
    return mp__free(loop);
}

int mp__real_loop_run(mp__loop *base)
{
    mp__real_loop *loop = real(base);

    mp__real_hold_wakes(base->env);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    /* what was posted together with the stop, and what is closing, finishes */
    run_posted(&loop->wake);
    for (int i = 0; i < 3; i++)
        (void)uv_run(&loop->uv, UV_RUN_NOWAIT);
    mp__real_release_wakes(base->env);
    return 0;
}

static void wake(mp__real_loop *loop, bool stop, mp__task *task)
{
    bool send;

    uv_mutex_lock(&loop->lock);
    if (task)
        mp__task_queue_add(&loop->posted, task);
    loop->stopping |= stop;
    send = !loop->wake_sent;
    loop->wake_sent = true;
    if (send)
        mp__real_wake_begin(&loop->waking);
    uv_mutex_unlock(&loop->lock);
    if (send)
        mp__real_wake_up(&loop->waking);
}

void mp__real_loop_stop(mp__loop *loop)
{
    wake(real(loop), true, NULL);
}

void mp__real_loop_post(mp__loop *loop, mp__task *task)
{
    wake(real(loop), false, task);
}

uint64_t mp__real_loop_now_ns(mp__loop *loop)
{
    return uv_now(&real(loop)->uv) * 1000000u;
}

void mp__real_loop_on_turn(mp__loop *loop, void (*fn)(void *context), void *context)
{
    real(loop)->on_turn = fn;
    real(loop)->on_turn_context = context;
}

/* ---- signals ---- */

typedef struct real_signal {
    uv_signal_t uv;
    void (*fn)(void *context, int signal);
    void *context;
} real_signal;

static void signal_came(uv_signal_t *uv, int signal)
{
    real_signal *s = uv->data;

    s->fn(s->context, signal);
}

int mp__real_loop_on_signal(mp__loop *loop, int signal, void (*fn)(void *context, int signal),
                            void *context)
{
    real_signal *s = mp__calloc(1, sizeof(*s));
    int rc;

    if (!s)
        return MP_ENOMEM;
    s->fn = fn;
    s->context = context;
    rc = uv_signal_init(&real(loop)->uv, &s->uv);
    if (rc) {
        (void)mp__free(s);
        return rc;
    }
    s->uv.data = s;
    rc = uv_signal_start(&s->uv, signal_came, signal);
    uv_unref((uv_handle_t *)&s->uv);
    if (rc)
        uv_close((uv_handle_t *)&s->uv, signal_closed);
    return rc;
}

/* ---- threads ---- */

static void thread_main(void *context)
{
    mp__real_loop *loop = context;

    (void)pthread_setname_np(pthread_self(), loop->name);
    if (loop->at_start)
        loop->at_start(loop->at_start_context);
    (void)mp__real_loop_run(&loop->base);
}

int mp__real_loop_run_on_thread(mp__loop *base, void (*at_start)(void *context), void *context)
{
    mp__real_loop *loop = real(base);
    int rc;

    loop->at_start = at_start;
    loop->at_start_context = context;
    rc = uv_thread_create(&loop->thread, thread_main, loop);
    loop->threaded = rc == 0;
    return rc;
}

void mp__real_loop_join(mp__loop *base)
{
    mp__real_loop *loop = real(base);

    mp__real_flush_wakes(); /* the one that stops it may be among them */
    if (loop->threaded)
        (void)uv_thread_join(&loop->thread);
    loop->threaded = false;
}

/* ---- timers ---- */

typedef struct real_timer {
    mp__timer base;
    uv_timer_t uv;
    void (*fn)(void *context);
    void *context;
} real_timer;

static void timer_fires(uv_timer_t *uv)
{
    real_timer *timer = uv->data;

    timer->fn(timer->context);
}

static void timer_closed(uv_handle_t *handle)
{
    (void)mp__free(handle->data);
}

int mp__real_timer_new(mp__loop *loop, void (*fn)(void *context), void *context,
                       mp__timer **ret_timer)
{
    real_timer *timer = mp__calloc(1, sizeof(*timer));

    if (!timer)
        return MP_ENOMEM;
    timer->base.ops = loop->ops;
    timer->fn = fn;
    timer->context = context;
    (void)uv_timer_init(&real(loop)->uv, &timer->uv); /* always succeeds */
    timer->uv.data = timer;
    *ret_timer = &timer->base;
    return 0;
}

void mp__real_timer_start(mp__timer *timer, uint64_t delay_ms, uint64_t repeat_ms)
{
    (void)uv_timer_start(&((real_timer *)timer)->uv, timer_fires, delay_ms, repeat_ms);
}

void mp__real_timer_stop(mp__timer *timer)
{
    (void)uv_timer_stop(&((real_timer *)timer)->uv);
}

mp__timer *mp__real_timer_free(mp__timer *timer)
{
    uv_close((uv_handle_t *)&((real_timer *)timer)->uv, timer_closed);
    return NULL;
}

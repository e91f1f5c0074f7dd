/* SPDX-License-Identifier: Apache-2.0 */
/* L2: making and ending; what it is for stands in l2.h. */
#include <string.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

/* ---- the lock ---- */

static void pause_a_little(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield" ::: "memory");
#endif
}

/* It is held for a microsecond or two. Sleeping costs both sides a call of the kernel and often an
 * interrupt of the other core, as much as packing three values or, on virtual machines, sixty. */
void mp__l2_lock_taken(mp__l2 *l2)
{
    enum { LOOKS = 200, PAUSES = 4 };

    for (int i = 0; i < LOOKS; i++) {
        for (int n = 0; n < PAUSES; n++)
            pause_a_little();
        if (pthread_mutex_trylock(&l2->lock) == 0)
            return;
    }
    (void)pthread_mutex_lock(&l2->lock);
}

/* ---- fork ---- */

/* A child must not inherit a lock whose holder does not exist in it. L1's come before ours, so
 * that we register before it. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t all_once = PTHREAD_ONCE_INIT;
static mp__l2 *all_first;

static void before_fork(void)
{
    (void)pthread_mutex_lock(&all_lock);
    for (mp__l2 *l2 = all_first; l2; l2 = l2->next)
        mp__l2_lock(l2);
}

static void after_fork(void)
{
    for (mp__l2 *l2 = all_first; l2; l2 = l2->next)
        mp__l2_unlock(l2);
    (void)pthread_mutex_unlock(&all_lock);
}

/* Whoever else was reading into a window does not exist in the child. */
static void after_fork_in_child(void)
{
    for (mp__l2 *l2 = all_first; l2; l2 = l2->next)
        for (size_t i = 0; i < MP__L2_DICTIONARIES; i++)
            if (l2->dictionaries[i])
                atomic_store_explicit(&l2->dictionaries[i]->window_taken, false,
                                      memory_order_relaxed);
    after_fork();
}

static void register_for_fork(void)
{
    (void)pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void mp__l2_prepare_fork(void)
{
    (void)pthread_once(&all_once, register_for_fork);
}

static void all_add(mp__l2 *l2)
{
    mp__l2_prepare_fork();
    (void)pthread_mutex_lock(&all_lock);
    l2->next = all_first;
    l2->from_here = &all_first;
    if (all_first)
        all_first->from_here = &l2->next;
    all_first = l2;
    (void)pthread_mutex_unlock(&all_lock);
}

static void all_remove(mp__l2 *l2)
{
    (void)pthread_mutex_lock(&all_lock);
    *l2->from_here = l2->next;
    if (l2->next)
        l2->next->from_here = l2->from_here;
    (void)pthread_mutex_unlock(&all_lock);
}

/* ---- making ---- */

int mp__l2_new(const mp__l2_options *options, mp__l2 **ret_l2)
{
    mp__l2_slot *slots;
    mp__l2 *l2;
    int rc = MP_ENOMEM;

    if (!mp__l2_fits(options->entries_max, options->bytes_max) || options->level < 1 ||
        options->level > MP__L2_LEVEL_MAX)
        return MP_EINVAL;
    l2 = mp__aligned_alloc(128, sizeof(*l2));
    if (!l2)
        return MP_ENOMEM;
    memset(l2, 0, sizeof(*l2));
    l2->env = options->env;
    l2->entries_max = options->entries_max;
    l2->bytes_max = options->bytes_max;
    l2->ghost_count = mp__l2_ghosts_for(options->entries_max);
    l2->group_count = 1; /* of all */
    l2->groups[0].wait = MP__L2_SAMPLES_LEAST;
    atomic_init(&l2->level, options->level);
    atomic_init(&l2->dictionary_bytes, options->dictionary_bytes);
    l2->cctx_level = options->level;
    l2->keys = options->keys;
    l2->priorities = options->priorities;
    if (pthread_mutex_init(&l2->lock, NULL) != 0) {
        (void)mp__free(l2);
        return MP_ENOMEM;
    }
    all_add(l2);
    l2->frame = mp__malloc(MP__L2_FRAME);
    l2->cctx = mp__l2_cctx_new((int)options->level);
    l2->keep_path = options->keep_path ? mp__strdup(options->keep_path) : NULL;
    if (l2->frame && l2->cctx && (l2->keep_path || !options->keep_path))
        rc = mp__l2_queue_init(&l2->queue);
    if (rc == 0)
        rc = mp__l2_index_new(options->entries_max, &slots, &l2->ghosts);
    if (rc == 0) {
        mp__l2_index_set(l2, slots, mp__l2_slots_for(options->entries_max));
        l2->cctx_bytes = ZSTD_sizeof_CCtx(l2->cctx);
        mp__l2_ring_limit_update(l2);
        mp__l2_keep_load(l2);
        rc = mp__worker_new(options->env, "mp-l2", mp__l2_work, l2, &l2->worker);
    }
    if (rc)
        (void)mp__l2_free(l2);
    else
        *ret_l2 = l2;
    return rc;
}

mp__l2 *mp__l2_free(mp__l2 *l2)
{
    if (!l2)
        return NULL;
    if (l2->worker) {
        l2->worker = mp__worker_free(l2->worker);
        mp__l2_train_last(l2);
    }
    all_remove(l2);
    mp__l2_queue_done(&l2->queue);
    mp__l2_ring_done(&l2->ring);
    for (size_t i = 0; i < MP__L2_DICTIONARIES; i++)
        l2->dictionaries[i] = mp__l2_dictionary_free(l2->dictionaries[i]);
    mp__l2_pool_done(&l2->pool);
    (void)ZSTD_freeCCtx(l2->cctx);
    mp__l2_pack_room_done(&l2->pack_room);
    (void)mp__free(l2->frame);
    (void)mp__free(l2->keep_path);
    (void)mp__free(l2->slots);
    (void)mp__free(l2->ghosts);
    (void)pthread_mutex_destroy(&l2->lock);
    return mp__free(l2);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* L2: the thread that compresses what L1 evicted, and trains dictionaries in between. */
#include <assert.h>
#include <string.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

bool mp__l2_cctx_use(mp__l2 *l2, mp__l2_dictionary *dictionary)
{
    unsigned level = atomic_load_explicit(&l2->level, memory_order_relaxed);

    if (dictionary == l2->cctx_dictionary && level == l2->cctx_level)
        return true;
    if (ZSTD_isError(ZSTD_CCtx_refCDict(l2->cctx, dictionary ? dictionary->pack : NULL)) ||
        ZSTD_isError(ZSTD_CCtx_setParameter(l2->cctx, ZSTD_c_compressionLevel, (int)level)))
        return false;
    l2->cctx_dictionary = dictionary;
    l2->cctx_level = level;
    return true;
}

size_t mp__l2_cctx_pack(mp__l2 *l2, const unsigned char *body, size_t size, unsigned char *frame,
                        size_t capacity)
{
    const mp__l2_dictionary *d = l2->cctx_dictionary;
    mp__l2_with with = {.packer = d ? d->packer : NULL,
                        .room = &l2->pack_room,
                        .cctx = l2->cctx,
                        .dictionary = d ? d->pack : NULL};

    return mp__l2_pack(&with, body, size, frame, capacity);
}

/* One that is being packed. Its group's dictionary stays until this thread installs another. */
typedef struct job {
    mp__l2_pending *pending;
    mp__l2_dictionary *dictionary; /* or NULL */
    mp__l2_form form;
    const unsigned char *stored;
} job;

enum {
    JOBS = 32,    /* with one hold of the lock, a few microseconds */
    AHEAD = 4096, /* bytes of the queue that are fetched while what is before them is packed */
    LINE = 64,
    SETTLED = 8,
    LARGE = 8192,    /* bytes of a body that is packed without its dictionary, */
    LARGE_RATIO = 3, /* if with it it does not become so many times smaller */
};

/* The first that wait, as they were counted. They stay in the queue and in the index, where others
 * see them and may mark them as dead, until they are in their places. */
typedef struct walk {
    mp__l2_pending *next;
    size_t count, wraps_at;
    const unsigned char *fetched; /* so far; what follows is in the other core's cache */
} walk;

static walk walk_begin(mp__l2 *l2)
{
    walk w;

    mp__l2_lock(l2);
    w.next = mp__l2_queue_first(&l2->queue);
    w.count = l2->queue.count < JOBS ? l2->queue.count : JOBS;
    w.wraps_at = l2->queue.wraps_at;
    mp__l2_unlock(l2);
    w.fetched = (const unsigned char *)w.next;
    return w;
}

/* Lines that the other core has, many at once and not one after the other: those of what comes
 * next, and AHEAD bytes behind it. */
static void fetch_ahead(const mp__l2 *l2, walk *w)
{
    const unsigned char *next = (const unsigned char *)w->next;
    const unsigned char *end = l2->queue.bytes + MP__L2_QUEUE_BYTES;

    if ((size_t)(w->fetched - next) > 2 * (size_t)AHEAD) /* behind it, or it began anew */
        w->fetched = next;
    if (end - next > AHEAD)
        end = next + AHEAD;
    for (; w->fetched < end; w->fetched += LINE)
        __builtin_prefetch(w->fetched, 0, 3);
}

static job walk_on(mp__l2 *l2, walk *w)
{
    mp__l2_pending *p = w->next;

    if (--w->count) {
        w->next = mp__l2_queue_after(&l2->queue, w->wraps_at, p);
        fetch_ahead(l2, w);
    }
    return (job){
        .pending = p, .dictionary = mp__l2_dictionary_of(l2, p->item.group), .form = p->item.form};
}

/* Under the lock: put what was made of @pending in its place. */
static void settle_in(mp__l2 *l2, mp__l2_pending *pending, const mp__l2_form *form,
                      const unsigned char *stored, mp__l2_dictionary *dictionary)
{
    mp__l2_item *item = NULL, *raw = &pending->item;

    if (form->stored_size <= MP__L2_STORED_MAX)
        item = mp__l2_ring_take(l2, mp__l2_item_bytes(form));
    if (!item) { /* too large for its place, or no memory */
        if (form->stored_size <= MP__L2_STORED_MAX)
            l2->dropped++;
        else
            l2->refused++;
        mp__l2_drop(l2, mp__l2_find(l2, raw->hash));
        return;
    }
    mp__l2_count_out(l2, raw);
    *item = *raw; /* with the freshness and the uses of now */
    item->form = *form;
    item->flags &= (uint8_t)~MP__L2_PENDING;
    item->dictionary = 0;
    if (dictionary && !form->raw) {
        atomic_fetch_add_explicit(&dictionary->refs, 1, memory_order_relaxed);
        item->dictionary = (uint8_t)(dictionary->number + 1);
    }
    memcpy(item->bytes, raw->bytes, form->meta_size);
    memcpy(item->bytes + form->meta_size, stored, form->stored_size);
    mp__l2_find(l2, raw->hash)->item = item;
    mp__l2_count_in(l2, item);
}

/* A large one that the dictionary hardly knows: zstd makes tables of its own for it, and finds more
 * of it in itself. */
static bool is_for_zstd_alone(const job *j, size_t packed)
{
    return j->dictionary && j->dictionary->packer && j->form.body_size > LARGE &&
           (packed == 0 || packed * LARGE_RATIO > j->form.body_size);
}

/* Into @frame. Returns the bytes taken there. */
static size_t pack(mp__l2 *l2, job *j, unsigned char *frame, size_t capacity)
{
    const unsigned char *body = j->pending->item.bytes + j->form.meta_size;
    size_t size = 0;

    if (mp__l2_cctx_use(l2, j->dictionary))
        size = mp__l2_cctx_pack(l2, body, j->form.body_size, frame, capacity);
    if (is_for_zstd_alone(j, size)) {
        j->dictionary = NULL;
        size = mp__l2_cctx_use(l2, NULL)
                   ? mp__l2_cctx_pack(l2, body, j->form.body_size, frame, capacity)
                   : 0;
    }
    j->stored = size ? frame : body;
    if (size) {
        j->form.raw = false;
        j->form.stored_size = (uint32_t)size;
    }
    return size;
}

/* As many as have room in l2->frame and in @jobs, one at least. */
static size_t pack_some(mp__l2 *l2, walk *w, job jobs[SETTLED])
{
    size_t used = 0, n = 0, weight = 0;

    do {
        jobs[n] = walk_on(l2, w);
        weight += mp__l2_weight(jobs[n].pending);
        used += pack(l2, &jobs[n], l2->frame + used, MP__L2_FRAME - used);
        n++;
    } while (n < SETTLED && w->count &&
             used + ZSTD_COMPRESSBOUND((size_t)w->next->item.form.body_size) <= MP__L2_FRAME);
    atomic_fetch_sub_explicit(&l2->pending_weight, weight, memory_order_relaxed);
    return n;
}

/* The first of the queue, packed: into their places, and out of it. */
static void settle_some(mp__l2 *l2, const job *jobs, size_t count)
{
    mp__l2_lock(l2);
    mp__l2_dictionaries_leave(l2);
    l2->cctx_bytes = ZSTD_sizeof_CCtx(l2->cctx) + l2->pack_room.size;
    mp__l2_ring_limit_update(l2);
    for (size_t i = 0; i < count; i++)
        mp__l2_index_prefetch(l2, jobs[i].pending->item.hash);
    for (size_t i = 0; i < count; i++) {
        mp__l2_pending *pending = jobs[i].pending;

        if (jobs[i].form.body_size >= MP__L2_BODY_LEAST)
            mp__l2_dictionary_note(l2, pending->item.group, jobs[i].form.body_size,
                                   jobs[i].form.stored_size);
        if (!(pending->item.flags & MP__L2_DEAD))
            settle_in(l2, pending, &jobs[i].form, jobs[i].stored, jobs[i].dictionary);
        mp__l2_queue_drop_first(&l2->queue);
    }
    mp__l2_unlock(l2);
}

/* Some of what waits. Returns how many; 0: nothing does. */
static size_t pack_waiting(mp__l2 *l2)
{
    __attribute__((uninitialized)) job jobs[SETTLED];
    walk w = walk_begin(l2);
    size_t count = w.count;

    while (w.count)
        settle_some(l2, jobs, pack_some(l2, &w, jobs));
    return count;
}

/* Whether what it was packed with is of the past: it goes with the last entry. */
static bool is_of_the_past(const mp__l2 *l2, const mp__l2_item *item)
{
    return item->dictionary && !mp__l2_dictionary_packs(l2->dictionaries[item->dictionary - 1]);
}

/* Put @form and @stored in the place of the item, if that is still what @copy is of. */
static void replace_item(mp__l2 *l2, const mp__l2_copy *copy, const mp__l2_form *form,
                         mp__l2_dictionary *dictionary)
{
    mp__l2_slot *slot = mp__l2_find(l2, copy->hash);
    mp__l2_item *item, *old;

    assert(dictionary);
    if (!slot || slot->item->form.sum != copy->form.sum || slot->item->flags & MP__L2_PENDING ||
        (slot->item->form.stored_size <= form->stored_size && !is_of_the_past(l2, slot->item)))
        return;
    item = mp__l2_ring_take(l2, mp__l2_item_bytes(form));
    slot = mp__l2_find(l2, copy->hash); /* making room may have moved it, or thrown it out */
    if (!item || !slot) {
        if (item)
            mp__l2_ring_untake(l2, item, mp__l2_item_bytes(form));
        return;
    }
    old = slot->item;
    mp__l2_count_out(l2, old);
    *item = *old;
    item->form = *form;
    item->dictionary = (uint8_t)(dictionary->number + 1);
    atomic_fetch_add_explicit(&dictionary->refs, 1, memory_order_relaxed);
    memcpy(item->bytes, old->bytes, form->meta_size);
    memcpy(item->bytes + form->meta_size, l2->frame, form->stored_size);
    slot->item = item;
    mp__l2_count_in(l2, item);
    mp__l2_ring_dead(old);
    if (old->dictionary)
        mp__l2_dictionary_unref(l2, l2->dictionaries[old->dictionary - 1], true);
}

void mp__l2_repack(mp__l2 *l2, mp__l2_copy *copy, mp__l2_dictionary *dictionary)
{
    bool is_so = copy->dictionary == dictionary;
    mp__l2_form form = copy->form;
    mp__record record;
    size_t size;

    if (mp__l2_copy_read(l2, copy, NULL, &record) != 0 || is_so || !mp__l2_cctx_use(l2, dictionary))
        return;
    size = mp__l2_cctx_pack(l2, form.raw ? copy->stored : copy->body, form.body_size, l2->frame,
                            MP__L2_FRAME);
    if (!size)
        return;
    form.raw = false;
    form.stored_size = (uint32_t)size;
    mp__l2_lock(l2);
    replace_item(l2, copy, &form, dictionary);
    mp__l2_unlock(l2);
}

static size_t how_many_wait(mp__l2 *l2)
{
    size_t count;

    mp__l2_lock(l2);
    count = l2->queue.count;
    mp__l2_unlock(l2);
    return count;
}

/* What waits now, and not what comes meanwhile: else this thread and the one that evicts would take
 * the lock and lines of memory from each other for each value. */
static void pack_what_waits(mp__l2 *l2)
{
    size_t left = how_many_wait(l2), some;

    do {
        some = pack_waiting(l2);
        left -= some < left ? some : left;
    } while (left && some);
}

/* What waits; then what is due to be trained, one after the other. */
static void work_through(mp__l2 *l2)
{
    do
        pack_what_waits(l2);
    while (mp__l2_train(l2));
    if (!atomic_load(&l2->dictionary_bytes) && l2->dictionary_bytes_held)
        mp__l2_dictionaries_forget(l2);
}

/* What came meanwhile, too, if that is enough to be worth it. */
static void work_by_batches(mp__l2 *l2)
{
    do {
        atomic_store(&l2->flushing, false);
        work_through(l2);
        atomic_store(&l2->posted, false);
    } while ((mp__l2_is_worth_it(l2) || atomic_load(&l2->flushing)) &&
             !atomic_exchange(&l2->posted, true));
}

void mp__l2_work(void *context, mp__task *first)
{
    mp__l2 *l2 = context;

    for (mp__task *task = first, *next; task; task = next) {
        next = task->next;       /* run() may give it away */
        if (task == &l2->task) { /* here, and nowhere else, it is no longer queued */
            work_by_batches(l2);
        } else {
            task->run(task);
        }
    }
}

/* ---- waiting for it ---- */

typedef struct settling {
    mp__task task;
    mp__l2 *l2;
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool is_done;
} settling;

static void settled(mp__task *task)
{
    settling *s = (settling *)task;

    work_through(s->l2);
    (void)pthread_mutex_lock(&s->lock);
    s->is_done = true;
    (void)pthread_cond_signal(&s->done);
    (void)pthread_mutex_unlock(&s->lock);
}

void mp__l2_settle(mp__l2 *l2)
{
    settling s = {.task = {.run = settled},
                  .l2 = l2,
                  .lock = PTHREAD_MUTEX_INITIALIZER,
                  .done = PTHREAD_COND_INITIALIZER};

    mp__worker_post(l2->worker, &s.task);
    (void)pthread_mutex_lock(&s.lock);
    while (!s.is_done)
        (void)pthread_cond_wait(&s.done, &s.lock);
    (void)pthread_mutex_unlock(&s.lock);
    (void)pthread_cond_destroy(&s.done);
    (void)pthread_mutex_destroy(&s.lock);
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3.h"

#include <errno.h>

#include "cache/l3_internal.h"

enum { IDLE_MS_MAX = 1000 };

/* ---- opening ---- */

static void l3_done(mp__l3 *l3)
{
    for (mp__l3_segment *next, *s = l3->segments; s; s = next) {
        next = s->next;
        mp__l3_segment_unref(s);
    }
    for (mp__l3_pending *next, *p = l3->backlog; p; p = next) {
        next = p->next;
        (void)mp__free(p);
    }
    mp__file_close(l3->lock_file);
    mp__l3_index_done(&l3->index);
    (void)pthread_mutex_destroy(&l3->queue_lock);
    (void)pthread_mutex_destroy(&l3->writing);
    (void)pthread_mutex_destroy(&l3->trouble_lock);
    (void)mp__free(l3->run);
    (void)mp__free(l3->dir);
    (void)mp__free(l3);
}

static void nothing(mp__task *task)
{
    (void)task;
}

static mp__l3 *l3_make(const mp__l3_options *options)
{
    mp__l3 *l3 = mp__calloc(1, sizeof(*l3));

    if (!l3)
        return NULL;
    l3->dir = mp__strdup(options->dir);
    if (!l3->dir || mp__l3_index_init(&l3->index) != 0) {
        (void)mp__free(l3->dir);
        return mp__free(l3);
    }
    l3->env = options->env;
    l3->bytes_max = options->bytes_max;
    l3->segment_bytes = options->segment_bytes;
    l3->sync_ns = options->sync_ms * 1000000u;
    l3->pending_bytes_max = options->pending_bytes_max;
    l3->queue_last = &l3->queue_first;
    l3->kick.run = nothing;
    l3->next_number = 1;
    (void)pthread_mutex_init(&l3->queue_lock, NULL);
    (void)pthread_mutex_init(&l3->writing, NULL);
    (void)pthread_mutex_init(&l3->trouble_lock, NULL);
    return l3;
}

static int start_workers(mp__l3 *l3)
{
    uint64_t idle_ms = l3->sync_ns / 1000000u;
    int rc;

    idle_ms = idle_ms < IDLE_MS_MAX ? idle_ms : IDLE_MS_MAX;
    rc = mp__worker_new_idle(l3->env, "mp-l3", idle_ms ? idle_ms : 1, mp__l3_write_batch, l3,
                             &l3->writer);
    if (rc == 0)
        rc = mp__worker_new(l3->env, "mp-l3-read", mp__worker_run_each, NULL, &l3->reader);
    if (rc)
        l3->writer = mp__worker_free(l3->writer);
    return rc;
}

int mp__l3_open(const mp__l3_options *options, mp__l3 **ret_l3, mp__diag *diag)
{
    mp__l3 *l3;
    int rc;

    if (options->segment_bytes < 64 * 1024 || options->segment_bytes > UINT32_MAX / 2 ||
        options->bytes_max < 2 * options->segment_bytes)
        return mp__diag_set(diag, MP_EINVAL,
                            "L3 needs segments of 64 KiB to 2 GiB and room for two of them");
    l3 = l3_make(options);
    if (!l3)
        return MP_ENOMEM;
    rc = mp__l3_recover(l3, diag);
    if (rc == MP_ELOCKED || rc == MP_EVERSION || rc == MP_ENOMEM) {
        l3_done(l3);
        return rc;
    }
    if (rc) /* the disk: go on without what cannot be read, and try to write all the same */
        mp__l3_trouble_set(l3, rc, "cannot open the folder");
    rc = start_workers(l3);
    if (rc) {
        l3_done(l3);
        return rc;
    }
    *ret_l3 = l3;
    return 0;
}

mp__l3 *mp__l3_free(mp__l3 *l3)
{
    if (!l3)
        return NULL;
    l3->reader = mp__worker_free(l3->reader);
    l3->writer = mp__worker_free(l3->writer);
    (void)mp__l3_write_all(l3, true);
    l3_done(l3);
    return NULL;
}

mp__hash_key mp__l3_hash_key(const mp__l3 *l3)
{
    return l3->hash_key;
}

/* ---- putting ---- */

/* The record cannot be kept: then nothing older may be found either. */
static int give_up(mp__l3 *l3, uint64_t hash, int rc)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (slot)
        mp__l3_shard_remove(shard, slot);
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_count(&l3->dropped, 1);
    return rc;
}

/* Whether the address is kept, and whether what is kept makes @record superfluous. */
static bool superfluous(mp__l3 *l3, uint64_t hash, const mp__record *record, bool force)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    bool answer;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (!slot)
        answer = record->kind == MP__RECORD_ABSENT;
    else if (force)
        answer = false;
    else
        answer = slot->revision > record->revision ||
                 (slot->revision == record->revision && slot->kind == record->kind) ||
                 (slot->kind == MP__RECORD_ABSENT && record->kind == MP__RECORD_ABSENT);
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

static void revision_note(mp__l3 *l3, uint64_t revision)
{
    uint64_t known = atomic_load_explicit(&l3->revision_max, memory_order_relaxed);

    while (known < revision &&
           !atomic_compare_exchange_weak_explicit(&l3->revision_max, &known, revision,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

void mp__l3_verified(mp__l3 *l3, uint64_t hash, uint64_t revision, uint32_t generation,
                     uint32_t verify_by_s)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (slot && slot->revision == revision) {
        slot->generation = generation;
        slot->verify_by_s = verify_by_s;
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

int mp__l3_put(mp__l3 *l3, uint64_t hash, const mp__record *record, bool force, uint32_t generation,
               uint32_t verify_by_s)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_pending *pending;
    mp__l3_slot *slot;
    size_t size = mp__l3_record_size(record);
    int rc;

    if (superfluous(l3, hash, record, force)) {
        mp__l3_verified(l3, hash, record->revision, generation, verify_by_s);
        return 0;
    }
    if (size == 0 || size > l3->segment_bytes / 2 ||
        atomic_load_explicit(&l3->pending_bytes, memory_order_relaxed) + size >
            l3->pending_bytes_max)
        return give_up(l3, hash, MP_ELIMIT);
    pending = mp__l3_pending_new(hash, record);
    if (!pending)
        return give_up(l3, hash, MP_ENOMEM);
    (void)pthread_mutex_lock(&shard->lock);
    rc = mp__l3_shard_slot(shard, hash, &slot);
    if (rc == 0 && (force || slot->kind == 0 || slot->revision <= record->revision)) {
        mp__l3_slot_set_pending(slot, pending);
        slot->used = 0;
        slot->generation = generation;
        slot->verify_by_s = verify_by_s;
    } else if (rc == 0) {
        rc = MP_EEXISTS; /* somebody put a newer one in between */
    }
    (void)pthread_mutex_unlock(&shard->lock);
    if (rc) {
        (void)mp__free(pending);
        return rc == MP_EEXISTS ? 0 : give_up(l3, hash, rc);
    }
    revision_note(l3, record->revision);
    mp__l3_queue_add(l3, pending);
    return 0;
}

/* ---- getting ---- */

/* What a reader needs of a slot, taken under the shard's lock. */
typedef struct found {
    mp__l3_segment *segment; /* referenced; NULL: the bytes are copied already */
    unsigned char *bytes;
    uint32_t offset, size;
    uint32_t generation, verify_by_s;
} found;

static int look_up(mp__l3 *l3, uint64_t hash, found *ret_found)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    int rc = 0;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (!slot) {
        rc = MP_EUNKNOWN;
    } else {
        slot->used = 1;
        *ret_found = (found){slot->segment, mp__malloc(slot->size), slot->offset,
                             slot->size,    slot->generation,       slot->verify_by_s};
        if (!ret_found->bytes)
            rc = MP_ENOMEM;
        else if (slot->segment)
            mp__l3_segment_ref(slot->segment);
        else
            memcpy(ret_found->bytes, slot->pending->bytes, slot->size);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return rc;
}

/* It was there and is damaged: leave it out from now on, if it is still what stands there. */
static void leave_out(mp__l3 *l3, uint64_t hash, const found *f)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (slot && f->segment && slot->segment == f->segment && slot->offset == f->offset)
        mp__l3_shard_remove(shard, slot);
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_count(&l3->corrupt, 1);
}

static int read_bytes(const found *f, bool nowait)
{
    int64_t n;

    if (!f->segment)
        return 0;
    n = nowait ? mp__file_pread_nowait(f->segment->file, f->bytes, f->size, f->offset)
               : mp__file_pread(f->segment->file, f->bytes, f->size, f->offset);
    if (n < 0)
        return n == -EAGAIN ? MP_EAGAIN : (int)n;
    return n == f->size ? 0 : MP_ECORRUPT;
}

int mp__l3_get(mp__l3 *l3, mp_str address, uint64_t hash, bool nowait, mp__record *ret_record,
               void **ret_memory, uint32_t *ret_generation, uint32_t *ret_verify_by_s)
{
    found f;
    size_t size;
    int rc = look_up(l3, hash, &f);

    if (rc) {
        if (rc == MP_EUNKNOWN)
            mp__l3_count(&l3->misses, 1);
        return rc;
    }
    rc = read_bytes(&f, nowait);
    if (rc == 0)
        rc = mp__l3_record_read(f.bytes, f.size, ret_record, &size);
    if (rc == MP_EAGAIN && !nowait)
        rc = MP_ECORRUPT; /* the record says it is longer than the index knows */
    if (rc == 0 && !mp_str_equal(ret_record->address, address))
        rc = MP_EUNKNOWN; /* two addresses with one hash */
    if (rc == MP_ECORRUPT)
        leave_out(l3, hash, &f);
    if (f.segment)
        mp__l3_segment_unref(f.segment);
    if (rc) {
        (void)mp__free(f.bytes);
        if (rc != MP_EAGAIN)
            mp__l3_count(&l3->misses, 1);
        return rc == MP_EAGAIN || rc == MP_EUNKNOWN ? rc : MP_ECORRUPT;
    }
    mp__l3_count(&l3->hits, 1);
    *ret_memory = f.bytes;
    *ret_generation = f.generation;
    *ret_verify_by_s = f.verify_by_s;
    return 0;
}

bool mp__l3_has(mp__l3 *l3, mp_str address, uint64_t hash)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    bool has;

    (void)address;
    (void)pthread_mutex_lock(&shard->lock);
    has = mp__l3_shard_find(shard, hash) != NULL;
    (void)pthread_mutex_unlock(&shard->lock);
    return has;
}

void mp__l3_load_start(mp__l3 *l3, mp__task *task)
{
    mp__worker_post(l3->reader, task);
}

/* ---- walking ---- */

/* A copy of the @position-th taken slot's bytes of a shard; MP_EAGAIN at the end. The table may
 * change between two calls: then one may be seen twice or not, as with any walk of a living table.
 */
static int shard_hashes(mp__l3_shard *shard, uint64_t **ret_hashes, size_t *ret_count)
{
    uint64_t *hashes;
    size_t n = 0;

    (void)pthread_mutex_lock(&shard->lock);
    hashes = mp__realloc_array(NULL, shard->count ? shard->count : 1, sizeof(*hashes));
    if (hashes)
        for (size_t i = 0; i <= shard->mask; i++)
            if (shard->slots[i].kind == MP__RECORD_VALUE)
                hashes[n++] = shard->slots[i].hash;
    (void)pthread_mutex_unlock(&shard->lock);
    *ret_hashes = hashes;
    *ret_count = n;
    return hashes ? 0 : MP_ENOMEM;
}

static int visit(mp__l3 *l3, uint64_t hash, mp_str prefix,
                 int (*each)(void *context, const mp__record *record), void *context)
{
    found f;
    mp__record record;
    size_t size;
    int rc = look_up(l3, hash, &f);

    if (rc)
        return rc == MP_EUNKNOWN ? 0 : rc;
    rc = read_bytes(&f, false);
    if (rc == 0)
        rc = mp__l3_record_read(f.bytes, f.size, &record, &size);
    if (rc == MP_ECORRUPT || rc == MP_EAGAIN) {
        leave_out(l3, hash, &f);
        rc = 0;
    } else if (rc == 0 && record.kind == MP__RECORD_VALUE && record.address.size >= prefix.size &&
               memcmp(record.address.data, prefix.data, prefix.size) == 0) {
        rc = each(context, &record);
    }
    if (f.segment)
        mp__l3_segment_unref(f.segment);
    (void)mp__free(f.bytes);
    return rc;
}

int mp__l3_each(mp__l3 *l3, mp_str prefix, int (*each)(void *context, const mp__record *record),
                void *context)
{
    int rc = 0;

    for (int s = 0; s < MP__L3_SHARDS && rc == 0; s++) {
        uint64_t *hashes;
        size_t count;

        rc = shard_hashes(&l3->index.shards[s], &hashes, &count);
        for (size_t i = 0; i < count && rc == 0; i++)
            rc = visit(l3, hashes[i], prefix, each, context);
        (void)mp__free(hashes);
    }
    return rc;
}

/* ---- the rest ---- */

uint64_t mp__l3_revision_max(mp__l3 *l3)
{
    return atomic_load_explicit(&l3->revision_max, memory_order_relaxed);
}

int mp__l3_flush(mp__l3 *l3)
{
    return mp__l3_write_all(l3, true);
}

int mp__l3_trouble(mp__l3 *l3, mp__diag *diag)
{
    int trouble;

    (void)pthread_mutex_lock(&l3->trouble_lock);
    trouble = l3->trouble;
    if (trouble)
        (void)mp__diag_set(diag, trouble, "%s", l3->trouble_text);
    (void)pthread_mutex_unlock(&l3->trouble_lock);
    return trouble;
}

void mp__l3_stats_read(mp__l3 *l3, mp__l3_stats *ret_stats)
{
    *ret_stats = (mp__l3_stats){
        .hits = atomic_load(&l3->hits),
        .misses = atomic_load(&l3->misses),
        .appends = atomic_load(&l3->appends),
        .forgotten = atomic_load(&l3->forgotten),
        .corrupt = atomic_load(&l3->corrupt),
        .errors = atomic_load(&l3->errors),
        .dropped = atomic_load(&l3->dropped),
        .entries = mp__l3_index_count(&l3->index),
        .bytes = atomic_load(&l3->bytes),
        .bytes_max = l3->bytes_max,
        .segments = atomic_load(&l3->segment_count),
        .pending_bytes = atomic_load(&l3->pending_bytes),
        .recovered = atomic_load(&l3->recovered),
        .recovery_ns = atomic_load(&l3->recovery_ns),
    };
}

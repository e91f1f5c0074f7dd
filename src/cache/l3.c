/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/l3.h"

#include <errno.h>
#include <stdlib.h>

#include "cache/l3_internal.h"

enum { IDLE_MS_MAX = 1000, SEGMENTS_LEAST = 4, SEGMENT_LEAST = 64 * 1024 };

/* ---- opening ---- */

static void l3_done(mp__l3 *l3)
{
    for (mp__l3_segment *next, *s = l3->segments; s; s = next) {
        next = s->next;
        mp__l3_segment_unref(s);
    }
    for (mp__l3_pending *next, *p = l3->queue_first; p; p = next) {
        next = p->next;
        mp__l3_pending_free(l3, p);
    }
    for (mp__l3_pending *next, *p = l3->written; p; p = next) {
        next = p->next;
        mp__l3_pending_free(l3, p);
    }
    mp__file_close(l3->lock_file);
    mp__l3_load_forget(l3);
    mp__l3_index_done(&l3->index);
    (void)pthread_mutex_destroy(&l3->load.lock);
    (void)pthread_cond_destroy(&l3->load.idle);
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

/* Numbers for many more segments than fit, since some are cut short, and some were smaller once. */
static uint32_t ids_for(const mp__l3_options *options)
{
    uint64_t segments = options->bytes_max / options->segment_bytes;

    return segments < MP__L3_IDS_MAX / 16 ? (uint32_t)segments * 8 + 1024 : MP__L3_IDS_MAX;
}

static mp__l3 *l3_make(const mp__l3_options *options)
{
    mp__l3 *l3 = mp__aligned_alloc(128, sizeof(*l3));

    if (!l3)
        return NULL;
    memset(l3, 0, sizeof(*l3));
    l3->dir = mp__strdup(options->dir);
    if (!l3->dir || mp__l3_index_init(&l3->index, ids_for(options)) != 0) {
        (void)mp__free(l3->dir);
        return mp__free(l3);
    }
    l3->env = options->env;
    l3->bytes_max = options->bytes_max;
    l3->segment_bytes = options->segment_bytes;
    l3->sync_ns = options->sync_ms * 1000000u;
    l3->pending_bytes_max = options->pending_bytes_max;
    l3->scrub_rate = options->scrub_rate;
    l3->priorities = options->priorities;
    l3->keys = options->keys;
    l3->key = mp__l3_keys_first(options->keys);
    l3->load.is_lazy = options->is_lazy;
    l3->hashes_fast = !options->hashes_plainly && mp__hasher_may_be_fast();
    l3->on_damaged = options->on_damaged;
    l3->context = options->context;
    l3->kick.run = nothing;
    l3->written_last = &l3->written;
    (void)pthread_mutex_init(&l3->load.lock, NULL);
    (void)pthread_cond_init(&l3->load.idle, NULL);
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
    if (rc == 0 && l3->scrub_rate)
        rc = mp__l3_scrub_start(l3);
    if (rc) {
        l3->reader = mp__worker_free(l3->reader);
        l3->writer = mp__worker_free(l3->writer);
    }
    return rc;
}

static int check_options(const mp__l3_options *options, mp__diag *diag)
{
    if (options->segment_bytes < SEGMENT_LEAST || options->segment_bytes > MP__L3_SEGMENT_MAX ||
        options->bytes_max < SEGMENTS_LEAST * options->segment_bytes)
        return mp__diag_set(diag, MP_EINVAL,
                            "L3 needs segments of 64 KiB to 128 MiB and room for four of them; "
                            "give cache.l3_size_mb more");
    if (strlen(options->dir) > MP__L3_PATH_MAX - 64)
        return mp__diag_set(diag, MP_EINVAL, "the path of the L3 folder is too long");
    return 0;
}

/* The folder cannot be opened just now: the writer tries again. Its secret may never be known to
 * this process; what it writes until then is kept under a secret of its own. */
static void open_later(mp__l3 *l3, int error)
{
    mp__hash_key secret;

    mp__env_random(l3->env, &secret, sizeof(secret));
    mp__l3_set_secret(l3, secret);
    mp__l3_open_failed(l3, error);
}

int mp__l3_open(const mp__l3_options *options, mp__l3 **ret_l3, mp__diag *diag)
{
    mp__l3 *l3;
    int rc = check_options(options, diag);

    if (rc)
        return rc;
    l3 = l3_make(options);
    if (!l3)
        return MP_ENOMEM;
    rc = mp__l3_recover(l3, diag);
    if (rc == MP_ELOCKED || rc == MP_EVERSION || rc == MP_ENOMEM || rc == MP_EINVAL) {
        l3_done(l3);
        return rc;
    }
    if (rc)
        open_later(l3, rc);
    rc = start_workers(l3);
    if (rc) {
        l3_done(l3);
        return rc;
    }
    if (!mp__l3_is_loaded(l3))
        mp__l3_queue_kick(l3);
    *ret_l3 = l3;
    return 0;
}

int mp__l3_set_bytes(mp__l3 *l3, uint64_t bytes_max)
{
    if (bytes_max < SEGMENTS_LEAST * l3->segment_bytes)
        return MP_EINVAL;
    if (atomic_exchange(&l3->bytes_max, bytes_max) > bytes_max)
        mp__l3_queue_kick(l3);
    return 0;
}

/* Only what is queued needs the rest of the index, to be written. */
mp__l3 *mp__l3_free(mp__l3 *l3)
{
    if (!l3)
        return NULL;
    mp__l3_scrub_stop(l3);
    l3->reader = mp__worker_free(l3->reader);
    atomic_store(&l3->load.stop, true);
    l3->writer = mp__worker_free(l3->writer);
    atomic_store(&l3->load.stop, false);
    if (mp__l3_is_loaded(l3) || mp__l3_queue_next_size(l3))
        (void)mp__l3_write_all(l3, true);
    l3_done(l3);
    return NULL;
}

mp__hash_key mp__l3_hash_key(const mp__l3 *l3)
{
    return l3->hash_key;
}

const mp__hasher *mp__l3_hasher(const mp__l3 *l3)
{
    return &l3->hasher;
}

/* ---- putting ---- */

/* Whether what is kept, @slot or nothing, makes @record superfluous. Of an unloaded shard it is not
 * known yet whether there is something that a tombstone must hide. */
static bool superfluous(const mp__l3_shard *shard, const mp__l3_slot *slot,
                        const mp__record *record, bool force)
{
    if (!slot)
        return record->kind == MP__RECORD_ABSENT && !record->is_worth_keeping &&
               !shard->is_unloaded;
    if (force)
        return false;
    return slot->revision > record->revision ||
           (slot->revision == record->revision && mp__l3_slot_kind(slot) == record->kind) ||
           (record->kind == MP__RECORD_ABSENT && mp__l3_slot_kind(slot) == MP__RECORD_ABSENT);
}

/* The same is kept, and was found to be so once more. A tombstone is as of a later revision then:
 * in memory only, where late fills of older values come. */
static void note_freshness(mp__l3_slot *slot, const mp__record *record, uint32_t generation,
                           uint32_t verify_by_s)
{
    if (!slot || slot->revision > record->revision || mp__l3_slot_kind(slot) != record->kind)
        return;
    slot->revision = record->revision;
    slot->generation = generation;
    slot->verify_by_s = verify_by_s;
}

/* No slot tells that @record was known, which is not kept. What is forced makes an end of what was
 * known before: the origin was set back. */
static void note_known(mp__l3_shard *shard, uint64_t hash, const mp__record *record, bool force)
{
    if (force)
        *mp__l3_shard_floor(shard, hash) = 0;
    mp__l3_shard_note(shard, hash, record->revision);
}

/* The record cannot be kept: then nothing older may be found either, not even after a restart. */
static int give_up(mp__l3 *l3, uint64_t hash, const mp__record *record, bool force, int rc)
{
    mp__record gone = {.address = record->address, .revision = record->revision};
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (!slot && shard->is_unloaded && mp__l3_shard_slot(shard, hash, &slot) != 0)
        slot = NULL;
    if (slot && !superfluous(shard, mp__l3_slot_kind(slot) ? slot : NULL, record, force))
        mp__l3_slot_gone(
            l3, shard, slot, record->revision,
            mp__l3_pending_new(l3, hash, &gone, MP__L3_GONE, force ? MP__L3_FORCED : 0));
    if (!slot || !mp__l3_slot_kind(slot))
        note_known(shard, hash, record, force);
    (void)pthread_mutex_unlock(&shard->lock);
    mp__l3_count(&l3->dropped, 1);
    mp__l3_queue_kick(l3);
    return rc;
}

void mp__l3_revision_note(mp__l3 *l3, uint64_t revision)
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

/* Whether a newer state than @record was known. What is in @slot decides, if it is taken. */
static bool comes_late(mp__l3_shard *shard, const mp__l3_slot *slot, uint64_t hash,
                       const mp__record *record)
{
    return record->revision <
           (slot && mp__l3_slot_kind(slot) ? slot->revision : *mp__l3_shard_floor(shard, hash));
}

/* Whether @record need not be kept, or must not: *ret_rc. What then no slot tells of is noted. */
static bool put_is_superfluous(mp__l3 *l3, uint64_t hash, const mp__record *record, unsigned flags,
                               uint32_t generation, uint32_t verify_by_s, int *ret_rc)
{
    bool force = (flags & MP__L3_PUT_FORCE) != 0;
    bool is_unwanted = (flags & MP__L3_PUT_FILL) && !force && !mp__l3_admits(l3, hash);
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    bool answer;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    answer = superfluous(shard, slot, record, force) || (is_unwanted && !slot);
    if ((flags & MP__L3_PUT_NEWEST) && comes_late(shard, slot, hash, record)) {
        *ret_rc = -ESTALE;
        answer = true;
    } else if (answer) {
        *ret_rc = 0;
        note_freshness(slot, record, generation, verify_by_s);
        if (!slot)
            note_known(shard, hash, record, force);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

bool mp__l3_knows_newer(mp__l3 *l3, uint64_t hash, uint64_t revision)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    bool answer;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    answer = slot && slot->revision > revision;
    (void)pthread_mutex_unlock(&shard->lock);
    return answer;
}

/* Bytes in the queue once @pending, which they count already, stands for @slot. */
static uint64_t bytes_with(mp__l3 *l3, const mp__l3_slot *slot)
{
    const mp__l3_pending *replaced = mp__l3_slot_pending(slot);

    return atomic_load_explicit(&l3->pending_bytes, memory_order_relaxed) -
           (replaced ? replaced->size : 0);
}

/* MP_EEXISTS, -ESTALE: somebody put a newer one in between. */
static int insert(mp__l3 *l3, mp__l3_pending *pending, const mp__record *record, unsigned flags,
                  uint32_t generation, uint32_t verify_by_s)
{
    bool force = (flags & MP__L3_PUT_FORCE) != 0;
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, pending->hash);
    mp__l3_slot *slot;
    int rc;

    (void)pthread_mutex_lock(&shard->lock);
    rc = mp__l3_shard_slot(shard, pending->hash, &slot);
    if (rc == 0 && (flags & MP__L3_PUT_NEWEST) && comes_late(shard, slot, pending->hash, record))
        rc = -ESTALE;
    else if (rc == 0 && superfluous(shard, mp__l3_slot_kind(slot) ? slot : NULL, record, force))
        rc = MP_EEXISTS;
    else if (rc == 0 && bytes_with(l3, slot) > l3->pending_bytes_max)
        rc = MP_ELIMIT;
    if (rc == 0 && force) /* the origin was set back: what was known before counts no more */
        *mp__l3_shard_floor(shard, pending->hash) = 0;
    if (rc == 0) {
        mp__l3_count(&l3->healed, mp__l3_slot_kind(slot) == MP__L3_GONE);
        mp__l3_slot_take_pending(l3, shard, slot, pending);
        slot->generation = generation;
        slot->verify_by_s = verify_by_s;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return rc;
}

int mp__l3_put(mp__l3 *l3, uint64_t hash, const mp__record *record, unsigned flags,
               uint32_t generation, uint32_t verify_by_s)
{
    bool force = (flags & MP__L3_PUT_FORCE) != 0;
    mp__l3_pending *pending;
    size_t size = mp__l3_record_size(record);
    int rc;

    if (put_is_superfluous(l3, hash, record, flags, generation, verify_by_s, &rc))
        return rc;
    if (size == 0 || size + MP__L3_SEAL > MP__L3_RECORD_MAX ||
        size + MP__L3_SEAL > l3->segment_bytes / 2)
        return give_up(l3, hash, record, force, MP_ELIMIT);
    pending = mp__l3_pending_new(l3, hash, record, record->kind, force ? MP__L3_FORCED : 0);
    if (!pending)
        return give_up(l3, hash, record, force, MP_ENOMEM);
    rc = insert(l3, pending, record, flags, generation, verify_by_s);
    if (rc) {
        mp__l3_pending_free(l3, pending);
        if (rc == -ESTALE)
            return rc;
        return rc == MP_EEXISTS ? 0 : give_up(l3, hash, record, force, rc);
    }
    mp__l3_revision_note(l3, record->revision);
    mp__l3_queue_kick(l3);
    return 0;
}

/* ---- getting ---- */

/* What a reader needs of a slot, taken under the shard's lock. */
typedef struct found {
    mp__l3_segment *segment; /* referenced; NULL: the bytes are copied already */
    unsigned char *bytes;
    mp__l3_place place;
    uint64_t revision;
    uint32_t generation, verify_by_s;
} found;

static int take(mp__l3 *l3, mp__l3_slot *slot, found *ret_found)
{
    const mp__l3_pending *pending = mp__l3_slot_pending(slot);
    mp__l3_place place = mp__l3_slot_place(slot);
    uint32_t size = pending ? pending->size : mp__l3_place_size(place);

    *ret_found = (found){.bytes = mp__malloc(size),
                         .place = place,
                         .revision = slot->revision,
                         .generation = slot->generation,
                         .verify_by_s = slot->verify_by_s};
    if (!ret_found->bytes)
        return MP_ENOMEM;
    if (pending) {
        memcpy(ret_found->bytes, pending->bytes, size);
        return 0;
    }
    ret_found->segment = l3->index.segments[mp__l3_place_id(place)];
    mp__l3_segment_ref(ret_found->segment);
    return 0;
}

/* MP_EAGAIN: its shard is not brought in yet. */
static int look_up(mp__l3 *l3, uint64_t hash, bool is_use, found *ret_found)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    int rc = MP_EUNKNOWN;

    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    if (shard->is_unloaded) {
        rc = MP_EAGAIN;
    } else if (slot && mp__l3_slot_kind(slot) != MP__L3_GONE) {
        if (is_use)
            slot->tag |= MP__L3_SLOT_USED;
        rc = take(l3, slot, ret_found);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return rc;
}

/* The same, and its shard is brought in. MP_ECORRUPT: that cannot be now, so that nothing is known.
 */
static int look_up_waiting(mp__l3 *l3, uint64_t hash, bool is_use, found *ret_found)
{
    int rc = look_up(l3, hash, is_use, ret_found);

    if (rc != MP_EAGAIN)
        return rc;
    rc = mp__l3_load_shard(l3, mp__l3_shard_number(hash));
    if (rc) {
        mp__l3_count(&l3->errors, 1);
        return rc == MP_ENOMEM ? rc : MP_ECORRUPT;
    }
    return look_up(l3, hash, is_use, ret_found);
}

static void found_done(found *f)
{
    if (f->segment)
        mp__l3_segment_unref(f->segment);
    (void)mp__free(f->bytes);
}

/* The record's bytes, checked. MP_ECORRUPT: no more than its address can be believed, if
 * *ret_damaged. MP_EAGAIN: it needs the disk. -errno. */
static int read_record(const found *f, bool nowait, mp__l3_found *ret_record)
{
    uint32_t size = mp__l3_place_size(f->place), offset = mp__l3_place_offset(f->place);
    int64_t n;

    if (!f->segment) {
        mp__l3_record_open(f->bytes, ret_record);
        return 0;
    }
    n = nowait ? mp__file_pread_nowait(f->segment->file, f->bytes, size, offset)
               : mp__file_pread(f->segment->file, f->bytes, size, offset);
    if (n < 0)
        return n == -EAGAIN ? MP_EAGAIN : (int)n;
    if (n != size ||
        mp__l3_record_read(f->bytes, size, &f->segment->seed, offset, ret_record) != 0 ||
        mp__l3_record_unseal(f->bytes, &f->segment->seed, ret_record) != 0 ||
        ret_record->kind > MP__RECORD_ABSENT)
        return MP_ECORRUPT;
    if (ret_record->damaged || ret_record->size != size)
        return MP_ECORRUPT;
    /* of a tombstone the index may know that it held longer */
    return ret_record->record.revision == f->revision || (ret_record->kind == MP__RECORD_ABSENT &&
                                                          ret_record->record.revision < f->revision)
               ? 0
               : MP_ECORRUPT;
}

static int get_found(mp__l3 *l3, mp_str address, uint64_t hash, found *f, bool nowait,
                     mp__record *ret_record)
{
    mp__l3_found read;
    int rc = read_record(f, nowait, &read);

    if (rc == MP_ECORRUPT)
        (void)mp__l3_leave_out(l3, address, hash, f->place);
    else if (rc && rc != MP_EAGAIN)
        mp__l3_count(&l3->errors, 1);
    if (rc)
        return rc == MP_EAGAIN ? rc : MP_ECORRUPT;
    if (!mp_str_equal(read.record.address, address))
        return MP_EUNKNOWN; /* two addresses with one hash */
    read.record.revision = f->revision;
    *ret_record = read.record;
    return 0;
}

int mp__l3_get(mp__l3 *l3, mp_str address, uint64_t hash, bool nowait, mp__record *ret_record,
               void **ret_memory, uint32_t *ret_generation, uint32_t *ret_verify_by_s)
{
    found f;
    int rc = nowait ? look_up(l3, hash, true, &f) : look_up_waiting(l3, hash, true, &f);

    if (rc == 0) {
        rc = get_found(l3, address, hash, &f, nowait, ret_record);
        if (rc == 0) {
            *ret_memory = f.bytes;
            *ret_generation = f.generation;
            *ret_verify_by_s = f.verify_by_s;
            f.bytes = NULL;
        }
        found_done(&f);
    }
    if (rc != MP_EAGAIN)
        mp__l3_count(rc ? &l3->misses : &l3->hits, 1);
    return rc;
}

bool mp__l3_has(mp__l3 *l3, mp_str address, uint64_t hash)
{
    mp__l3_shard *shard = mp__l3_index_shard(&l3->index, hash);
    mp__l3_slot *slot;
    bool has;

    (void)address;
    (void)pthread_mutex_lock(&shard->lock);
    slot = mp__l3_shard_find(shard, hash);
    has = slot && mp__l3_slot_kind(slot) != MP__L3_GONE;
    (void)pthread_mutex_unlock(&shard->lock);
    return has;
}

void mp__l3_load_start(mp__l3 *l3, mp__task *task)
{
    mp__worker_post(l3->reader, task);
}

/* ---- walking ---- */

typedef struct visit {
    mp__l3_place place;
    uint64_t hash;
} visit;

static int compare_visits(const void *a, const void *b)
{
    const visit *x = a, *y = b;

    return (x->place > y->place) - (x->place < y->place);
}

/* The values of a shard in the order in which they stand on disk. The table may change afterwards:
 * then one may be seen twice or not, as with any walk through a living table. */
static int shard_visits(mp__l3 *l3, unsigned number, visit **ret_visits, size_t *ret_count)
{
    mp__l3_shard *shard = &l3->index.shards[number];
    visit *visits;
    size_t n = 0;

    (void)pthread_mutex_lock(&shard->lock);
    visits = mp__realloc_array(NULL, shard->count + 1, sizeof(*visits));
    for (size_t i = 0; visits && i < shard->capacity; i++) {
        const mp__l3_slot *slot = &shard->slots[i];

        if (mp__l3_slot_kind(slot) == MP__RECORD_VALUE)
            visits[n++] = (visit){mp__l3_slot_place(slot), mp__l3_slot_hash(number, slot)};
    }
    (void)pthread_mutex_unlock(&shard->lock);
    if (!visits)
        return MP_ENOMEM;
    qsort(visits, n, sizeof(*visits), compare_visits);
    *ret_visits = visits;
    *ret_count = n;
    return 0;
}

static bool has_prefix(mp_str text, mp_str prefix)
{
    return prefix.size == 0 ||
           (text.size >= prefix.size && memcmp(text.data, prefix.data, prefix.size) == 0);
}

/* What is damaged is passed over: a read of its address, which is not known here, will mark it. */
static int visit_one(mp__l3 *l3, uint64_t hash, mp_str prefix,
                     int (*each)(void *context, const mp__record *record), void *context)
{
    found f;
    mp__l3_found read;
    int rc = look_up(l3, hash, false, &f);

    if (rc)
        return rc == MP_EUNKNOWN ? 0 : rc;
    if ((rc = read_record(&f, false, &read)) != 0) {
        mp__l3_count(rc == MP_ECORRUPT ? &l3->corrupt : &l3->errors, 1);
        rc = 0;
    } else if (read.kind == MP__RECORD_VALUE && has_prefix(read.record.address, prefix)) {
        rc = each(context, &read.record);
    }
    found_done(&f);
    return rc;
}

int mp__l3_each(mp__l3 *l3, mp_str prefix, int (*each)(void *context, const mp__record *record),
                void *context)
{
    int rc = mp__l3_load_all(l3);

    for (unsigned s = 0; s < MP__L3_SHARDS && rc == 0; s++) {
        visit *visits = NULL;
        size_t count = 0;

        rc = shard_visits(l3, s, &visits, &count);
        for (size_t i = 0; i < count && rc == 0; i++)
            rc = visit_one(l3, visits[i].hash, prefix, each, context);
        (void)mp__free(visits);
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

uint64_t mp__l3_damaged(const mp__l3 *l3)
{
    return atomic_load(&l3->corrupt);
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
        .expired = atomic_load(&l3->expired),
        .not_admitted = atomic_load(&l3->not_admitted),
        .healed = atomic_load(&l3->healed),
        .to_rewrite = atomic_load(&l3->to_rewrite),
        .scrubbed_bytes = atomic_load(&l3->scrubbed_bytes),
        .scrub_passes = atomic_load(&l3->scrub_passes),
        .scrub_damaged = atomic_load(&l3->scrub_damaged),
        .scrub_passed_ms = atomic_load(&l3->scrub_passed_ms),
    };
}

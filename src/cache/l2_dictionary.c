/* SPDX-License-Identifier: Apache-2.0 */
/* L2: which entries share a dictionary, and when one is trained.
 *
 * Entries of one namespace look alike, whatever their environment, so that a namespace is a group.
 * The first group is all of them: its dictionary serves those that have none of their own. A
 * dictionary is trained from what L2 holds, four fifths of a random sample, and tried on the rest:
 * it is taken only when it does better there than what is used now, and one for a namespace only
 * when it saves more than it takes. It is trained anew when entries compress worse than when it was
 * new. An old one stays as long as an entry names it. */
#define ZDICT_STATIC_LINKING_ONLY /* for the size of the trainer's tables, see train_bytes() */
#include <string.h>
#include <zdict.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

enum {
    SAMPLES_LEAST = 64, /* entries before a first training */
    SAMPLES_MAX = 2048,
    SEGMENT = 512, /* bytes that the trainer takes at once; 64 to 256 compressed 5 to 10 % worse */
    SAMPLE_MAX = 8 * 1024,     /* bytes of one entry that are looked at */
    SAMPLE_BYTES = 256 * 1024, /* of all of them */
    GROUP_BYTES = 128 * 1024,  /* that a namespace has before a dictionary of its own is tried */
    BODY_BYTES = 32 * 1024,    /* that all together have before the common one is */
    WAIT_FIRST = SAMPLES_LEAST,
    WAIT = 1024,
    WAIT_MAX = 1 << 24,
    LATELY = 256 * 1024,      /* bytes in, before the past counts half */
    LATELY_LEAST = 32 * 1024, /* before it says anything */
    GROWTH = 4,               /* times the entries that it was trained from: then anew */
    LOOK = 64,                /* slots looked at under one hold of the lock */
};
static const double worse = 1.25;  /* than at first: then it is trained anew */
static const double better = 0.95; /* of the bytes: then the new one is taken */

/* ---- groups ---- */

/* The part of an address between its first two slashes. */
static mp_str namespace_of(mp_str address)
{
    const char *end = address.data + address.size;
    const char *first = memchr(address.data, '/', address.size), *second;

    if (!first)
        return mp_str_new("", 0);
    first++;
    second = memchr(first, '/', (size_t)(end - first));
    if (!second || second - first > MP__L2_NAME)
        return mp_str_new("", 0);
    return mp_str_new(first, (size_t)(second - first));
}

uint8_t mp__l2_group_of(mp__l2 *l2, mp_str address)
{
    mp_str name = namespace_of(address);
    mp__l2_group *group;

    if (name.size == 0)
        return 0;
    for (size_t i = 1; i < l2->group_count; i++)
        if (l2->groups[i].name_size == name.size &&
            memcmp(l2->groups[i].name, name.data, name.size) == 0)
            return (uint8_t)i;
    for (size_t i = 1; i < MP__L2_GROUPS; i++) { /* a new one, or one that nobody is in any more */
        group = &l2->groups[i];
        if (i < l2->group_count && (group->entries || group->current))
            continue;
        *group = (mp__l2_group){.name_size = (uint8_t)name.size, .wait = WAIT_FIRST};
        memcpy(group->name, name.data, name.size);
        if (i == l2->group_count)
            l2->group_count++;
        return (uint8_t)i;
    }
    return 0;
}

void mp__l2_dictionary_note(mp__l2 *l2, uint8_t group, size_t in, size_t out)
{
    for (unsigned i = 0; i < (group ? 2 : 1); i++) {
        mp__l2_group *g = &l2->groups[i ? group : 0];

        g->since++;
        /* what its own dictionary does is not the common one's business */
        if (i == 0 && group && l2->groups[group].current)
            continue;
        if (g->lately_in > LATELY) {
            g->lately_in /= 2;
            g->lately_out /= 2;
        }
        g->lately_in += in;
        g->lately_out += out;
    }
}

/* ---- dictionaries ---- */

static void dictionary_free(mp__l2_dictionary *d)
{
    if (!d)
        return;
    (void)ZSTD_freeCDict(d->pack);
    (void)ZSTD_freeDDict(d->expand);
    (void)mp__free(d);
}

static mp__l2_dictionary *dictionary_new(const void *bytes, size_t size, int level)
{
    mp__l2_dictionary *d = mp__calloc(1, sizeof(*d));

    if (!d)
        return NULL;
    d->pack = mp__l2_memory_fails(size) ? NULL : ZSTD_createCDict(bytes, size, level);
    d->expand = mp__l2_memory_fails(size) ? NULL : ZSTD_createDDict(bytes, size);
    if (!d->pack || !d->expand) {
        dictionary_free(d);
        return NULL;
    }
    atomic_init(&d->refs, 1);
    d->bytes = sizeof(*d) + ZSTD_sizeof_CDict(d->pack) + ZSTD_sizeof_DDict(d->expand);
    return d;
}

mp__l2_dictionary *mp__l2_dictionary_ref(mp__l2 *l2, uint8_t number_and_1)
{
    mp__l2_dictionary *d = number_and_1 ? l2->dictionaries[number_and_1 - 1] : NULL;

    if (d)
        atomic_fetch_add_explicit(&d->refs, 1, memory_order_relaxed);
    return d;
}

mp__l2_dictionary *mp__l2_dictionary_for(mp__l2 *l2, uint8_t group)
{
    mp__l2_dictionary *d = l2->groups[group].current;

    if (!d)
        d = l2->groups[0].current;
    return d ? mp__l2_dictionary_ref(l2, (uint8_t)(d->number + 1)) : NULL;
}

void mp__l2_dictionary_unref(mp__l2 *l2, mp__l2_dictionary *dictionary, bool locked)
{
    if (!dictionary || atomic_fetch_sub_explicit(&dictionary->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (!locked)
        mp__l2_lock(l2);
    l2->dictionaries[dictionary->number] = NULL;
    l2->dictionary_bytes_held -= dictionary->bytes;
    if (!locked)
        mp__l2_unlock(l2);
    dictionary_free(dictionary);
}

/* Nothing is compressed with it any more; it can still be read with. */
static void retire(mp__l2 *l2, mp__l2_dictionary *d)
{
    size_t bytes;

    if (!d)
        return;
    bytes = ZSTD_sizeof_CDict(d->pack);
    (void)ZSTD_freeCDict(d->pack);
    d->pack = NULL;
    d->bytes -= bytes;
    l2->dictionary_bytes_held -= bytes;
    mp__l2_dictionary_unref(l2, d, true);
}

void mp__l2_dictionaries_forget(mp__l2 *l2)
{
    mp__l2_dictionary *current;

    (void)mp__l2_cctx_use(l2, NULL);
    mp__l2_lock(l2);
    for (size_t i = 0; i < l2->group_count; i++) {
        current = l2->groups[i].current;
        l2->groups[i].current = NULL;
        retire(l2, current);
    }
    mp__l2_unlock(l2);
}

/* Make @d the one of @group. False: there are as many as there may be, or they would take more than
 * a quarter of L2. */
static bool install(mp__l2 *l2, uint8_t group, mp__l2_dictionary *d, double rate)
{
    mp__l2_group *g = &l2->groups[group];
    mp__l2_dictionary *old;
    size_t number = 0;
    bool fits;

    (void)mp__l2_cctx_use(l2, NULL); /* what it refers to may go */
    mp__l2_lock(l2);
    while (number < MP__L2_DICTIONARIES && l2->dictionaries[number])
        number++;
    fits =
        number < MP__L2_DICTIONARIES && l2->dictionary_bytes_held + d->bytes <= l2->bytes_max / 4;
    if (fits) {
        old = g->current;
        d->number = (uint8_t)number;
        d->group = group;
        l2->dictionaries[number] = d;
        l2->dictionary_bytes_held += d->bytes;
        g->current = d;
        g->rate_at_first = rate;
        g->lately_in = g->lately_out = 0;
        retire(l2, old);
        mp__l2_ring_limit_update(l2);
    }
    mp__l2_unlock(l2);
    return fits;
}

/* ---- when ---- */

static bool is_due(const mp__l2 *l2, size_t group)
{
    const mp__l2_group *g = &l2->groups[group];
    size_t entries = group ? g->entries : l2->entries;
    uint64_t bytes = group ? g->body_bytes : l2->body_bytes;

    if (entries < SAMPLES_LEAST || bytes < (group ? GROUP_BYTES : BODY_BYTES) || g->since < g->wait)
        return false;
    if (group && !l2->groups[0].current)
        return false; /* there is nothing to compare with yet */
    if (!g->current || (entries >= g->trained_from * GROWTH && g->trained_from < SAMPLES_MAX / 2))
        return true;
    return g->lately_in >= LATELY_LEAST &&
           (double)g->lately_out > g->rate_at_first * worse * (double)g->lately_in;
}

/* ---- training ---- */

typedef struct samples {
    unsigned char *bytes;
    size_t size, count, tests; /* the last @tests are for trying out */
    size_t sizes[SAMPLES_MAX];
} samples;

/* The next entry of @group from slot *at on, copied. False: none until @end. */
static bool next_copy(mp__l2 *l2, uint8_t group, size_t *at, size_t end, mp__l2_scratch *scratch,
                      mp__l2_copy *ret_copy)
{
    while (*at < end) {
        bool found = false, copied = false;

        mp__l2_lock(l2);
        for (unsigned i = 0; i < LOOK && *at < end && !found; i++) {
            const mp__l2_item *item = l2->slots[*at % l2->slot_count].item;

            found = item && (!group || item->group == group);
            if (found)
                copied = mp__l2_copy_item(l2, item, scratch, ret_copy);
            ++*at;
        }
        mp__l2_unlock(l2);
        if (copied)
            return true;
        if (found && mp__l2_scratch_grow(scratch, &ret_copy->form) == 0)
            --*at; /* once more, with room */
    }
    return false;
}

/* What @group holds, a random part of it: hashes have no order. */
static void gather(mp__l2 *l2, uint8_t group, samples *s)
{
    __attribute__((uninitialized)) mp__l2_scratch scratch;
    mp__l2_copy copy;
    mp__record record;
    uint64_t random;
    size_t at, end;

    mp__l2_scratch_init(&scratch);
    mp__env_random(l2->env, &random, sizeof(random));
    at = (size_t)(random % l2->slot_count);
    end = at + l2->slot_count;
    while (s->count < SAMPLES_MAX && SAMPLE_BYTES - s->size >= SAMPLE_MAX &&
           next_copy(l2, group, &at, end, &scratch, &copy)) {
        const unsigned char *body = copy.form.raw ? copy.stored : copy.body;
        size_t size = copy.form.body_size < SAMPLE_MAX ? copy.form.body_size : SAMPLE_MAX;

        if (mp__l2_copy_read(l2, &copy, &record) != 0 || record.value.size < MP__L2_VALUE_LEAST)
            continue;
        memcpy(s->bytes + s->size, body, size);
        s->sizes[s->count++] = size;
        s->size += size;
    }
    mp__l2_scratch_done(&scratch);
    s->tests = s->count / 5;
}

/* Fast cover with tables of 2^16 counts: the default of 2^20 takes 10 MiB and six times as long,
 * for nothing that could be measured on samples of this size. That call is of the part of zstd's
 * interface that may change with a version, so that another version gets the default. */
static size_t train_bytes(const samples *s, size_t train_count, unsigned char *bytes, size_t size)
{
    ZDICT_fastCover_params_t params = {
        .k = SEGMENT, .d = 8, .f = 16, .steps = 1, .nbThreads = 1, .splitPoint = 1, .accel = 1};
    size_t made;

    if (ZSTD_versionNumber() / 100 == ZSTD_VERSION_NUMBER / 100)
        made = ZDICT_trainFromBuffer_fastCover(bytes, size, s->bytes, s->sizes,
                                               (unsigned)train_count, params);
    else
        made = ZDICT_trainFromBuffer(bytes, size, s->bytes, s->sizes, (unsigned)train_count);
    return ZDICT_isError(made) ? 0 : made;
}

/* Bytes that @cctx makes of the samples set aside. */
static uint64_t try_out(mp__l2 *l2, const samples *s, uint64_t *ret_in)
{
    const unsigned char *p = s->bytes;
    uint64_t in = 0, out = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (i >= s->count - s->tests) {
            size_t size =
                mp__l2_pack(l2->cctx, p, s->sizes[i], s->sizes[i], l2->frame, MP__L2_FRAME);

            in += s->sizes[i];
            out += size ? size : s->sizes[i];
        }
        p += s->sizes[i];
    }
    *ret_in = in;
    return out;
}

/* Is @d good enough? *ret_rate: bytes out for each byte in. */
static bool is_better(mp__l2 *l2, uint8_t group, mp__l2_dictionary *d, const samples *s,
                      double *ret_rate)
{
    mp__l2_dictionary *now;
    uint64_t in = 0, before = 0, after = 0, body_bytes;
    double saved;

    mp__l2_lock(l2);
    now = mp__l2_dictionary_for(l2, group);
    body_bytes = l2->groups[group].body_bytes;
    mp__l2_unlock(l2);
    if (mp__l2_cctx_use(l2, now))
        before = try_out(l2, s, &in);
    if (before && mp__l2_cctx_use(l2, d))
        after = try_out(l2, s, &in);
    (void)mp__l2_cctx_use(l2, NULL); /* neither may outlive the other here */
    mp__l2_dictionary_unref(l2, now, false);
    if (!after || (double)after > (double)before * better)
        return false;
    *ret_rate = (double)after / (double)in;
    saved = (double)body_bytes * (double)(before - after) / (double)in;
    return group == 0 || saved > (double)d->bytes;
}

/* True: there is a new one. */
static bool train_from(mp__l2 *l2, uint8_t group, samples *s, size_t size)
{
    MP__CLEANUP_FREE unsigned char *bytes = mp__malloc(size);
    mp__l2_dictionary *d;
    double rate = 1;
    size_t made;

    gather(l2, group, s);
    l2->groups[group].trained_from = s->count; /* read by this thread alone */
    if (!bytes || s->count < SAMPLES_LEAST)
        return false;
    made = mp__l2_memory_fails(size) ? 0 : train_bytes(s, s->count - s->tests, bytes, size);
    d = made ? dictionary_new(bytes, made, (int)atomic_load(&l2->level)) : NULL;
    if (!d)
        return false;
    if (is_better(l2, group, d, s, &rate) && install(l2, group, d, rate))
        return true;
    dictionary_free(d);
    return false;
}

/* What an older dictionary, or none, packed is packed again, so that no old one lives for long. */
static void repack_all(mp__l2 *l2, uint8_t group)
{
    __attribute__((uninitialized)) mp__l2_scratch scratch;
    mp__l2_dictionary *now;
    mp__l2_copy copy;
    size_t at = 0, end;

    mp__l2_scratch_init(&scratch);
    mp__l2_lock(l2);
    now = mp__l2_dictionary_for(l2, group);
    end = l2->slot_count;
    mp__l2_unlock(l2);
    while (now && next_copy(l2, group, &at, end, &scratch, &copy))
        mp__l2_repack(l2, &copy, now);
    mp__l2_dictionary_unref(l2, now, false);
    mp__l2_scratch_done(&scratch);
}

static void train_group(mp__l2 *l2, uint8_t group)
{
    size_t size = atomic_load(&l2->dictionary_bytes);
    samples *s = mp__calloc(1, sizeof(*s));
    bool taken = false;

    if (s)
        s->bytes = mp__malloc(SAMPLE_BYTES);
    if (s && s->bytes) {
        /* the trainer's own: two tables of 2^16 counts of 4 bytes, one of 2 */
        atomic_store(&l2->training_bytes, sizeof(*s) + SAMPLE_BYTES + size + (10u << 16));
        taken = train_from(l2, group, s, size);
        atomic_store(&l2->training_bytes, 0);
    }
    if (s)
        (void)mp__free(s->bytes);
    (void)mp__free(s);
    mp__l2_lock(l2);
    l2->trainings++;
    l2->groups[group].since = 0;
    /* what was of no use is tried again later and later */
    l2->groups[group].wait = taken || l2->groups[group].wait < WAIT  ? WAIT
                             : l2->groups[group].wait < WAIT_MAX / 2 ? l2->groups[group].wait * 2
                                                                     : WAIT_MAX;
    mp__l2_unlock(l2);
    if (taken)
        repack_all(l2, group);
}

bool mp__l2_train(mp__l2 *l2)
{
    size_t due = MP__L2_GROUPS;

    if (!atomic_load(&l2->dictionary_bytes))
        return false;
    mp__l2_lock(l2);
    for (size_t i = 0; i < l2->group_count && due == MP__L2_GROUPS; i++)
        if (is_due(l2, i))
            due = i;
    mp__l2_unlock(l2);
    if (due == MP__L2_GROUPS)
        return false;
    train_group(l2, (uint8_t)due);
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* L2: when a dictionary is trained, and from what.
 *
 * From what L2 holds, four fifths of a random sample, and it is tried on the rest: it is taken only
 * when it does better there than what is used now, and one for a namespace only when it saves more
 * than it takes. Where all of the sample fits, the sample is the dictionary's content: of a few
 * kilobytes a trainer can leave out no more than it should not. Its tables of codes are made of
 * values that were not in the content then: of values that are, they would say that nothing ever
 * differs. It is trained anew when entries compress worse than when it was new, and when there are
 * many times as many as then; while there are few, half as many again. */
#define ZDICT_STATIC_LINKING_ONLY /* for the size of the trainer's tables, see train_bytes() */
#include <string.h>
#include <zdict.h>

#include "cache/l2_internal.h"
#include "core/alloc.h"

enum {
    SAMPLES_LEAST = MP__L2_SAMPLES_LEAST, /* entries before a first training */
    SAMPLES_MAX = 2048,
    SEGMENT = 1024, /* bytes that the trainer takes at once; 512 compressed 2 % worse, 128 12 % */
    SAMPLE_MAX = 8 * 1024,     /* bytes of one entry that are looked at */
    SAMPLE_BYTES = 256 * 1024, /* of all of them */
    TABLES = 1024,             /* bytes of a dictionary that are no content, at most */
    UNSEEN = 40,      /* %, of the sample, that its tables are made of; 20 to 50 do as well */
    UNSEEN_MAX = 160, /* of them: for each zstd copies a table, and more tell nothing new */
    ACCEL = 4, /* of 1 to 10: fewer positions looked at, fewer samples for tables of no use */
    TABLES_LEVEL = 1,         /* at which; 3 took three times as long, for the same size */
    GROUP_BYTES = 128 * 1024, /* that a namespace has before a dictionary of its own is tried */
    BODY_BYTES = 8 * 1024,    /* that all together have before the common one is */
    WAIT_MAX = 1 << 24,
    LATELY_LEAST = 32 * 1024, /* before it says anything */
    GROWTH = 4,               /* times the entries that there were then: anew; */
    FEW = 512,                /* or half as many again, while they are so few */
    LOOK = 64,                /* slots looked at under one hold of the lock */
};
static const double worse = 1.25;  /* than at first: then it is trained anew */
static const double better = 0.95; /* of the bytes: then the new one is taken */

/* ---- when ---- */

static bool has_grown(const mp__l2_group *g, size_t entries)
{
    if (g->trained_from < FEW)
        return entries >= g->trained_from + g->trained_from / 2;
    return entries >= g->trained_from * GROWTH;
}

static bool is_due(const mp__l2 *l2, size_t group)
{
    const mp__l2_group *g = &l2->groups[group];
    size_t entries = group ? g->entries : l2->entries;
    uint64_t bytes = group ? g->body_bytes : l2->body_bytes;

    if (entries < SAMPLES_LEAST || bytes < (group ? GROUP_BYTES : BODY_BYTES) || g->since < g->wait)
        return false;
    if (group && !l2->groups[0].current)
        return false; /* there is nothing to compare with yet */
    if (!g->current || has_grown(g, entries))
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

        if (mp__l2_copy_read(l2, &copy, NULL, &record) != 0 ||
            copy.form.body_size < MP__L2_BODY_LEAST)
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
static size_t cover(const samples *s, size_t train_count, unsigned char *bytes, size_t size)
{
    ZDICT_fastCover_params_t params = {.k = size / 4 < SEGMENT ? (unsigned)size / 4 : SEGMENT,
                                       .d = 8,
                                       .f = 16,
                                       .steps = 1,
                                       .nbThreads = 1,
                                       .splitPoint = 1,
                                       .accel = ACCEL,
                                       .zParams = {.compressionLevel = TABLES_LEVEL}};
    size_t made;

    if (ZSTD_versionNumber() / 100 == ZSTD_VERSION_NUMBER / 100)
        made = ZDICT_trainFromBuffer_fastCover(bytes, size, s->bytes, s->sizes,
                                               (unsigned)train_count, params);
    else
        made = ZDICT_trainFromBuffer(bytes, size, s->bytes, s->sizes, (unsigned)train_count);
    return ZDICT_isError(made) ? 0 : made;
}

static size_t bytes_of(const samples *s, size_t count)
{
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += s->sizes[i];
    return bytes;
}

/* What is chosen of the first @count samples, without tables, into @content of @size bytes. */
static size_t choose_content(const samples *s, size_t count, unsigned char *content, size_t size)
{
    size_t made = bytes_of(s, count), head;

    if (made <= size) {
        memcpy(content, s->bytes, made);
        return made;
    }
    made = cover(s, count, content, size);
    head = made ? ZDICT_getDictHeaderSize(content, made) : 0;
    if (!made || ZDICT_isError(head) || head >= made)
        return 0;
    memmove(content, content + head, made - head);
    return made - head;
}

/* The tables alone, as a dictionary begins with them: of the last of the first @count samples,
 * packed with as much as fits of those before as content. */
static size_t make_tables(const samples *s, size_t count, unsigned char *bytes, size_t size)
{
    ZDICT_params_t params = {.compressionLevel = TABLES_LEVEL};
    size_t unseen = count * UNSEEN / 100 < UNSEEN_MAX ? count * UNSEEN / 100 : UNSEEN_MAX;
    size_t seen = count - unseen, end = bytes_of(s, seen);
    size_t content = size > 2 * TABLES ? size - TABLES : size / 2, made;

    content = content < end ? content : end;
    made = ZDICT_finalizeDictionary(bytes, size, s->bytes + end - content, content, s->bytes + end,
                                    s->sizes + seen, (unsigned)unseen, params);
    made = ZDICT_isError(made) ? made : ZDICT_getDictHeaderSize(bytes, made);
    return ZDICT_isError(made) ? 0 : made;
}

/* From the first @count samples. 0: none can be made of them. */
static size_t train_bytes(const samples *s, size_t count, unsigned char *bytes, size_t size)
{
    size_t tables = make_tables(s, count, bytes, size), content;

    if (!tables)
        return 0;
    content = choose_content(s, count, bytes + tables, size - tables);
    return content ? tables + content : 0;
}

/* Bytes that what is used makes of the samples set aside. */
static uint64_t try_out(mp__l2 *l2, const samples *s, uint64_t *ret_in)
{
    const unsigned char *p = s->bytes;
    uint64_t in = 0, out = 0;

    for (size_t i = 0; i < s->count; i++) {
        if (i >= s->count - s->tests) {
            size_t size = mp__l2_cctx_pack(l2, p, s->sizes[i], l2->frame, MP__L2_FRAME);

            in += s->sizes[i];
            out += size ? size : s->sizes[i];
        }
        p += s->sizes[i];
    }
    *ret_in = in;
    return out;
}

/* Is @d good enough? Better than what is used now; one that is made of few samples has perhaps seen
 * the very ones that are set aside here, so that it is no measure for @d (@anew), which has to be
 * better than none. *ret_rate: bytes out for each byte in. */
static bool is_better(mp__l2 *l2, uint8_t group, bool anew, mp__l2_dictionary *d, const samples *s,
                      double *ret_rate)
{
    mp__l2_dictionary *now;
    uint64_t in = 0, before = 0, after = 0, body_bytes;
    double saved;

    mp__l2_lock(l2);
    now = anew ? NULL : mp__l2_dictionary_for(l2, group);
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

static mp__l2_dictionary *train_with(mp__l2 *l2, const samples *s, size_t train_count,
                                     unsigned char *bytes, size_t size)
{
    size_t made = mp__l2_memory_fails(size) ? 0 : train_bytes(s, train_count, bytes, size);

    return made ? mp__l2_dictionary_new(l2, bytes, made) : NULL;
}

/* True: there is a new one. It was tried without the samples set aside; where these are not few
 * among many, it is made with them, too. */
static bool train_from(mp__l2 *l2, uint8_t group, samples *s, size_t size)
{
    MP__CLEANUP_FREE unsigned char *bytes = mp__malloc(size);
    mp__l2_dictionary *d = NULL, *of_all;
    bool anew = group == 0 && l2->groups[0].trained_from < FEW;
    size_t entries;
    double rate = 1;

    mp__l2_lock(l2);
    entries = group ? l2->groups[group].entries : l2->entries;
    mp__l2_unlock(l2);
    gather(l2, group, s);
    l2->groups[group].trained_from = entries; /* read by this thread alone */
    if (bytes && s->count >= SAMPLES_LEAST)
        d = train_with(l2, s, s->count - s->tests, bytes, size);
    if (!d || !is_better(l2, group, anew, d, s, &rate)) {
        (void)mp__l2_dictionary_free(d);
        return false;
    }
    of_all = s->count < FEW ? train_with(l2, s, s->count, bytes, size) : NULL;
    if (of_all) {
        (void)mp__l2_dictionary_free(d);
        d = of_all;
    }
    if (mp__l2_dictionary_install(l2, group, d, rate, entries))
        return true;
    (void)mp__l2_dictionary_free(d);
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

/* Entries before the next training: as many as this one was made from while these are few, since
 * each of them says much; and what was of no use is tried again later and later. */
static uint64_t wait_after(const mp__l2_group *g, bool taken)
{
    if (taken)
        return g->trained_from >= FEW                ? MP__L2_WAIT
               : g->trained_from < 2 * SAMPLES_LEAST ? SAMPLES_LEAST
                                                     : g->trained_from / 2;
    if (g->name_size && g->wait < MP__L2_WAIT) /* it has the common one meanwhile */
        return MP__L2_WAIT;
    return g->wait < WAIT_MAX / 2 ? g->wait * 2 : WAIT_MAX;
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
    l2->groups[group].wait = wait_after(&l2->groups[group], taken);
    mp__l2_unlock(l2);
    if (taken) {
        repack_all(l2, group);
        mp__l2_keep_save(l2);
    }
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

void mp__l2_train_last(mp__l2 *l2)
{
    const mp__l2_group *all = &l2->groups[0];
    bool is_new = l2->entries >= SAMPLES_LEAST && l2->body_bytes >= BODY_BYTES;

    if (!l2->keep_path || !atomic_load(&l2->dictionary_bytes) || !is_new)
        return;
    /* what was tried in vain may only have been tried on an unlucky part of few entries */
    if (all->current && l2->entries <= all->trained_from + all->trained_from / 8)
        return;
    if (all->trained_from < FEW)
        train_group(l2, 0);
}

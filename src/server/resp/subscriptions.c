/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resp/subscriptions.h"

#include "core/alloc.h"
#include "core/hash.h"

enum {
    FEW = 8,        /* of a kind they are found sooner by looking through the list */
    LIST_STEPS = 8, /* a glob of a list, which is looked at where there are no heads */
};

/* ---- heads ---- */

mp_str mp__glob_literal(mp_str glob)
{
    static const char wild[] = {'*', '?', '[', '\\'};
    size_t n = 0;

    while (n < glob.size && !memchr(wild, glob.data[n], sizeof(wild)))
        n++;
    return mp_str_new(glob.data, n);
}

/* The last bytes of the first @size of @text, which has as many. */
static uint64_t end_of(mp_str text, size_t size)
{
    const unsigned char *p = (const unsigned char *)text.data;

    return size >= 8 ? mp__load_le64(p + size - 8) : mp__load_tail(p, size);
}

static void heads_end(mp__subscriptions *set)
{
    set->heads = mp__free(set->heads);
    set->head_count = set->head_capacity = set->heads_taken = 0;
}

static void head_put(mp__subscriptions *set, mp__subscription *s)
{
    mp_str literal = mp__glob_literal(s->text);

    s->head = set->head_count++;
    set->heads[s->head] = (mp__glob_head){
        .end = end_of(literal, literal.size), .size = (uint32_t)literal.size, .glob = s};
}

/* Those of all globs, with room for as many again. Without memory there are none. */
static void heads_make(mp__subscriptions *set)
{
    uint32_t count = 0;

    for (const mp__subscription *s = set->first[MP__SUBSCRIPTION_GLOB]; s; s = s->next)
        count++;
    heads_end(set);
    if (count == 0)
        return;
    set->heads = mp__realloc_array(NULL, 2 * (size_t)count, sizeof(*set->heads));
    if (!set->heads)
        return;
    set->head_capacity = 2 * count;
    for (mp__subscription *s = set->first[MP__SUBSCRIPTION_GLOB]; s; s = s->next)
        head_put(set, s);
}

static void head_add(mp__subscriptions *set, mp__subscription *s)
{
    if (set->heads && set->head_count < set->head_capacity)
        head_put(set, s);
    else
        heads_make(set);
}

/* @s is not in the list any more. */
static void head_take(mp__subscriptions *set, const mp__subscription *s)
{
    if (!set->heads)
        return;
    set->heads[s->head].size = UINT32_MAX;
    if (++set->heads_taken > set->head_count / 2)
        heads_make(set);
}

const mp__subscription *mp__subscriptions_next_glob(const mp__subscriptions *set,
                                                    const mp__subscription *s, mp_str text,
                                                    size_t *steps)
{
    if (!set->heads) {
        *steps -= *steps < LIST_STEPS ? *steps : LIST_STEPS;
        return s ? s->next : set->first[MP__SUBSCRIPTION_GLOB];
    }
    for (uint32_t i = s ? s->head + 1 : 0; i < set->head_count && *steps; i++) {
        const mp__glob_head *head = &set->heads[i];

        --*steps;
        if (head->size <= text.size && head->end == end_of(text, head->size))
            return head->glob;
    }
    return NULL;
}

/* ---- buckets ---- */

static mp__subscription **bucket_of(const mp__subscriptions *set, uint64_t hash)
{
    return &set->buckets[hash & (set->bucket_count - 1)];
}

static void link_in(const mp__subscriptions *set, mp__subscription *s)
{
    mp__subscription **bucket = bucket_of(set, mp__channel_hash(s->channel));

    s->next_in_bucket = *bucket;
    *bucket = s;
}

/* With all of them in a larger table. False: no memory; the one that there is has longer chains. */
static bool grow(mp__subscriptions *set)
{
    uint32_t count = set->buckets ? set->bucket_count * 2 : FEW * 2;
    mp__subscription **buckets = mp__calloc(count, sizeof(mp__subscription *));

    if (!buckets)
        return false;
    (void)mp__free(set->buckets);
    set->buckets = buckets;
    set->bucket_count = count;
    for (int kind = 0; kind < MP__SUBSCRIPTION_KINDS; kind++)
        for (mp__subscription *s = set->first[kind]; s; s = s->next)
            link_in(set, s);
    return true;
}

/* ---- the set ---- */

mp__subscription *mp__subscriptions_find(const mp__subscriptions *set, const mp__channels *channels,
                                         enum mp__subscription_kind kind, mp_str text)
{
    mp__subscription *s = set->first[kind];

    if (!s)
        return NULL;
    if (set->buckets) {
        s = *bucket_of(set, mp__channels_hash(channels, text));
        while (s && (s->kind != kind || !mp_str_equal(s->text, text)))
            s = s->next_in_bucket;
        return s;
    }
    while (s && !mp_str_equal(s->text, text))
        s = s->next;
    return s;
}

void mp__subscriptions_add(mp__subscriptions *set, mp__subscription *s)
{
    s->next = NULL;
    s->previous = set->last[s->kind];
    if (s->previous)
        s->previous->next = s;
    else
        set->first[s->kind] = s;
    set->last[s->kind] = s;
    set->count++;
    if (s->kind == MP__SUBSCRIPTION_GLOB)
        head_add(set, s);
    if (set->count > (set->buckets ? set->bucket_count : FEW) && grow(set))
        return;
    if (set->buckets)
        link_in(set, s);
}

void mp__subscriptions_take(mp__subscriptions *set, mp__subscription *s)
{
    if (s->next)
        s->next->previous = s->previous;
    else
        set->last[s->kind] = s->previous;
    if (s->previous)
        s->previous->next = s->next;
    else
        set->first[s->kind] = s->next;
    if (s->kind == MP__SUBSCRIPTION_GLOB)
        head_take(set, s);
    if (set->buckets) {
        mp__subscription **link = bucket_of(set, mp__channel_hash(s->channel));

        while (*link != s)
            link = &(*link)->next_in_bucket;
        *link = s->next_in_bucket;
    }
    if (--set->count == 0) {
        set->buckets = mp__free(set->buckets);
        set->bucket_count = 0;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resp/subscriptions.h"

#include "core/alloc.h"

enum { FEW = 8 }; /* of a kind they are found sooner by looking through the list */

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

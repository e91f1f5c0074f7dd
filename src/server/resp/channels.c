/* SPDX-License-Identifier: Apache-2.0 */
#include "server/resp/channels.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>

#include "core/alloc.h"
#include "protocol/resp.h"

enum { SHARDS = 256, BUCKETS_FIRST = 8, COPIED_PER_STEP = 4 };

struct mp__channel {
    struct mp__channel *next; /* of its bucket */
    uint64_t hash;
    uint32_t subscribers; /* 0: it is in no bucket */
    uint32_t lookers;     /* who read its text outside of the lock */
    enum mp__subscription_kind kind;
    uint16_t size;
    char text[];
};

/* All of it, and what the channels in it count, under its lock. */
typedef struct shard {
    pthread_mutex_t lock;
    mp__channel **buckets; /* NULL while it is empty; a power of two of them */
    size_t bucket_count, count;
} shard;

struct mp__channels {
    mp__hash_key hash_key;
    _Atomic size_t counts[MP__SUBSCRIPTION_KINDS];
    shard shards[SHARDS];
};

int mp__channels_new(mp__hash_key hash_key, mp__channels **ret_channels)
{
    mp__channels *channels = mp__calloc(1, sizeof(*channels));

    if (!channels)
        return MP_ENOMEM;
    channels->hash_key = hash_key;
    for (size_t i = 0; i < SHARDS; i++)
        (void)pthread_mutex_init(&channels->shards[i].lock, NULL);
    *ret_channels = channels;
    return 0;
}

mp__channels *mp__channels_free(mp__channels *channels)
{
    if (!channels)
        return NULL;
    for (size_t i = 0; i < SHARDS; i++) {
        assert(channels->shards[i].count == 0);
        (void)pthread_mutex_destroy(&channels->shards[i].lock);
    }
    return mp__free(channels);
}

mp_str mp__channel_text(const mp__channel *channel)
{
    return mp_str_new(channel->text, channel->size);
}

uint64_t mp__channel_hash(const mp__channel *channel)
{
    return channel->hash;
}

uint64_t mp__channels_hash(const mp__channels *channels, mp_str text)
{
    return mp__hash_str(channels->hash_key, text);
}

/* ---- under the lock of the shard ---- */

static shard *shard_of(mp__channels *channels, uint64_t hash)
{
    return &channels->shards[hash >> 56]; /* the buckets go by the other end */
}

static mp__channel **bucket_of(const shard *s, uint64_t hash)
{
    return &s->buckets[hash & (s->bucket_count - 1)];
}

static mp__channel *find(const shard *s, uint64_t hash, mp_str text,
                         enum mp__subscription_kind kind)
{
    mp__channel *channel = s->buckets ? *bucket_of(s, hash) : NULL;

    while (channel && (channel->hash != hash || channel->kind != kind ||
                       !mp_str_equal(mp__channel_text(channel), text)))
        channel = channel->next;
    return channel;
}

static void link_in(const shard *s, mp__channel *channel)
{
    mp__channel **bucket = bucket_of(s, channel->hash);

    channel->next = *bucket;
    *bucket = channel;
}

/* Room for one more. Without memory for more buckets those that there are get longer. */
static int make_room(shard *s)
{
    shard larger = {.bucket_count = s->buckets ? s->bucket_count * 2 : BUCKETS_FIRST};

    if (s->buckets && s->count < s->bucket_count)
        return 0;
    larger.buckets = mp__calloc(larger.bucket_count, sizeof(mp__channel *));
    if (!larger.buckets)
        return s->buckets ? 0 : MP_ENOMEM;
    for (size_t i = 0; s->buckets && i < s->bucket_count; i++)
        for (mp__channel *channel = s->buckets[i], *next; channel; channel = next) {
            next = channel->next;
            link_in(&larger, channel);
        }
    (void)mp__free(s->buckets);
    s->buckets = larger.buckets;
    s->bucket_count = larger.bucket_count;
    return 0;
}

static void take_out(shard *s, const mp__channel *channel)
{
    mp__channel **link = bucket_of(s, channel->hash);

    while (*link != channel)
        link = &(*link)->next;
    *link = channel->next;
    if (--s->count == 0) {
        s->buckets = mp__free(s->buckets);
        s->bucket_count = 0;
    }
}

static void free_unused(mp__channel *channel)
{
    if (channel->subscribers == 0 && channel->lookers == 0)
        (void)mp__free(channel);
}

/* ---- one ---- */

int mp__channels_enter(mp__channels *channels, mp_str text, enum mp__subscription_kind kind,
                       mp__channel **ret_channel)
{
    uint64_t hash = mp__channels_hash(channels, text);
    shard *s = shard_of(channels, hash);
    mp__channel *channel;
    int rc = 0;

    assert(text.size <= MP__CHANNEL_SIZE_MAX);
    (void)pthread_mutex_lock(&s->lock);
    channel = find(s, hash, text, kind);
    if (channel) {
        channel->subscribers++;
    } else {
        channel = mp__malloc(sizeof(*channel) + text.size);
        rc = channel ? make_room(s) : MP_ENOMEM;
        if (rc) {
            channel = mp__free(channel);
        } else {
            *channel = (mp__channel){
                .hash = hash, .subscribers = 1, .kind = kind, .size = (uint16_t)text.size};
            if (text.size)
                memcpy(channel->text, text.data, text.size);
            link_in(s, channel);
            s->count++;
            (void)atomic_fetch_add_explicit(&channels->counts[kind], 1, memory_order_relaxed);
        }
    }
    (void)pthread_mutex_unlock(&s->lock);
    *ret_channel = channel;
    return rc;
}

void mp__channels_leave(mp__channels *channels, mp__channel *channel)
{
    shard *s = shard_of(channels, channel->hash);

    (void)pthread_mutex_lock(&s->lock);
    if (--channel->subscribers == 0) {
        take_out(s, channel);
        (void)atomic_fetch_sub_explicit(&channels->counts[channel->kind], 1, memory_order_relaxed);
        free_unused(channel);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

uint32_t mp__channels_subscribers(mp__channels *channels, mp_str text,
                                  enum mp__subscription_kind kind)
{
    uint64_t hash = mp__channels_hash(channels, text);
    shard *s = shard_of(channels, hash);
    const mp__channel *channel;
    uint32_t count;

    (void)pthread_mutex_lock(&s->lock);
    channel = find(s, hash, text, kind);
    count = channel ? channel->subscribers : 0;
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}

size_t mp__channels_count(mp__channels *channels, enum mp__subscription_kind kind)
{
    return atomic_load_explicit(&channels->counts[kind], memory_order_relaxed);
}

/* ---- all ---- */

/* Those of one shard, whose texts stay while they are looked at. */
typedef struct held {
    mp__channel **items;
    size_t count, capacity, steps; /* steps: that are left */
} held;

/* MP_ELIMIT when the steps end before the shard does: what was taken hold of is held then, too. */
static int take_hold(shard *s, enum mp__subscription_kind kind, held *h)
{
    int rc = 0;

    h->count = 0;
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->bucket_count && rc == 0; i++)
        for (mp__channel *channel = s->buckets[i]; channel && rc == 0; channel = channel->next) {
            if (h->steps == 0) {
                rc = MP_ELIMIT;
                break;
            }
            h->steps--;
            if (channel->kind != kind)
                continue;
            rc = mp__grow(&h->items, h->count, &h->capacity, sizeof(mp__channel *));
            if (rc == 0) {
                channel->lookers++;
                h->items[h->count++] = channel;
            }
        }
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

static void let_go(shard *s, held *h)
{
    (void)pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < h->count; i++) {
        h->items[i]->lookers--;
        free_unused(h->items[i]);
    }
    (void)pthread_mutex_unlock(&s->lock);
}

/* Whether it fits; MP_ELIMIT when there are no steps to say so. */
static int look_at(mp_str text, mp_str pattern, size_t *steps, bool *ret_fits)
{
    *ret_fits = mp__glob_match_within(pattern, text, steps);
    if (!*ret_fits)
        return *steps ? 0 : MP_ELIMIT;
    if (*steps < text.size / COPIED_PER_STEP)
        return MP_ELIMIT;
    *steps -= text.size / COPIED_PER_STEP;
    return 0;
}

int mp__channels_fitting(mp__channels *channels, enum mp__subscription_kind kind, mp_str pattern,
                         size_t steps_max, void (*found)(void *context, mp_str text), void *context)
{
    held h = {.steps = steps_max};
    int rc = 0;

    for (size_t i = 0; i < SHARDS && rc == 0; i++) {
        rc = take_hold(&channels->shards[i], kind, &h);
        for (size_t k = 0; k < h.count && rc == 0; k++) {
            mp_str text = mp__channel_text(h.items[k]);
            bool fits;

            rc = look_at(text, pattern, &h.steps, &fits);
            if (rc == 0 && fits)
                found(context, text);
        }
        let_go(&channels->shards[i], &h);
    }
    (void)mp__free(h.items);
    return rc;
}

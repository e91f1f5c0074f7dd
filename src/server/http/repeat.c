/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http/repeat.h"

#include <assert.h>
#include <pthread.h>

#include "core/alloc.h"

enum { BUCKETS = 4096 };

struct mp__repeat {
    struct mp__repeat *in_bucket;         /* the next */
    struct mp__repeat *older, *newer;     /* of those that are answered */
    uint64_t hash, fingerprint, until_ns; /* until_ns: answered, and kept so long */
    mp_blob *answer;                      /* NULL: under way */
    int status;
    size_t cost, name_size;
    char name[]; /* identity, NUL, key */
};

struct mp__repeats {
    pthread_mutex_t lock;
    mp__hash_key hash_key;
    mp__repeat *buckets[BUCKETS];
    mp__repeat *oldest, *newest;
    size_t count, bytes, bytes_max;
    uint64_t keep_ns;
};

int mp__repeats_new(mp__hash_key hash_key, mp__repeats **ret_repeats)
{
    mp__repeats *r = mp__calloc(1, sizeof(*r));

    if (!r)
        return MP_ENOMEM;
    (void)pthread_mutex_init(&r->lock, NULL);
    r->hash_key = hash_key;
    *ret_repeats = r;
    return 0;
}

/* ---- inside the lock ---- */

static mp__repeat **find(mp__repeats *r, uint64_t hash, const char *name, size_t size)
{
    mp__repeat **at = &r->buckets[hash % BUCKETS];

    while (*at && ((*at)->hash != hash || (*at)->name_size != size ||
                   memcmp((*at)->name, name, size) != 0))
        at = &(*at)->in_bucket;
    return at;
}

static void free_repeat(mp__repeat *repeat)
{
    (void)mp_blob_unref(repeat->answer);
    (void)mp__free(repeat);
}

/* Take @repeat out of the table and, where it is answered, of the row of ages. */
static void remove_repeat(mp__repeats *r, mp__repeat *repeat)
{
    mp__repeat **at = find(r, repeat->hash, repeat->name, repeat->name_size);

    assert(*at == repeat);
    *at = repeat->in_bucket;
    if (repeat->answer) {
        *(repeat->older ? &repeat->older->newer : &r->oldest) = repeat->newer;
        *(repeat->newer ? &repeat->newer->older : &r->newest) = repeat->older;
    }
    r->count--;
    r->bytes -= repeat->cost;
    free_repeat(repeat);
}

/* What is past its time goes, and what is over the limit, the oldest first. */
static void make_room(mp__repeats *r, uint64_t now_ns)
{
    while (r->oldest && (r->bytes > r->bytes_max || r->oldest->until_ns <= now_ns))
        remove_repeat(r, r->oldest);
}

/* ---- the doors ---- */

mp__repeats *mp__repeats_free(mp__repeats *r)
{
    if (!r)
        return NULL;
    for (size_t i = 0; i < BUCKETS; i++)
        while (r->buckets[i]) {
            mp__repeat *next = r->buckets[i]->in_bucket;

            free_repeat(r->buckets[i]);
            r->buckets[i] = next;
        }
    (void)pthread_mutex_destroy(&r->lock);
    return mp__free(r);
}

void mp__repeats_limit(mp__repeats *r, size_t bytes_max, uint64_t keep_ns)
{
    (void)pthread_mutex_lock(&r->lock);
    r->bytes_max = bytes_max;
    r->keep_ns = keep_ns;
    (void)pthread_mutex_unlock(&r->lock);
}

static enum mp__repeat_kind look(mp__repeats *r, const mp__repeat *known, uint64_t fingerprint,
                                 int *ret_status, mp_blob **ret_answer)
{
    (void)r;
    if (known->fingerprint != fingerprint)
        return MP__REPEAT_OTHER;
    if (!known->answer)
        return MP__REPEAT_BUSY;
    *ret_status = known->status;
    *ret_answer = mp_blob_ref(known->answer);
    return MP__REPEAT_REPLAY;
}

enum mp__repeat_kind mp__repeats_begin(mp__repeats *r, mp_str identity, mp_str key,
                                       uint64_t fingerprint, uint64_t now_ns,
                                       mp__repeat **ret_repeat, int *ret_status,
                                       mp_blob **ret_answer)
{
    size_t size = identity.size + 1 + key.size;
    mp__repeat *made = mp__calloc(1, sizeof(*made) + size), **at;
    enum mp__repeat_kind kind = MP__REPEAT_RUN;

    if (!made)
        return MP__REPEAT_NO_MEMORY;
    if (identity.size)
        memcpy(made->name, identity.data, identity.size);
    memcpy(made->name + identity.size + 1, key.data, key.size);
    made->name_size = size;
    made->hash = mp__siphash13(r->hash_key, made->name, size);
    made->fingerprint = fingerprint;
    made->cost = sizeof(*made) + size;
    (void)pthread_mutex_lock(&r->lock);
    make_room(r, now_ns);
    at = find(r, made->hash, made->name, size);
    if (*at) {
        kind = look(r, *at, fingerprint, ret_status, ret_answer);
    } else {
        *at = made;
        r->count++;
        r->bytes += made->cost;
    }
    (void)pthread_mutex_unlock(&r->lock);
    if (kind == MP__REPEAT_RUN)
        *ret_repeat = made;
    else
        (void)mp__free(made);
    return kind;
}

void mp__repeats_end(mp__repeats *r, mp__repeat *repeat, int status, mp_str answer, uint64_t now_ns)
{
    mp_blob *blob = NULL;

    if (mp_blob_new(answer.data, answer.size, &blob) != 0) {
        mp__repeats_forget(r, repeat); /* without memory a repeat runs again */
        return;
    }
    (void)pthread_mutex_lock(&r->lock);
    assert(!repeat->answer);
    repeat->answer = blob;
    repeat->status = status;
    repeat->until_ns = now_ns + r->keep_ns;
    repeat->cost += answer.size;
    r->bytes += answer.size;
    repeat->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = repeat;
    r->newest = repeat;
    make_room(r, now_ns);
    (void)pthread_mutex_unlock(&r->lock);
}

void mp__repeats_forget(mp__repeats *r, mp__repeat *repeat)
{
    (void)pthread_mutex_lock(&r->lock);
    assert(!repeat->answer);
    remove_repeat(r, repeat);
    (void)pthread_mutex_unlock(&r->lock);
}

size_t mp__repeats_count(mp__repeats *r)
{
    size_t count;

    (void)pthread_mutex_lock(&r->lock);
    count = r->count;
    (void)pthread_mutex_unlock(&r->lock);
    return count;
}

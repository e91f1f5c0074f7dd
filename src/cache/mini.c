/* SPDX-License-Identifier: Apache-2.0 */
/* Caches of hashes: records in an array, linked by numbers into the queues that the policies share.
 *
 * LRU; S3-FIFO (Yang et al., SOSP 2023); QD-LP-FIFO (Yang et al., HotOS 2023); 2Q (Johnson and
 * Shasha, VLDB 1994); LIRS (Jiang and Zhang, SIGMETRICS 2002);
 * W-TinyLFU (Einziger, Friedman and Manes, ACM TOS 2017). */
#include "cache/mini.h"

#include <assert.h>
#include <string.h>

#include "cache/mini_internal.h"
#include "core/alloc.h"

/* ---- queues ---- */

void mp__mini_add(mp__mini *m, unsigned list, uint32_t i)
{
    unsigned way = MP__MINI_WAY(list);
    mini_record *r = &m->records[i];
    mini_list *l = &m->lists[list];

    r->list[way] = (uint8_t)list;
    r->older[way] = l->newest;
    r->newer[way] = 0;
    if (l->newest)
        m->records[l->newest].newer[way] = i;
    else
        l->oldest = i;
    l->newest = i;
    l->count++;
}

void mp__mini_take(mp__mini *m, unsigned list, uint32_t i)
{
    unsigned way = MP__MINI_WAY(list);
    mini_record *r = &m->records[i];
    mini_list *l = &m->lists[list];

    *(r->newer[way] ? &m->records[r->newer[way]].older[way] : &l->newest) = r->older[way];
    *(r->older[way] ? &m->records[r->older[way]].newer[way] : &l->oldest) = r->newer[way];
    r->list[way] = MP__MINI_NONE;
    l->count--;
}

void mp__mini_move(mp__mini *m, unsigned to, uint32_t i)
{
    mp__mini_take(m, m->records[i].list[MP__MINI_WAY(to)], i);
    mp__mini_add(m, to, i);
}

/* ---- records ---- */

static uint32_t *bucket_of(const mp__mini *m, uint64_t hash)
{
    return &m->buckets[(hash * 0x9e3779b97f4a7c15ULL) >> m->bucket_shift];
}

uint32_t mp__mini_find(const mp__mini *m, uint64_t hash)
{
    uint32_t i = *bucket_of(m, hash);

    while (i && m->records[i].hash != hash)
        i = m->records[i].chain;
    return i;
}

uint32_t mp__mini_record_new(mp__mini *m, uint64_t hash)
{
    uint32_t i = m->free, *bucket = bucket_of(m, hash);

    m->free = m->records[i].chain;
    m->records[i] = (mini_record){.hash = hash, .chain = *bucket};
    *bucket = i;
    if (m->owners)
        m->owners[i] = NULL;
    return i;
}

void mp__mini_record_free(mp__mini *m, uint32_t i)
{
    uint32_t *at = bucket_of(m, m->records[i].hash);

    while (*at != i)
        at = &m->records[*at].chain;
    *at = m->records[i].chain;
    m->records[i].chain = m->free;
    m->free = i;
}

/* ---- counts of use ---- */

static uint64_t mix(uint64_t h)
{
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93ULL;
    return h ^ h >> 32;
}

static void sketch_halve(mini_sketch *s)
{
    for (size_t i = 0; i <= s->mask; i++)
        s->counts[i] >>= 1;
    s->added /= 2;
}

static void sketch_add(mini_sketch *s, uint64_t hash)
{
    uint64_t h = mix(hash), step = (h >> 32) | 1;
    bool raised = false;

    for (unsigned row = 0; row < 4; row++, h += step) {
        uint8_t *count = &s->counts[h & s->mask];

        if (*count < MP__MINI_COUNT_MAX) {
            ++*count;
            raised = true;
        }
    }
    if (raised && ++s->added >= s->period)
        sketch_halve(s);
}

unsigned mp__mini_frequency(const mp__mini *m, uint64_t hash)
{
    uint64_t h = mix(hash), step = (h >> 32) | 1;
    unsigned least = UINT8_MAX;

    for (unsigned row = 0; row < 4; row++, h += step) {
        unsigned count = m->sketch->counts[h & m->sketch->mask];

        least = count < least ? count : least;
    }
    return least;
}

static size_t power_of_two(size_t least)
{
    size_t n = 8;

    while (n < least)
        n *= 2;
    return n;
}

static mini_sketch *sketch_new(size_t capacity)
{
    size_t n = power_of_two(capacity * MP__MINI_SKETCH_RATIO);
    mini_sketch *s = mp__calloc(1, sizeof(*s) + n);

    if (s) {
        s->mask = n - 1;
        s->period = capacity * MP__MINI_PERIOD_RATIO;
    }
    return s;
}

/* ---- the whole ---- */

enum { LOOK_EACH = 8 }; /* of the buckets, where an estimate is enough */

mp__mini *mp__mini_free(mp__mini *m)
{
    if (m) {
        (void)mp__free(m->records);
        (void)mp__free(m->buckets);
        (void)mp__free(m->owners);
        (void)mp__free(m->sketch);
    }
    return mp__free(m);
}

/* All records but the first, which is none. */
static void chain_free(mp__mini *m)
{
    for (size_t i = 1; i + 1 < m->records_count; i++)
        m->records[i].chain = (uint32_t)(i + 1);
    m->free = 1;
}

static int mini_fill(mp__mini *m, bool owners, bool sketch)
{
    size_t n = m->capacity + m->ops->ghosts(m) + 2, buckets = power_of_two(n);

    if (n >= UINT32_MAX)
        return MP_EINVAL;
    m->records_count = n;
    m->buckets_count = buckets;
    m->bucket_shift = 64 - (unsigned)__builtin_ctzl(buckets);
    m->records = mp__calloc(n, sizeof(*m->records));
    m->buckets = mp__calloc(buckets, sizeof(*m->buckets));
    if (owners)
        m->owners = mp__calloc(n, sizeof(*m->owners));
    if (sketch)
        m->sketch = sketch_new(m->capacity);
    if (!m->records || !m->buckets || (owners && !m->owners) || (sketch && !m->sketch))
        return MP_ENOMEM;
    chain_free(m);
    return 0;
}

size_t mp__mini_bytes_for(const mp__mini_shape *shape, size_t capacity, bool owners, bool sketch)
{
    mp__mini m = {.capacity = capacity, .ops = mp__mini_ops_of(shape->kind)};
    size_t n = capacity + m.ops->ghosts(&m) + 2;
    size_t bytes = sizeof(m) + n * sizeof(*m.records) + power_of_two(n) * sizeof(*m.buckets);

    if (owners)
        bytes += n * sizeof(*m.owners);
    if (sketch)
        bytes += sizeof(*m.sketch) + power_of_two(capacity * MP__MINI_SKETCH_RATIO);
    return bytes;
}

int mp__mini_new(const mp__mini_shape *shape, size_t capacity, bool owners, bool sketch,
                 mp__mini **ret_mini)
{
    mp__mini *m = mp__calloc(1, sizeof(*m));
    int rc;

    if (!m)
        return MP_ENOMEM;
    m->capacity = capacity ? capacity : 1;
    m->room = m->capacity;
    m->ops = mp__mini_ops_of(shape->kind);
    m->window_max = m->capacity * shape->window_permille / 1000;
    m->window_max = m->window_max ? m->window_max : 1;
    rc = mini_fill(m, owners, sketch || shape->kind == MP__MINI_TINYLFU);
    if (rc) {
        (void)mp__mini_free(m);
        return rc;
    }
    *ret_mini = m;
    return 0;
}

static bool is_resident(const mp__mini *m, uint32_t i)
{
    return i && m->records[i].resident;
}

bool mp__mini_holds(const mp__mini *m, uint64_t hash)
{
    return is_resident(m, mp__mini_find(m, hash));
}

static uint32_t number_of(const mp__mini *m, const mp__mini_place *place)
{
    return (uint32_t)(place - m->records);
}

static void use(mp__mini *m, uint64_t hash, uint32_t i)
{
    if (m->sketch)
        sketch_add(m->sketch, hash);
    m->ops->hit(m, i);
}

bool mp__mini_touch(mp__mini *m, uint64_t hash)
{
    uint32_t i = mp__mini_find(m, hash);

    if (!is_resident(m, i))
        return false;
    use(m, hash, i);
    return true;
}

void mp__mini_touch_at(mp__mini *m, mp__mini_place *place)
{
    assert(place->resident);
    use(m, place->hash, number_of(m, place));
}

mp__mini_place *mp__mini_insert(mp__mini *m, uint64_t hash, void *owner)
{
    uint32_t i = mp__mini_find(m, hash);

    if (m->sketch)
        sketch_add(m->sketch, hash);
    if (m->count >= m->room)
        m->room = m->count + 1;
    i = m->ops->insert(m, hash, i);
    m->records[i].resident = 1;
    m->count++;
    if (m->owners)
        m->owners[i] = owner;
    return &m->records[i];
}

void *mp__mini_next_victim(mp__mini *m)
{
    uint32_t i = m->ops->victim(m);

    return m->owners ? m->owners[i] : NULL;
}

bool mp__mini_evict(mp__mini *m, void **ret_owner)
{
    uint32_t i;

    *ret_owner = NULL;
    if (m->count == 0)
        return false;
    i = m->ops->victim(m);
    if (m->owners) {
        *ret_owner = m->owners[i];
        m->owners[i] = NULL;
    }
    m->records[i].resident = 0;
    m->gone = m->records[i].hash;
    m->count--;
    m->ops->evicted(m, i);
    return true;
}

void mp__mini_fit(mp__mini *m, size_t held)
{
    if (held < m->room)
        m->room = held ? held : 1;
}

void mp__mini_fetch_bucket(const mp__mini *m, uint64_t hash)
{
    __builtin_prefetch(bucket_of(m, hash));
}

void mp__mini_fetch_record(const mp__mini *m, uint64_t hash)
{
    __builtin_prefetch(&m->records[*bucket_of(m, hash)]);
}

bool mp__mini_access(mp__mini *m, uint64_t hash)
{
    void *owner;

    m->gone = 0;
    if (mp__mini_touch(m, hash))
        return true;
    if (m->count >= m->capacity)
        (void)mp__mini_evict(m, &owner);
    mp__mini_insert(m, hash, NULL);
    return false;
}

uint64_t mp__mini_gone(const mp__mini *m)
{
    return m->gone;
}

void mp__mini_forget(mp__mini *m, uint64_t hash)
{
    uint32_t i = mp__mini_find(m, hash);

    if (!i)
        return;
    for (unsigned way = 0; way < 2; way++)
        if (m->records[i].list[way])
            mp__mini_take(m, m->records[i].list[way], i);
    if (m->records[i].resident)
        m->count--;
    if (m->ops->forgotten)
        m->ops->forgotten(m, i);
    mp__mini_record_free(m, i);
}

mp__mini_place *mp__mini_held(mp__mini *m, uint64_t hash)
{
    uint32_t i = mp__mini_find(m, hash);

    return is_resident(m, i) ? &m->records[i] : NULL;
}

void *mp__mini_owner_at(const mp__mini *m, const mp__mini_place *place)
{
    return m->owners[number_of(m, place)];
}

void mp__mini_owner_set_at(mp__mini *m, const mp__mini_place *place, void *owner)
{
    m->owners[number_of(m, place)] = owner;
}

/* What has proved itself, of the keys in the order in which they would be evicted. */
typedef struct proof {
    unsigned above; /* what was used more often than this */
    size_t since;   /* and what was used exactly as often, from this place on */
} proof;

static bool is_proven(const mp__mini *m, const uint64_t *hashes, size_t at, proof p)
{
    unsigned uses = m->sketch ? mp__mini_frequency(m, hashes[at]) : 0;

    return uses > p.above || (uses == p.above && at >= p.since);
}

/* Proven is what was used more than once, and where that is more than there is @room for what was
 * used most: of those equal at the limit, the last to go. Not so of those used twice, which are
 * proven all or none: else what was used twice in passing would fill the room of the hot set, and
 * not leave it for long where the policy lets newcomers go first, as S3-FIFO does. */
static proof proof_for(const mp__mini *m, const uint64_t *hashes, size_t count, size_t room)
{
    size_t of_uses[MP__MINI_COUNT_MAX + 1] = {0}, spare = room;
    proof p = {.above = MP__MINI_COUNT_MAX, .since = count};

    if (!m->sketch)
        return p;
    for (size_t at = 0; at < count; at++)
        of_uses[mp__mini_frequency(m, hashes[at])]++;
    while (p.above > 1 && of_uses[p.above] <= spare)
        spare -= of_uses[p.above--];
    if (p.above > 2)
        while (spare > 0)
            spare -= mp__mini_frequency(m, hashes[--p.since]) == p.above;
    return p;
}

static void seed_one(mp__mini *m, uint64_t hash, void *owner, enum mini_rank rank)
{
    uint32_t i;

    if (m->count >= m->capacity || mp__mini_find(m, hash)) /* two of one hash: one is left out */
        return;
    i = mp__mini_record_new(m, hash);
    m->records[i].resident = 1;
    m->count++;
    if (m->owners)
        m->owners[i] = owner;
    m->ops->seed(m, i, rank);
}

/* The last of those used once are the newcomers, the others of them go first; when there are too
 * few, the first of the proven make up for it. */
void mp__mini_seed(mp__mini *m, const uint64_t *hashes, void *const *owners, size_t count)
{
    size_t newcomers = m->ops->newcomers ? m->ops->newcomers(m) : 0, unproven = 0, old, filled;
    proof p;

    if (!m->ops->newcomers) {
        for (size_t at = 0; at < count; at++)
            seed_one(m, hashes[at], owners[at], MINI_PROVEN);
        return;
    }
    p = proof_for(m, hashes, count, m->capacity > newcomers ? m->capacity - newcomers : 0);
    for (size_t at = 0; at < count; at++)
        unproven += !is_proven(m, hashes, at, p);
    old = unproven > newcomers ? unproven - newcomers : 0;
    filled = unproven - old;
    for (size_t at = 0; at < count; at++)
        if (!is_proven(m, hashes, at, p)) {
            seed_one(m, hashes[at], owners[at], old ? MINI_UNPROVEN : MINI_NEWCOMER);
            old -= old > 0;
        }
    for (size_t at = 0; at < count; at++)
        if (is_proven(m, hashes, at, p))
            seed_one(m, hashes[at], owners[at], filled++ < newcomers ? MINI_NEWCOMER : MINI_PROVEN);
}

static void forget_all(mp__mini *m)
{
    memset(m->records, 0, m->records_count * sizeof(*m->records));
    memset(m->buckets, 0, m->buckets_count * sizeof(*m->buckets));
    memset(m->lists, 0, sizeof(m->lists));
    chain_free(m);
    m->count = 0;
    if (m->sketch) {
        memset(m->sketch->counts, 0, m->sketch->mask + 1);
        m->sketch->added = 0;
    }
}

void mp__mini_begin_anew(mp__mini *m, const mp__mini *from)
{
    size_t newcomers = m->ops->newcomers ? m->ops->newcomers(m) : 0, left = from->count;

    forget_all(m);
    for (uint32_t i = from->lists[MP__MINI_A].oldest; i; i = from->records[i].newer[0])
        seed_one(m, from->records[i].hash, NULL,
                 left-- > newcomers ? MINI_UNPROVEN : MINI_NEWCOMER);
}

void mp__mini_learn(mp__mini *m, const mp__mini *from)
{
    double scale = (double)m->capacity / (double)from->capacity;

    m->newcomers = (size_t)(from->lists[MP__MINI_A].count * scale);
}

void mp__mini_copy(mp__mini *m, const mp__mini *from)
{
    memcpy(m->records, from->records, from->records_count * sizeof(*from->records));
    memcpy(m->buckets, from->buckets, from->buckets_count * sizeof(*from->buckets));
    memcpy(m->lists, from->lists, sizeof(from->lists));
    m->count = from->count;
    m->free = from->free;
    if (m->sketch && from->sketch)
        memcpy(m->sketch, from->sketch, sizeof(*from->sketch) + from->sketch->mask + 1);
}

void mp__mini_sketch_move(mp__mini *to, mp__mini *from)
{
    mini_sketch *sketch = to->sketch;

    if (sketch && from->sketch) {
        to->sketch = from->sketch;
        from->sketch = sketch;
    }
}

size_t mp__mini_lacks(const mp__mini *m, const mp__mini *of)
{
    size_t looked = 0, lacking = 0;

    for (size_t b = 0; b < of->buckets_count; b += LOOK_EACH)
        for (uint32_t i = of->buckets[b]; i; i = of->records[i].chain)
            if (of->records[i].resident) {
                looked++;
                lacking += !mp__mini_holds(m, of->records[i].hash);
            }
    return looked ? of->count * lacking / looked : 0;
}

void mp__mini_spread(const mp__mini *m, float *parts, size_t count)
{
    for (size_t i = 1; i < m->records_count; i++)
        if (m->records[i].resident)
            parts[m->records[i].hash & (count - 1)]++;
}

size_t mp__mini_count(const mp__mini *m)
{
    return m->count;
}

size_t mp__mini_capacity(const mp__mini *m)
{
    return m->capacity;
}

size_t mp__mini_bytes(const mp__mini *m)
{
    return sizeof(*m) +
           m->records_count * (sizeof(*m->records) + (m->owners ? sizeof(void *) : 0)) +
           m->buckets_count * sizeof(*m->buckets) +
           (m->sketch ? sizeof(*m->sketch) + m->sketch->mask + 1 : 0);
}

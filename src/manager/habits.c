/* SPDX-License-Identifier: Apache-2.0 */
/* Habits at work: groups in, what will be read into memory. See habits.h.
 *
 * The worker mp-habits learns and brings; who missed something asks the model under its lock. */
#include "manager/habits.h"

#include <inttypes.h>
#include <stdio.h>

#include "manager/internal.h"

enum {
    GROUP_GAP_MS = 10, /* between two groups of a loop: what sampling costs is bounded by it */
    GROUP_MOST_MS = 1000,
    IDLE_MS = 100,
    UNDER_WAY_MOST = 32, /* questions to the origin at once, others' counted */
    WANTED_MAX = 4096,   /* that wait to be brought */
    BROUGHT_MAX = 8192,  /* that are watched for whether they are read */
    SAVE_EVERY_MS = 900000,
    HOUR_MS = 3600000,
    BEFORE_MS = 300000, /* the next hour's are brought so long before it */
    FILE_MAX = 64 * 1024 * 1024,
    USES = 2, /* that what is brought counts for at once; with one more none could be seen */
};

typedef struct mp__habit_group {
    mp__task task;
    mp__habits *habits;
    int64_t wall_ms;
    uint64_t until_ns;
    size_t count;
    mp_str addresses[MP__HABIT_GROUP]; /* copies, in one block behind each other */
    size_t used;
    char bytes[4096];
} group;

typedef struct brought {
    char *address;
    uint64_t hash;
    int uses;     /* in the entry when the policy was told what is expected of it; -1: not yet */
    bool is_used; /* a sample has it, or it was read before that */
} brought;

#define COUNT_EVERY_NS 1000000000u

struct mp__habits {
    mp__manager *manager;
    mp__worker *worker;
    _Atomic bool stopping;
    _Atomic bool is_wished; /* what this hour usually reads, once, however many wish for it */

    pthread_mutex_t lock;
    mp__habit_model *model;
    char *wanted[WANTED_MAX]; /* a ring */
    size_t wanted_first, wanted_count;
    uint64_t groups, looks, predicted, saved, wasted, dropped; /* looks: at what an hour reads */

    /* the worker's */
    brought *brought;
    size_t brought_count;
    uint64_t looked_ns;    /* when it last saw to all that is not learning */
    uint64_t counted_ns;   /* when it was last looked which of them were read */
    int64_t expected_hour; /* for which was looked last */
    int64_t saved_ms;
};

/* ---- taps ---- */

/* Whoever reads what was brought, was saved a miss. */
static void note_read(mp__habits *habits, mp_str address)
{
    uint64_t hash = mp__cache_hash(habits->manager->hasher, address);

    for (size_t i = 0; i < habits->brought_count; i++)
        if (habits->brought[i].hash == hash)
            habits->brought[i].is_used = true;
}

static void learn(mp__task *task)
{
    group *g = (group *)task;
    mp__habits *habits = g->habits;

    for (size_t i = 0; i < g->count && habits->brought_count; i++)
        note_read(habits, g->addresses[i]);
    (void)pthread_mutex_lock(&habits->lock);
    mp__habit_model_learn(habits->model, g->addresses, g->count, g->wall_ms);
    habits->groups++;
    (void)pthread_mutex_unlock(&habits->lock);
    (void)mp__free(g);
}

static void hand_over(mp__habits *habits, mp__tap *tap, uint64_t now_ns)
{
    group *g = tap->group;

    tap->group = NULL;
    tap->who = 0;
    tap->next_ns = now_ns + GROUP_GAP_MS * 1000000ull;
    g->habits = habits;
    g->task.run = learn;
    mp__worker_post(habits->worker, &g->task);
}

void mp__tap_read(mp__manager *manager, mp__tap *tap, uint64_t who, uint64_t now_ns, mp_str address)
{
    mp__habits *habits = manager->habits;
    group *g = tap->group;

    if (!habits) {
        tap->next_ns = UINT64_MAX;
        return;
    }
    if (g && now_ns >= g->until_ns) {
        hand_over(habits, tap, now_ns);
        g = NULL;
    }
    if (g && tap->who != who)
        return; /* another's group is being gathered */
    if (!g) {
        g = mp__malloc(sizeof(*g));
        if (!g) {
            tap->next_ns = now_ns + GROUP_MOST_MS * 1000000ull;
            return;
        }
        g->count = g->used = 0;
        g->until_ns = now_ns + GROUP_MOST_MS * 1000000ull;
        g->wall_ms = mp__env_wall_ms(manager->env);
        tap->group = g;
        tap->who = who;
        tap->next_ns = g->until_ns;
    }
    if (address.size > sizeof(g->bytes) - g->used) {
        hand_over(habits, tap, now_ns);
        return;
    }
    memcpy(g->bytes + g->used, address.data, address.size);
    g->addresses[g->count++] = mp_str_new(g->bytes + g->used, address.size);
    g->used += address.size;
    if (g->count == MP__HABIT_GROUP)
        hand_over(habits, tap, now_ns);
}

void mp__tap_done(mp__tap *tap)
{
    tap->group = mp__free(tap->group);
    tap->who = 0;
}

/* ---- wanting ---- */

/* Under the lock. */
static bool want(mp__habits *habits, mp_str address)
{
    char *copy;

    if (habits->wanted_count == WANTED_MAX) {
        habits->dropped++;
        return false;
    }
    copy = mp__str_dup(address);
    if (!copy)
        return false;
    habits->wanted[(habits->wanted_first + habits->wanted_count++) % WANTED_MAX] = copy;
    return true;
}

void mp__habits_missed(mp__habits *habits, mp_str address)
{
    mp_str with[MP__HABIT_PAIRS];
    size_t count;

    (void)pthread_mutex_lock(&habits->lock);
    count = mp__habit_model_with(habits->model, address, with);
    for (size_t i = 0; i < count; i++)
        (void)want(habits, with[i]);
    (void)pthread_mutex_unlock(&habits->lock);
}

typedef struct expecting {
    mp__habits *habits;
    size_t left;
} expecting;

static bool expect_one(void *context, mp_str address, double expected)
{
    expecting *e = context;

    (void)expected;
    return e->left-- > 0 && want(e->habits, address);
}

static void expect_hour(mp__habits *habits, int64_t wall_ms)
{
    mp_cache_stats stats;
    expecting e = {habits, 0};

    mp_cache_stats_read(habits->manager->cache, &stats);
    e.left = stats.l1_entries_max * atomic_load(&habits->manager->preload_percent) / 100;
    (void)pthread_mutex_lock(&habits->lock);
    mp__habit_model_expect(habits->model, wall_ms, expect_one, &e);
    habits->looks++;
    (void)pthread_mutex_unlock(&habits->lock);
}

void mp__habits_expect(mp__habits *habits)
{
    atomic_store(&habits->is_wished, true);
}

/* ---- bringing ---- */

/* What was asked for arrives by and by. Who read it before we look has been saved a miss, too. */
static void count_arrival(const mp__habits *habits, brought *b)
{
    mp_cache *cache = habits->manager->cache;
    mp_str address = mp_str_of(b->address);

    b->is_used = b->is_used || mp__cache_was_read(cache, address, b->hash, 0);
    b->uses = mp__cache_expect(cache, address, b->hash, USES);
}

static void count_arrivals(const mp__habits *habits)
{
    for (size_t i = 0; i < habits->brought_count; i++)
        if (habits->brought[i].uses < 0)
            count_arrival(habits, &habits->brought[i]);
}

static void watch_for_use(mp__habits *habits, char *address, uint64_t hash)
{
    if (!habits->brought)
        habits->brought = mp__calloc(BROUGHT_MAX, sizeof(*habits->brought));
    if (!habits->brought || habits->brought_count == BROUGHT_MAX) {
        (void)mp__free(address);
        return;
    }
    habits->brought[habits->brought_count] =
        (brought){.address = address, .hash = hash, .uses = -1};
    count_arrival(habits, &habits->brought[habits->brought_count++]);
}

/* Bring @address, which is taken over, into memory as fresh as the origin can make it. */
static void bring(mp__habits *habits, char *text)
{
    mp__manager *manager = habits->manager;
    mp_str address = mp_str_of(text);
    uint64_t hash = mp__cache_hash(manager->hasher, address);
    const mp__entry *entry = NULL;

    if (mp__cache_expect(manager->cache, address, hash, USES) >= 0) { /* it shall stay */
        (void)mp__free(text);
        return;
    }
    if (mp__cache_load_memory(manager->cache, address, hash, &entry) == 0 ||
        mp__cache_load_nowait(manager->cache, address, hash, &entry) == 0)
        (void)mp__flight_refresh(manager, entry, hash, true);
    else
        mp__flight_heal(manager, address, hash);
    (void)mp__entry_unref(entry);
    (void)pthread_mutex_lock(&habits->lock);
    habits->predicted++;
    (void)pthread_mutex_unlock(&habits->lock);
    watch_for_use(habits, text, hash);
}

static void bring_some(mp__habits *habits)
{
    mp__manager *manager = habits->manager;

    while (!atomic_load(&habits->stopping) && mp__origin_answers(manager) &&
           atomic_load(&manager->flights_under_way) < UNDER_WAY_MOST) {
        char *address = NULL;

        (void)pthread_mutex_lock(&habits->lock);
        if (habits->wanted_count) {
            address = habits->wanted[habits->wanted_first];
            habits->wanted_first = (habits->wanted_first + 1) % WANTED_MAX;
            habits->wanted_count--;
        }
        (void)pthread_mutex_unlock(&habits->lock);
        if (!address)
            return;
        bring(habits, address);
    }
}

/* ---- how it went ---- */

static bool was_used(const mp__habits *habits, const brought *b)
{
    return b->is_used ||
           (b->uses >= 0 &&
            mp__cache_was_read(habits->manager->cache, mp_str_of(b->address), b->hash, b->uses));
}

/* Of what was brought: which was read since. At the end of an hour what was not counts as never
 * read. */
static void count_uses(mp__habits *habits, bool at_the_end)
{
    uint64_t saved = 0, wasted = 0;
    size_t kept = 0;

    if (habits->brought_count)
        mp__cache_uses_settle(habits->manager->cache);
    for (size_t i = 0; i < habits->brought_count; i++) {
        brought *b = &habits->brought[i];
        bool is_used = was_used(habits, b);

        if (is_used || at_the_end) {
            saved += is_used;
            wasted += !is_used;
            (void)mp__free(b->address);
        } else {
            habits->brought[kept++] = *b;
        }
    }
    habits->brought_count = kept;
    (void)pthread_mutex_lock(&habits->lock);
    habits->saved += saved;
    habits->wasted += wasted;
    (void)pthread_mutex_unlock(&habits->lock);
}

/* So that who looks at the figures does not wait for the end of the hour. */
static void count_uses_now_and_then(mp__habits *habits)
{
    uint64_t now = mp__env_now_ns(habits->manager->env);

    if (now - habits->counted_ns < COUNT_EVERY_NS)
        return;
    habits->counted_ns = now;
    count_uses(habits, false);
}

static void save(mp__habits *habits)
{
    mp__buf json = MP__BUF_INIT;
    char path[4200];

    (void)snprintf(path, sizeof(path), "%s/habits.json", habits->manager->data_dir);
    (void)pthread_mutex_lock(&habits->lock);
    mp__habit_model_json(habits->model, &json);
    (void)pthread_mutex_unlock(&habits->lock);
    if (json.error == 0) /* on a full or broken disk what was learned is in memory only */
        (void)mp__env_write_file_atomic(habits->manager->env, path, json.data, json.size);
    mp__buf_done(&json);
}

static void look_at_the_clock(mp__habits *habits)
{
    int64_t now = mp__env_wall_ms(habits->manager->env), hour = (now + BEFORE_MS) / HOUR_MS;

    if (hour != habits->expected_hour) {
        count_uses(habits, habits->expected_hour != 0);
        if (habits->expected_hour == 0)
            expect_hour(habits, now);
        if (habits->expected_hour != 0 || hour != now / HOUR_MS)
            expect_hour(habits, hour * HOUR_MS);
        habits->expected_hour = hour;
    }
    if (now - habits->saved_ms > SAVE_EVERY_MS || now < habits->saved_ms) {
        if (habits->saved_ms)
            save(habits);
        habits->saved_ms = now;
    }
}

/* Each IDLE_MS, groups or none: where many read, one comes before the worker was idle so long. */
static bool is_due(mp__habits *habits, bool is_idle)
{
    uint64_t now = mp__env_now_ns(habits->manager->env);

    if (!is_idle && now - habits->looked_ns < IDLE_MS * 1000000u)
        return false;
    habits->looked_ns = now;
    return true;
}

static void run_batch(void *context, mp__task *first)
{
    mp__habits *habits = context;
    bool is_idle = !first;

    mp__worker_run_each(NULL, first);
    if (is_due(habits, is_idle) && !atomic_load(&habits->stopping)) {
        look_at_the_clock(habits);
        if (atomic_exchange(&habits->is_wished, false))
            expect_hour(habits, mp__env_wall_ms(habits->manager->env));
        bring_some(habits);
        count_arrivals(habits);
        count_uses_now_and_then(habits);
    }
}

/* ---- a life ---- */

static void load(mp__habits *habits)
{
    char path[4200], *json = NULL;
    size_t size = 0;

    (void)snprintf(path, sizeof(path), "%s/habits.json", habits->manager->data_dir);
    if (mp__env_read_file(habits->manager->env, path, FILE_MAX, &json, &size) != 0)
        return;
    if (mp__habit_model_load(habits->model, mp_str_new(json, size)) != 0)
        mp__event_note(habits->manager, "habits", "habits.json is damaged; learning begins anew");
    (void)mp__free(json);
}

int mp__habits_new(mp__manager *manager, const mp__options *options)
{
    size_t keys_max = (size_t)mp__options_int(options, "cache.habits_keys");
    mp__habits *habits;
    uint64_t secret;
    int rc;

    if (keys_max == 0)
        return 0;
    habits = mp__calloc(1, sizeof(*habits));
    if (!habits)
        return MP_ENOMEM;
    habits->manager = manager;
    (void)pthread_mutex_init(&habits->lock, NULL);
    mp__env_random(manager->env, &secret, sizeof(secret));
    rc = mp__habit_model_new(keys_max, secret, &habits->model);
    if (rc == 0) {
        load(habits);
        rc = mp__worker_new_idle(manager->env, "mp-habits", IDLE_MS, run_batch, habits,
                                 &habits->worker);
    }
    if (rc) {
        (void)mp__habits_free(habits);
        return rc;
    }
    manager->habits = habits;
    return 0;
}

void mp__habits_stop(mp__habits *habits)
{
    if (!habits)
        return;
    atomic_store(&habits->stopping, true);
    habits->worker = mp__worker_free(habits->worker);
    save(habits);
}

mp__habits *mp__habits_free(mp__habits *habits)
{
    if (!habits)
        return NULL;
    habits->worker = mp__worker_free(habits->worker);
    for (; habits->wanted_count; habits->wanted_count--) {
        (void)mp__free(habits->wanted[habits->wanted_first]);
        habits->wanted_first = (habits->wanted_first + 1) % WANTED_MAX;
    }
    for (size_t i = 0; i < habits->brought_count; i++)
        (void)mp__free(habits->brought[i].address);
    (void)mp__free(habits->brought);
    habits->model = mp__habit_model_free(habits->model);
    (void)pthread_mutex_destroy(&habits->lock);
    return mp__free(habits);
}

void mp__habits_json(mp__habits *habits, mp__buf *out)
{
    (void)pthread_mutex_lock(&habits->lock);
    mp__json_add_u64(out, "keys", mp__habit_model_count(habits->model));
    mp__json_add_u64(out, "groups", habits->groups);
    mp__json_add_u64(out, "looks", habits->looks);
    mp__json_add_u64(out, "waiting", habits->wanted_count);
    mp__json_add_u64(out, "brought", habits->predicted);
    mp__json_add_u64(out, "first_reads_saved", habits->saved);
    mp__json_add_u64(out, "never_read", habits->wasted);
    mp__json_add_u64(out, "dropped", habits->dropped);
    (void)pthread_mutex_unlock(&habits->lock);
}

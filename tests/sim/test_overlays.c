/* SPDX-License-Identifier: Apache-2.0 */
/* Overlays in a simulated machine: readers of scopes while writers set, delete, mask and move
 * values between layers, workers are slow, the origin goes and the daemon is started anew, each
 * life from its seed. MP_SEED=n runs that one alone, MP_SOAK=n runs so many times as many.
 *
 * What must hold: an answer is what the layers resolved to at some moment between the question and
 * the answer, whatever moved between them meanwhile; and only a key of which something cannot be
 * known is answered with unknown. */
#include "mp_test.h"

#include <inttypes.h>
#include <stdlib.h>

#include "manager/manager.h"
#include "mp_sim.h"

enum { KEYS = 3, LAYERS = 4, READERS = 12, WRITERS = 3, LIVES = 12, STEPS = 4000, STATES_MAX = 64 };
enum { NOTHING = 0, MASKED = -1 };

static const char *const scopes[LAYERS] = {"base", "production", "production~eu",
                                           "production~eu~i7"};
static const mp__identity identity = {"test"};

typedef struct key_state {
    int64_t now[LAYERS], next[LAYERS]; /* next: once the write under way is committed */
    bool is_writing;
} key_state;

typedef struct reader {
    mp__read read;
    bool is_busy, origin_was_well;
    int key, depth;
    int64_t states[STATES_MAX]; /* what it may be told */
    int count;
    char address[64];
} reader;

typedef struct writer {
    mp__write_request request;
    mp__change changes[2];
    char addresses[2][64], values[2][24];
    bool is_busy;
    int key;
} writer;

static struct {
    uint64_t seed;
    mp_sim *sim;
    mp__manager *manager;
    mp__options *options;
    mp__loop *loop;
    mp__timer *timer;
    key_state keys[KEYS];
    reader readers[READERS];
    writer writers[WRITERS];
    int64_t values;
    bool origin_is_away;
} l;

static struct {
    uint64_t found, absent, unknown, stale, moved;
} told;

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail_msg("seed %" PRIu64 ", %" PRIu64 " ms: %s", l.seed,                               \
                     mp__env_now_ns(mp_sim_env(l.sim)) / 1000000, #condition);                     \
    } while (0)

/* ---- the model ---- */

static int64_t resolve(const int64_t *layers, int depth)
{
    for (int i = depth; i >= 0; i--)
        if (layers[i])
            return layers[i] == MASKED ? NOTHING : layers[i];
    return NOTHING;
}

static void may_be_told(reader *r, const int64_t *layers)
{
    int64_t state = resolve(layers, r->depth);

    for (int i = 0; i < r->count; i++)
        if (r->states[i] == state)
            return;
    MUST(r->count < STATES_MAX);
    r->states[r->count++] = state;
}

static void write_begins(int key)
{
    for (int i = 0; i < READERS; i++)
        if (l.readers[i].is_busy && l.readers[i].key == key)
            may_be_told(&l.readers[i], l.keys[key].next);
}

/* ---- reading ---- */

static void check(reader *r)
{
    mp__read *read = &r->read;
    int64_t value = NOTHING;
    bool fits = false;
    char text[24];

    r->is_busy = false;
    if (read->status == 0 || read->status == MP_EABSENT) {
        if (read->status == 0) {
            snprintf(text, sizeof(text), "%.*s", (int)read->entry->blob.pub.size,
                     (const char *)read->entry->blob.pub.data);
            value = strtoll(text, NULL, 10);
        }
        for (int i = 0; i < r->count; i++)
            fits = fits || r->states[i] == value;
        if (!fits)
            print_message("# k%d in %s, level %d: %" PRId64 "\n", r->key, scopes[r->depth],
                          read->level, value);
        MUST(fits);
        told.found += read->status == 0;
        told.absent += read->status != 0;
        told.stale += read->stale;
    } else {
        MUST(!r->origin_was_well || l.origin_is_away);
        told.unknown++;
    }
    (void)mp__entry_unref(read->entry);
}

static void read_done(mp__read *read)
{
    check(read->context);
}

static void read_one(reader *r)
{
    static const enum mp__level levels[] = {MP__LEVEL_EVENTUAL, MP__LEVEL_EVENTUAL,
                                            MP__LEVEL_STRONG};
    key_state *key;

    r->key = (int)mp_sim_random(l.sim, KEYS);
    r->depth = (int)mp_sim_random(l.sim, LAYERS);
    r->count = 0;
    r->is_busy = true;
    r->origin_was_well = !l.origin_is_away;
    key = &l.keys[r->key];
    may_be_told(r, key->now);
    if (key->is_writing)
        may_be_told(r, key->next);
    snprintf(r->address, sizeof(r->address), "%s/default/k%d", scopes[r->depth], r->key);
    r->read = (mp__read){.loop = l.loop,
                         .address = mp_str_of(r->address),
                         .identity = &identity,
                         .level = levels[mp_sim_random(l.sim, 3)],
                         .age_max_ms = -1,
                         .done = read_done,
                         .context = r};
    r->read.hash = mp__cache_hash(mp__manager_hasher(l.manager), r->read.address);
    if (mp__read_start(l.manager, &r->read))
        check(r);
}

/* ---- writing ---- */

static void write_done(mp__write_request *request)
{
    writer *w = request->context;
    key_state *key = &l.keys[w->key];

    w->is_busy = key->is_writing = false;
    if (request->status == 0)
        memcpy(key->now, key->next, sizeof(key->now));
    else
        MUST(request->status == MP_EORIGIN || request->status == MP_EORIGINLOST ||
             request->status == MP_EDEGRADED);
}

/* One change of the key in @layer: deleted, masked or set to @value. */
static void change(writer *w, size_t i, int layer, int64_t value)
{
    mp__change *c = &w->changes[i];

    snprintf(w->addresses[i], sizeof(w->addresses[i]), "%s/default/k%d", scopes[layer], w->key);
    snprintf(w->values[i], sizeof(w->values[i]), "%" PRId64, value);
    *c = (mp__change){.op = value == NOTHING ? MP__CHANGE_DELETE : MP__CHANGE_PUT,
                      .address = mp_str_of(w->addresses[i])};
    if (value == MASKED)
        c->media_type = MP_STR(MP__MEDIA_MASK);
    else if (value != NOTHING)
        c->value = mp_str_of(w->values[i]);
    l.keys[w->key].next[layer] = value;
}

static void write_one(writer *w)
{
    int key = (int)mp_sim_random(l.sim, KEYS), layer = (int)mp_sim_random(l.sim, LAYERS);
    int other = (layer + 1 + (int)mp_sim_random(l.sim, LAYERS - 1)) % LAYERS;
    uint64_t what = mp_sim_random(l.sim, 10);
    size_t count = 1;

    if (l.keys[key].is_writing)
        return;
    w->key = key;
    w->is_busy = l.keys[key].is_writing = true;
    memcpy(l.keys[key].next, l.keys[key].now, sizeof(l.keys[key].next));
    if (what < 3) {
        change(w, 0, layer, ++l.values);
    } else if (what < 5) {
        change(w, 0, layer, NOTHING);
    } else if (what == 5) {
        change(w, 0, layer, MASKED);
    } else { /* it moves: in whichever order the two are written */
        size_t first = mp_sim_random(l.sim, 2);

        change(w, first, layer, NOTHING);
        change(w, 1 - first, other, ++l.values);
        count = 2;
        told.moved++;
    }
    w->request = (mp__write_request){.loop = l.loop,
                                     .identity = &identity,
                                     .changes = w->changes,
                                     .count = count,
                                     .done = write_done,
                                     .context = w};
    write_begins(key);
    mp__write_start(l.manager, &w->request);
}

/* ---- the daemon ---- */

static void tick(void *context)
{
    (void)context;
    if (!l.manager)
        return;
    mp__manager_tick(l.manager, mp__env_wall_ms(mp_sim_env(l.sim)),
                     mp__env_now_ns(mp_sim_env(l.sim)));
    mp__manager_deadlines(l.manager, l.loop);
}

static void start(void)
{
    mp__manager_config config = {
        .env = mp_sim_env(l.sim), .options = l.options, .data_dir = "/data"};

    MUST(mp__manager_open(&config, &l.manager, NULL) == 0);
    tick(NULL);
}

static bool is_idle(void *context)
{
    (void)context;
    for (int i = 0; i < READERS; i++)
        if (l.readers[i].is_busy)
            return false;
    for (int i = 0; i < WRITERS; i++)
        if (l.writers[i].is_busy)
            return false;
    return true;
}

static void origin_moves(bool away)
{
    if (l.origin_is_away == away)
        return;
    if (away)
        l.origin_is_away = true;
    MUST(mp__env_rename(mp_sim_env(l.sim), away ? "/data/origin.db" : "/away",
                        away ? "/away" : "/data/origin.db") == 0);
    mp_sim_run(l.sim, 3000);
    l.origin_is_away = away;
}

static void step(void)
{
    uint64_t what = mp_sim_random(l.sim, 1000);

    for (int i = 0; i < READERS; i++)
        if (!l.readers[i].is_busy && mp_sim_random(l.sim, 3) == 0)
            read_one(&l.readers[i]);
    if (!l.origin_is_away)
        for (int i = 0; i < WRITERS; i++)
            if (!l.writers[i].is_busy && mp_sim_random(l.sim, 4) == 0)
                write_one(&l.writers[i]);
    if (what < 4) {
        mp_sim_slow(l.sim, what < 2 ? "mp-origin-r" : "mp-origin-w", 0, 20);
    } else if (what < 8) {
        mp_sim_slow(l.sim, "", 0, 0);
    } else if (what == 8) {
        MUST(mp_sim_run_until(l.sim, is_idle, NULL, 60000)); /* no write of unknown outcome */
        origin_moves(true);
    } else if (what < 12) {
        origin_moves(false);
    } else if (what == 12) {
        MUST(mp_sim_run_until(l.sim, is_idle, NULL, 60000));
        l.manager = mp__manager_close(l.manager);
        start();
    }
    for (uint64_t n = mp_sim_random(l.sim, 12); n > 0; n--)
        (void)mp_sim_step(l.sim);
}

static void live(uint64_t seed)
{
    memset(&l, 0, sizeof(l));
    l.seed = seed;
    l.sim = mp_sim_new(seed);
    assert_int_equal(mp__options_new(&l.options), 0);
    assert_int_equal(mp__loop_new(mp_sim_env(l.sim), "mp-loop-0", &l.loop), 0);
    assert_int_equal(mp__timer_new(l.loop, tick, NULL, &l.timer), 0);
    mp__timer_start(l.timer, 50, 50);
    start();
    for (int i = 0; i < STEPS; i++)
        step();
    origin_moves(false);
    mp_sim_slow(l.sim, "", 0, 0);
    MUST(mp_sim_run_until(l.sim, is_idle, NULL, 60000));
    l.manager = mp__manager_close(l.manager);
    l.timer = mp__timer_free(l.timer);
    l.loop = mp__loop_free(l.loop);
    l.options = mp__options_free(l.options);
    l.sim = mp_sim_free(l.sim);
}

static void an_answer_is_what_the_layers_resolved_to_at_one_moment(void **state)
{
    const char *one = getenv("MP_SEED"), *soak = getenv("MP_SOAK");
    uint64_t lives = LIVES * (soak ? strtoull(soak, NULL, 10) : 1);

    (void)state;
    if (one) {
        live(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= lives; seed++)
        live(seed);
    print_message("# %" PRIu64 " values, %" PRIu64 " absent, %" PRIu64 " unknown, %" PRIu64
                  " stale, %" PRIu64 " moves\n",
                  told.found, told.absent, told.unknown, told.stale, told.moved);
    assert_true(told.found > 1000 && told.absent > 1000 && told.stale > 10 && told.moved > 100);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(an_answer_is_what_the_layers_resolved_to_at_one_moment),
};
MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* The read and the write path in a simulated machine: hours of reads and writes with everything
 * going wrong that can, each life from its seed. MP_SEED=n runs that one alone, MP_SOAK=n runs so
 * many times as many. What must hold whatever happens:
 *
 *   a revision has one value for ever, and it is one that somebody wrote under that key
 *   an answer that is not marked stale is not older than what was acknowledged before it was asked
 *   a strong answer is not older than that, and never stale
 *   after a crash what was acknowledged is there, and what was kept longer than a sync is kept
 *   absent is only what was deleted or never written
 *   every request is answered, in time */
#include "mp_test.h"

#include <inttypes.h>
#include <stdlib.h>

#include "core/alloc.h"
#include "manager/manager.h"
#include "mp_sim.h"

enum {
    KEYS = 24,
    CLIENTS = 8,
    SEQUENCES = 40000,
    REVISIONS = 60000,
    SYNCED_MS = 9000,  /* l3_sync_interval is 1 s, but L3's writer may be 6 s late */
    ANSWER_MS = 40000, /* origin.timeout is 2 s, but every worker may be 6 s late */
};

/* ---- what is known of a key ---- */

typedef struct key_model {
    uint64_t acknowledged; /* newest revision whose commit was told */
    uint64_t settled;      /* of those, what L3 must keep through a crash */
    uint64_t settling, settling_ns;
    bool is_absent;      /* the newest acknowledged change was a deletion, or there is none */
    bool may_be_absent;  /* a deletion of unknown outcome came after that */
    uint64_t deleted_ns; /* when a deletion was last under way */
    bool is_writing;
} key_model;

typedef struct client {
    mp__read read;
    mp__write_request write;
    mp__change change;
    bool is_busy, is_write;
    unsigned key;
    uint64_t sequence, began_ns, floor, settled;
    bool was_absent, may_be_absent, origin_was_well;
    char address[64], value[64];
} client;

typedef struct life {
    uint64_t seed;
    mp_sim *sim;
    mp__manager *manager;
    mp__options *options;
    mp__loop *loop;
    mp__timer *timer;
    key_model keys[KEYS];
    client clients[CLIENTS];
    uint64_t sequence;
    uint64_t value_of_revision[REVISIONS]; /* sequence + 1; 0: not seen */
    unsigned key_of_sequence[SEQUENCES];
    uint64_t reads, writes, stale, unknown, crashes, fresh, acknowledged, absent;
    bool is_closing;
    uint64_t crashed_ns;
} life;

static life *now; /* for messages */

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_message("# seed %" PRIu64 ", %" PRIu64 " ms: %s\n", now->seed,                   \
                          mp__env_now_ns(mp_sim_env(now->sim)) / 1000000, #condition);             \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static uint64_t clock_ns(const life *l)
{
    return mp__env_now_ns(mp_sim_env(l->sim));
}

/* ---- the daemon ---- */

static void tick(void *context)
{
    life *l = context;

    if (!l->manager)
        return;
    mp__manager_tick(l->manager, mp__env_wall_ms(mp_sim_env(l->sim)), clock_ns(l));
    mp__manager_deadlines(l->manager, l->loop);
}

static void start(life *l)
{
    mp__manager_config config = {
        .env = mp_sim_env(l->sim), .options = l->options, .data_dir = "/data"};
    mp__diag diag = {0};
    int rc = mp__manager_open(&config, &l->manager, &diag);

    if (rc)
        print_message("# seed %" PRIu64 ": %s\n", l->seed, diag.text);
    MUST(rc == 0);
    tick(l);
}

/* ---- reads ---- */

static uint64_t sequence_of(const life *l, const mp__entry *entry)
{
    char text[64];
    uint64_t sequence;

    MUST(entry->blob.pub.size < sizeof(text));
    memcpy(text, entry->blob.pub.data, entry->blob.pub.size);
    text[entry->blob.pub.size] = '\0';
    MUST(memcmp(text, "value ", 6) == 0);
    sequence = strtoull(text + 6, NULL, 10);
    MUST(sequence < l->sequence);
    return sequence;
}

static void check_value(life *l, const client *c)
{
    const mp__entry *entry = c->read.entry;
    uint64_t sequence = sequence_of(l, entry);

    MUST(l->key_of_sequence[sequence] == c->key);
    MUST(entry->revision < REVISIONS);
    if (l->value_of_revision[entry->revision] == 0)
        l->value_of_revision[entry->revision] = sequence + 1;
    MUST(l->value_of_revision[entry->revision] == sequence + 1);
    MUST(entry->revision >= c->settled || c->read.level == MP__LEVEL_WEAK);
    if (c->read.stale) {
        l->stale++;
        MUST(c->read.level != MP__LEVEL_STRONG);
        MUST(c->read.age_ms >= 0);
    } else if (c->read.level != MP__LEVEL_WEAK) {
        l->fresh++;
        MUST(entry->revision >= c->floor);
    }
}

static void check_absent(life *l, const client *c)
{
    const key_model *k = &l->keys[c->key];

    l->absent++;
    if (c->read.stale || c->read.level == MP__LEVEL_WEAK)
        return; /* the last that is known may be a deletion from before */
    MUST(c->was_absent || c->may_be_absent || k->may_be_absent || k->deleted_ns >= c->began_ns);
}

static void read_ended(life *l, client *c)
{
    c->is_busy = false;
    l->reads++;
    if (!l->is_closing)
        MUST(clock_ns(l) - c->began_ns <= (uint64_t)ANSWER_MS * 1000000);
    if (c->read.status == 0)
        check_value(l, c);
    else if (c->read.status == MP_EABSENT)
        check_absent(l, c);
    else
        l->unknown++;
    (void)mp__entry_unref(c->read.entry);
    c->read.entry = NULL;
}

static void read_done(mp__read *read)
{
    read_ended(now, read->context);
}

static void begin_read(life *l, client *c)
{
    static const mp__identity identity = {"test"};
    const key_model *k = &l->keys[c->key];

    memset(&c->read, 0, sizeof(c->read));
    c->floor = k->acknowledged;
    c->settled = k->settled;
    c->was_absent = k->is_absent;
    c->may_be_absent = k->may_be_absent;
    c->is_write = false;
    c->read.loop = l->loop;
    c->read.address = mp_str_of(c->address);
    c->read.hash = mp__cache_hash(mp__manager_hasher(l->manager), c->read.address);
    c->read.identity = &identity;
    c->read.level = (enum mp__level)mp_sim_random(l->sim, 3);
    c->read.age_max_ms = -1;
    c->read.done = read_done;
    c->read.context = c;
    if (mp__read_start(l->manager, &c->read))
        read_ended(l, c);
}

/* ---- writes ---- */

static void acknowledge(life *l, const client *c)
{
    key_model *k = &l->keys[c->key];
    uint64_t revision = c->write.revision;

    l->acknowledged++;
    MUST(revision < REVISIONS);
    if (c->change.op == MP__CHANGE_PUT) {
        MUST(l->value_of_revision[revision] == 0 ||
             l->value_of_revision[revision] == c->sequence + 1);
        l->value_of_revision[revision] = c->sequence + 1;
    }
    if (revision == 0)
        return; /* a deletion of what was not there */
    MUST(revision > k->acknowledged);
    k->acknowledged = revision;
    k->is_absent = c->change.op == MP__CHANGE_DELETE;
    k->may_be_absent = false;
    if (!k->settling || clock_ns(l) - k->settling_ns > (uint64_t)SYNCED_MS * 1000000) {
        if (k->settling)
            k->settled = k->settling;
        k->settling = k->is_absent ? 0 : revision;
        k->settling_ns = clock_ns(l);
    }
    if (k->is_absent)
        k->settled = k->settling = 0;
}

static void write_done(mp__write_request *request)
{
    life *l = now;
    client *c = request->context;
    key_model *k = &l->keys[c->key];

    c->is_busy = false;
    k->is_writing = false;
    if (c->change.op == MP__CHANGE_DELETE)
        k->deleted_ns = clock_ns(l);
    if (request->status == 0)
        acknowledge(l, c);
    else if (c->change.op == MP__CHANGE_DELETE && request->status != MP_EABSENT)
        k->may_be_absent = true;
    (void)mp_blob_unref(request->old_value);
}

static void begin_write(life *l, client *c)
{
    static const mp__identity identity = {"test"};
    key_model *k = &l->keys[c->key];

    MUST(l->sequence < SEQUENCES);
    memset(&c->write, 0, sizeof(c->write));
    memset(&c->change, 0, sizeof(c->change));
    c->is_write = true;
    k->is_writing = true;
    c->sequence = l->sequence++;
    l->key_of_sequence[c->sequence] = c->key;
    snprintf(c->value, sizeof(c->value), "value %" PRIu64, c->sequence);
    c->change.op = mp_sim_random(l->sim, 6) ? MP__CHANGE_PUT : MP__CHANGE_DELETE;
    if (c->change.op == MP__CHANGE_DELETE)
        k->deleted_ns = UINT64_MAX; /* under way */
    c->change.address = mp_str_of(c->address);
    c->change.value = mp_str_of(c->change.op == MP__CHANGE_PUT ? c->value : "");
    c->write.loop = l->loop;
    c->write.identity = &identity;
    c->write.changes = &c->change;
    c->write.count = 1;
    c->write.done = write_done;
    c->write.context = c;
    l->writes++;
    mp__write_start(l->manager, &c->write);
}

static void begin_something(life *l)
{
    client *c = &l->clients[mp_sim_random(l->sim, CLIENTS)];

    if (c->is_busy)
        return;
    c->is_busy = true;
    c->key = (unsigned)mp_sim_random(l->sim, KEYS);
    c->began_ns = clock_ns(l);
    snprintf(c->address, sizeof(c->address), "production/default/key-%u", c->key);
    if (!l->keys[c->key].is_writing && mp_sim_random(l->sim, 4) == 0)
        begin_write(l, c);
    else
        begin_read(l, c);
}

/* ---- what goes wrong ---- */

static bool all_answered(void *context)
{
    const life *l = context;

    for (int i = 0; i < CLIENTS; i++)
        if (l->clients[i].is_busy)
            return false;
    return true;
}

static void settle_at_crash(life *l)
{
    for (int i = 0; i < KEYS; i++) {
        key_model *k = &l->keys[i];

        if (k->settling && clock_ns(l) - k->settling_ns > (uint64_t)SYNCED_MS * 1000000)
            k->settled = k->settling;
        k->settling = 0;
    }
}

/* The process dies: what it does from here on reaches nothing. Then it is started again. */
static void crash(life *l, enum mp_platter_crash kind)
{
    settle_at_crash(l);
    mp_platter_power_off(mp_sim_disk(l->sim), kind);
    l->is_closing = true;
    MUST(mp_sim_run_until(l->sim, all_answered, l, 600000));
    l->manager = mp__manager_close(l->manager);
    l->is_closing = false;
    mp_platter_power_on(mp_sim_disk(l->sim));
    l->crashes++;
    start(l);
}

static void do_something_else(life *l, uint64_t ms)
{
    uint64_t end = clock_ns(l) + ms * 1000000;

    while (clock_ns(l) < end) {
        begin_something(l);
        mp_sim_run(l->sim, mp_sim_random(l->sim, 400));
    }
}

/* The origin's files are somewhere else for a while, perhaps over a crash. */
static void move_origin_away(life *l)
{
    static const char *const names[] = {"origin.db", "origin.db-wal"};
    mp_env *env = mp_sim_env(l->sim);
    char from[64], to[64];

    for (int i = 0; i < 2; i++) {
        snprintf(from, sizeof(from), "/data/%s", names[i]);
        snprintf(to, sizeof(to), "/away-%s", names[i]);
        (void)mp__env_rename(env, from, to);
    }
    do_something_else(l, 1000 + mp_sim_random(l->sim, 8000));
    if (mp_sim_random(l->sim, 2))
        crash(l, MP_PLATTER_KILL);
    do_something_else(l, 1000 + mp_sim_random(l->sim, 8000));
    for (int i = 1; i >= 0; i--) {
        snprintf(from, sizeof(from), "/away-%s", names[i]);
        snprintf(to, sizeof(to), "/data/%s", names[i]);
        (void)mp__env_rename(env, from, to);
    }
    /* or a power cut moves it away again */
    (void)mp__env_sync_dir(env, "/data");
    (void)mp__env_sync_dir(env, "/");
}

static void go_wrong(life *l)
{
    mp_platter *disk = mp_sim_disk(l->sim);

    switch (mp_sim_random(l->sim, 9)) {
    case 0:
        crash(l, MP_PLATTER_KILL);
        break;
    case 1:
        crash(l, MP_PLATTER_LOSE);
        break;
    case 2:
        crash(l, MP_PLATTER_TEAR);
        break;
    case 3:
        mp_platter_fail(disk, MP_PLATTER_SYNC, 1 + mp_sim_random(l->sim, 3),
                        1 + mp_sim_random(l->sim, 5), -5 /* EIO */);
        do_something_else(l, 5000);
        mp_platter_fail(disk, 0, 0, 0, 0);
        break;
    case 4:
        mp_platter_set_capacity(disk, mp_platter_used(disk) + mp_sim_random(l->sim, 20000));
        do_something_else(l, 10000);
        mp_platter_set_capacity(disk, UINT64_MAX);
        break;
    case 5:
        mp_platter_fail(disk, MP_PLATTER_WRITE, 1 + mp_sim_random(l->sim, 5),
                        1 + mp_sim_random(l->sim, 3), -5 /* EIO */);
        do_something_else(l, 5000);
        mp_platter_fail(disk, 0, 0, 0, 0);
        break;
    case 6:
        mp_sim_slow(l->sim, mp_sim_random(l->sim, 2) ? "mp-origin" : "mp-l3", 0, 6000);
        do_something_else(l, 15000);
        mp_sim_slow(l->sim, "", 0, 0);
        break;
    case 7:
        mp_sim_jump(l->sim, (int64_t)mp_sim_random(l->sim, 7200000) - 3600000);
        break;
    default:
        move_origin_away(l);
        break;
    }
}

/* ---- one life ---- */

static void end(life *l)
{
    MUST(mp_sim_run_until(l->sim, all_answered, l, 600000));
    l->manager = mp__manager_close(l->manager);
    l->timer = mp__timer_free(l->timer);
    l->loop = mp__loop_free(l->loop);
    (void)mp__options_free(l->options);
    l->sim = mp_sim_free(l->sim);
}

static life *begin(uint64_t seed)
{
    life *l = test_calloc(1, sizeof(*l));

    now = l;
    l->seed = seed;
    l->sim = mp_sim_new(seed);
    for (int i = 0; i < KEYS; i++)
        l->keys[i].is_absent = true;
    assert_int_equal(mp__options_new(&l->options), 0);
    assert_int_equal(mp__options_set(l->options, "cache.l1_size", "12", NULL), 0);
    assert_int_equal(mp__options_set(l->options, "cache.default_ttl", "20s", NULL), 0);
    assert_int_equal(mp__loop_new(mp_sim_env(l->sim), "mp-loop-0", &l->loop), 0);
    assert_int_equal(mp__timer_new(l->loop, tick, l, &l->timer), 0);
    mp__timer_start(l->timer, 100, 100);
    return l;
}

static void tell_state(life *l, const client *c)
{
    mp__buf status = MP__BUF_INIT;

    (void)mp__manager_status(l->manager, NULL, &status);
    print_message("# %s at level %s: %s\n# %.*s\n", c->address, mp__level_name(c->read.level),
                  mp_strerror(c->read.status), (int)status.size, status.data);
    mp__buf_done(&status);
}

/* At the end of a life nothing is wrong any more: everything acknowledged must be there. */
static void look_at_all(life *l)
{
    for (unsigned i = 0; i < KEYS; i++) {
        client *c = &l->clients[0];
        uint64_t floor = l->keys[i].acknowledged;

        c->is_busy = true;
        c->key = i;
        c->began_ns = clock_ns(l);
        snprintf(c->address, sizeof(c->address), "production/default/key-%u", i);
        begin_read(l, c);
        MUST(mp_sim_run_until(l->sim, all_answered, l, ANSWER_MS));
        if (c->read.status != 0 && c->read.status != MP_EABSENT)
            tell_state(l, c);
        MUST(c->read.status == 0 || c->read.status == MP_EABSENT);
        MUST(l->keys[i].acknowledged == floor);
    }
}

static void live(uint64_t seed, life *totals)
{
    life *l = begin(seed);

    start(l);
    for (int i = 0; i < 60; i++) {
        do_something_else(l, 2000 + mp_sim_random(l->sim, 20000));
        go_wrong(l);
    }
    MUST(mp_sim_run_until(l->sim, all_answered, l, 600000));
    mp_sim_run(l->sim, 130000); /* damage is looked at again after a minute */
    look_at_all(l);
    end(l);
    totals->reads += l->reads;
    totals->writes += l->writes;
    totals->acknowledged += l->acknowledged;
    totals->fresh += l->fresh;
    totals->stale += l->stale;
    totals->unknown += l->unknown;
    totals->absent += l->absent;
    totals->crashes += l->crashes;
    test_free(l);
}

static uint64_t number_of(const char *name, uint64_t or_else)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : or_else;
}

static void nothing_acknowledged_is_lost_and_nothing_wrong_is_served(void **state)
{
    life *totals = test_calloc(1, sizeof(*totals));
    uint64_t only = number_of("MP_SEED", 0), lives = 12 * number_of("MP_SOAK", 1);

    (void)state;
    for (uint64_t i = 0; i < (only ? 1 : lives); i++)
        live(only ? only : 1 + i, totals);
    print_message("# %" PRIu64 " reads (%" PRIu64 " fresh, %" PRIu64 " stale, %" PRIu64
                  " absent, %" PRIu64 " unknown), %" PRIu64 " writes (%" PRIu64
                  " acknowledged), %" PRIu64 " crashes\n",
                  totals->reads, totals->fresh, totals->stale, totals->absent, totals->unknown,
                  totals->writes, totals->acknowledged, totals->crashes);
    /* a run in which nothing happens proves nothing */
    assert_true(totals->fresh > 100 && totals->stale > 10 && totals->crashes > 0);
    assert_true(totals->acknowledged > 100 && totals->acknowledged < totals->writes);
    test_free(totals);
}

/* The same seed gives the same life to the last figure. */
static void a_seed_repeats_its_life(void **state)
{
    life *a = test_calloc(1, sizeof(*a)), *b = test_calloc(1, sizeof(*b));

    (void)state;
    live(7, a);
    live(7, b);
    assert_int_equal(a->reads, b->reads);
    assert_int_equal(a->stale, b->stale);
    assert_int_equal(a->acknowledged, b->acknowledged);
    assert_int_equal(a->unknown, b->unknown);
    test_free(a);
    test_free(b);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(a_seed_repeats_its_life),
    MP_TEST(nothing_acknowledged_is_lost_and_nothing_wrong_is_served),
};
MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Three nodes before one origin far away, and clients at each, while wires are cut, peers stopped,
 * changes lost, delayed and reordered, clocks set and nodes started anew. What every client was
 * told is taken down, and a checker decides whether it can be the truth:
 *
 *   strong reads are linearizable with all writes
 *   an eventual answer that is not marked stale is within its hard bound
 *   every age that is told is true
 *   nobody is told an older value after a newer one, nor one from before a write of his own, by the
 *   node he is connected to, whatever level he asks for and however stale it is
 *
 * Both up to LAG_MS, after which a node has noticed at the latest that its watch is broken.
 * MP_SEED=n runs that life alone, MP_SOAK=n so many times as many. */
#include "mp_test.h"

#include <inttypes.h>
#include <stdlib.h>

#include "manager/manager.h"
#include "mp_history.h"
#include "mp_sim.h"
#include "mp_truth.h"

enum {
    NODES = 3,
    CLIENTS = 36,
    KEYS = 4,
    HARD_BOUND_MS = 4000,
    SLOW_CHANGE_MS = 500,
    LAG_MS = MP_TRUTH_LEASE_MS + MP_TRUTH_HEARTBEAT_MS + 2 * SLOW_CHANGE_MS + 250,
};

typedef struct client {
    unsigned node, key;
    uint64_t seen[KEYS]; /* the newest revision that his node told him, since it was started */
    bool is_busy;
    size_t operation;
    uint64_t began_ns;
    mp__read read;
    mp__write_request write;
    mp__change change;
    char address[64], value[32];
} client;

static struct {
    uint64_t seed;
    mp_sim *sim;
    mp_truth *truth;
    mp_history *history;
    mp__options *options;
    mp__loop *loop;
    mp__timer *timer;
    mp__manager *nodes[NODES];
    client clients[CLIENTS];
    uint64_t values;
    bool with_restarts; /* else the clocks are set: an age cannot be known over both */
} l;

static struct {
    uint64_t strong, fresh, stale, weak, failed, written, refused, unsure, in_order;
} told;

static const mp__identity identity = {"test"};

static uint64_t now_ns(void)
{
    return mp__env_now_ns(mp_sim_env(l.sim));
}

/* ---- nodes ---- */

static void tick(void *context)
{
    (void)context;
    for (int i = 0; i < NODES; i++)
        if (l.nodes[i]) {
            mp__manager_tick(l.nodes[i], mp__env_wall_ms(mp_sim_env(l.sim)), now_ns());
            mp__manager_deadlines(l.nodes[i], l.loop);
        }
}

static void open_node(int i)
{
    char dir[16];
    mp__manager_config config = {.env = mp_sim_env(l.sim),
                                 .options = l.options,
                                 .data_dir = dir,
                                 .origin = mp_truth_origin(l.truth)};
    mp__diag diag = {0};

    snprintf(dir, sizeof(dir), "/node-%d", i);
    if (mp__manager_open(&config, &l.nodes[i], &diag) != 0)
        fail_msg("seed %" PRIu64 ": %s", l.seed, diag.text);
    tick(NULL);
}

/* ---- clients ---- */

static uint64_t claimed_ns(const client *c)
{
    const mp__read *r = &c->read;
    int64_t slack_ms = r->reason == MP__REASON_VERIFIED ? 1 : LAG_MS;
    int64_t bound_ms = r->age_ms;

    if (r->level == MP__LEVEL_STRONG)
        return c->began_ns;
    if (r->level == MP__LEVEL_EVENTUAL && !r->stale && bound_ms > HARD_BOUND_MS)
        bound_ms = HARD_BOUND_MS;
    bound_ms += slack_ms;
    return c->began_ns > (uint64_t)bound_ms * 1000000 ? c->began_ns - (uint64_t)bound_ms * 1000000
                                                      : 0;
}

static uint64_t value_of(const mp__read *read)
{
    char text[32];

    if (read->status == MP_EABSENT)
        return 0;
    assert_true(read->entry->blob.pub.size < sizeof(text));
    memcpy(text, read->entry->blob.pub.data, read->entry->blob.pub.size);
    text[read->entry->blob.pub.size] = '\0';
    return strtoull(text, NULL, 10);
}

static void count_read(const mp__read *read)
{
    if (read->stale)
        told.stale++;
    else if (read->level == MP__LEVEL_STRONG)
        told.strong++;
    else if (read->level == MP__LEVEL_WEAK)
        told.weak++;
    else
        told.fresh++;
}

/* Never back: neither behind what he was told before, nor behind what he wrote. */
static void told_revision(client *c, uint64_t revision)
{
    if (revision < c->seen[c->key])
        fail_msg("seed %" PRIu64 ": a client was told revision %" PRIu64
                 " of key %u after %" PRIu64,
                 l.seed, revision, c->key, c->seen[c->key]);
    c->seen[c->key] = revision;
    told.in_order++;
}

static void read_done(mp__read *read)
{
    client *c = read->context;

    c->is_busy = false;
    if (read->status == 0)
        told_revision(c, read->entry->revision);
    if (read->status == 0 || read->status == MP_EABSENT) {
        assert_true(read->age_ms >= 0);
        mp_history_saw(l.history, c->operation, value_of(read), claimed_ns(c), now_ns());
        count_read(read);
    } else {
        mp_history_failed(l.history, c->operation);
        told.failed++;
    }
    (void)mp__entry_unref(read->entry);
}

static void begin_read(client *c)
{
    /* a strong read mends what is wrong, so of every other key there are none */
    bool never_strong = c->key % 2 && mp_sim_random(l.sim, 100);
    enum mp__level level =
        never_strong ? MP__LEVEL_EVENTUAL : (enum mp__level)mp_sim_random(l.sim, 3);
    mp__manager *manager = l.nodes[c->node];

    c->read = (mp__read){.loop = l.loop,
                         .address = mp_str_of(c->address),
                         .identity = &identity,
                         .level = level,
                         .age_max_ms = -1,
                         .done = read_done,
                         .context = c};
    c->read.hash = mp__cache_hash(mp__manager_hash_key(manager), c->read.address);
    c->operation = mp_history_read(
        l.history, c->key, level == MP__LEVEL_STRONG ? MP_HISTORY_STRONG : MP_HISTORY_BOUNDED,
        now_ns());
    if (mp__read_start(manager, &c->read))
        read_done(&c->read);
}

static void write_done(mp__write_request *request)
{
    client *c = request->context;

    c->is_busy = false;
    if (request->status == 0) {
        mp_history_written(l.history, c->operation, now_ns());
        told_revision(c, request->revision);
        told.written++;
    } else if (request->status == MP_ETIMEOUT) {
        told.unsure++; /* it may have happened, or still happen */
    } else {
        mp_history_refused(l.history, c->operation);
        told.refused++;
    }
}

static void begin_write(client *c)
{
    uint64_t value = ++l.values;

    snprintf(c->value, sizeof(c->value), "%" PRIu64, value);
    c->change = (mp__change){
        .op = MP__CHANGE_PUT, .address = mp_str_of(c->address), .value = mp_str_of(c->value)};
    c->write = (mp__write_request){.loop = l.loop,
                                   .identity = &identity,
                                   .changes = &c->change,
                                   .count = 1,
                                   .done = write_done,
                                   .context = c};
    c->operation = mp_history_write(l.history, c->key, value, now_ns());
    mp__write_start(l.nodes[c->node], &c->write);
}

static void begin_something(void)
{
    client *c = &l.clients[mp_sim_random(l.sim, CLIENTS)];

    if (c->is_busy)
        return;
    c->is_busy = true;
    c->key = (unsigned)mp_sim_random(l.sim, KEYS);
    c->began_ns = now_ns();
    snprintf(c->address, sizeof(c->address), "production/default/key-%u", c->key);
    if (mp_sim_random(l.sim, 4) == 0)
        begin_write(c);
    else
        begin_read(c);
}

static void go_on(uint64_t ms)
{
    uint64_t end = now_ns() + ms * 1000000;

    while (now_ns() < end) {
        begin_something();
        mp_sim_run(l.sim, mp_sim_random(l.sim, 20));
    }
}

/* ---- what goes wrong ---- */

static bool node_is_answered(void *context)
{
    for (int i = 0; i < CLIENTS; i++)
        if (l.clients[i].is_busy && l.clients[i].node == *(unsigned *)context)
            return false;
    return true;
}

static void restart(unsigned node)
{
    assert_true(mp_sim_run_until(l.sim, node_is_answered, &node, 60000));
    l.nodes[node] = mp__manager_close(l.nodes[node]);
    for (int i = 0; i < CLIENTS; i++) /* who connects anew is a new client */
        if (l.clients[i].node == node)
            memset(l.clients[i].seen, 0, sizeof(l.clients[i].seen));
    mp_sim_run(l.sim, mp_sim_random(l.sim, 5000));
    open_node((int)node);
}

static void jump(void)
{
    if (!l.with_restarts)
        mp_sim_jump(l.sim, (int64_t)mp_sim_random(l.sim, 20000) - 10000);
}

static void wires_go_wrong(void)
{
    static const char *const slow[] = {"answer", "answer", "request", "change"};
    uint64_t which = mp_sim_random(l.sim, 6);
    char name[16] = "";

    for (unsigned i = 0; i < NODES; i++) {
        mp_truth_cut(l.truth, i, mp_sim_random(l.sim, 5) == 0);
        mp_truth_stop(l.truth, i, mp_sim_random(l.sim, 8) == 0);
    }
    if (mp_sim_random(l.sim, 3) == 0)
        mp_truth_lose(l.truth, 10 + (unsigned)mp_sim_random(l.sim, 90));
    if (which < 4) /* of one node or of all */
        snprintf(name, sizeof(name), mp_sim_random(l.sim, 3) ? "net-%s-%u" : "net-%s", slow[which],
                 (unsigned)mp_sim_random(l.sim, NODES));
    mp_sim_slow(l.sim, name, 0, which < 3 ? 6000 : which == 3 ? SLOW_CHANGE_MS : 0);
}

static void wires_are_mended(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        mp_truth_cut(l.truth, i, false);
        mp_truth_stop(l.truth, i, false);
    }
    mp_truth_lose(l.truth, 0);
    mp_sim_slow(l.sim, "", 0, 0);
}

/* Several things at once, since lies are told where two of them meet. */
static void go_wrong(void)
{
    wires_go_wrong();
    go_on(200 + mp_sim_random(l.sim, 5000));
    if (mp_sim_random(l.sim, 2))
        jump();
    go_on(200 + mp_sim_random(l.sim, 5000));
    if (mp_sim_random(l.sim, 2))
        wires_go_wrong();
    if (mp_sim_random(l.sim, 2))
        jump();
    go_on(200 + mp_sim_random(l.sim, 3000));
    wires_are_mended();
    if (l.with_restarts && mp_sim_random(l.sim, 3) == 0)
        restart((unsigned)mp_sim_random(l.sim, NODES));
}

/* ---- one life ---- */

static bool all_answered(void *context)
{
    for (unsigned i = 0; i < NODES; i++)
        if (!node_is_answered(&i))
            return false;
    (void)context;
    return true;
}

static void begin(uint64_t seed)
{
    memset(&l, 0, sizeof(l));
    l.seed = seed;
    l.with_restarts = seed % 2;
    l.sim = mp_sim_new(seed);
    l.truth = mp_truth_new(l.sim);
    l.history = mp_history_new();
    assert_int_equal(mp__options_new(&l.options), 0);
    assert_int_equal(mp__options_set(l.options, "cache.default_ttl", "7s", NULL), 0);
    assert_int_equal(mp__options_set(l.options, "cache.negative_ttl", "3s", NULL), 0);
    assert_int_equal(mp__options_set(l.options, "cache.eventual_bound", "1s", NULL), 0);
    assert_int_equal(mp__options_set(l.options, "cache.hard_bound", "4s", NULL), 0);
    assert_int_equal(mp__options_set(l.options, "cache.l1_size", "3", NULL), 0);
    assert_int_equal(mp__loop_new(mp_sim_env(l.sim), "mp-loop-0", &l.loop), 0);
    assert_int_equal(mp__timer_new(l.loop, tick, NULL, &l.timer), 0);
    mp__timer_start(l.timer, 50, 50);
    for (int i = 0; i < NODES; i++)
        open_node(i);
    for (unsigned i = 0; i < CLIENTS; i++)
        l.clients[i].node = i % NODES;
}

static void end(void)
{
    assert_true(mp_sim_run_until(l.sim, all_answered, NULL, 60000));
    for (int i = 0; i < NODES; i++)
        l.nodes[i] = mp__manager_close(l.nodes[i]);
    l.timer = mp__timer_free(l.timer);
    l.loop = mp__loop_free(l.loop);
    l.options = mp__options_free(l.options);
    l.truth = mp_truth_free(l.truth);
    l.history = mp_history_free(l.history);
    l.sim = mp_sim_free(l.sim);
}

static void live(uint64_t seed)
{
    char why[256];

    begin(seed);
    for (int i = 0; i < 40; i++) {
        go_on(500 + mp_sim_random(l.sim, 4000));
        go_wrong();
    }
    if (!mp_history_holds(l.history, why, sizeof(why)))
        fail_msg("seed %" PRIu64 ": %s", seed, why);
    end();
}

static uint64_t number_of(const char *name, uint64_t or_else)
{
    const char *text = getenv(name);

    return text ? strtoull(text, NULL, 10) : or_else;
}

static void what_clients_are_told_can_be_the_truth(void **state)
{
    uint64_t only = number_of("MP_SEED", 0), lives = 12 * number_of("MP_SOAK", 1);

    (void)state;
    memset(&told, 0, sizeof(told));
    for (uint64_t i = 0; i < (only ? 1 : lives); i++)
        live(only ? only : 1 + i);
    print_message("# %" PRIu64 " strong, %" PRIu64 " fresh, %" PRIu64 " stale, %" PRIu64
                  " weak, %" PRIu64 " failed reads; %" PRIu64 " writes, %" PRIu64
                  " refused, %" PRIu64 " of unknown outcome\n",
                  told.strong, told.fresh, told.stale, told.weak, told.failed, told.written,
                  told.refused, told.unsure);
    /* a run in which nothing happens proves nothing */
    assert_true(told.strong > 100 && told.fresh > 100 && told.stale > 10 && told.weak > 100);
    if (!only) /* or they all fail alike */
        assert_true(told.written > 10000 && told.written > told.refused);
    assert_true(told.refused > 3 && told.unsure > 3 && told.in_order > 300);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_clients_are_told_can_be_the_truth),
};
MP_TEST_MAIN(tests)

/* SPDX-License-Identifier: Apache-2.0 */
/* Three nodes before one origin far away, and clients at each, while wires are cut, peers stopped,
 * changes lost, delayed and reordered, clocks set and nodes started anew. What every client was
 * told is taken down, and a checker decides whether it can be the truth:
 *
 *   strong reads are linearizable with all writes, those of several keys too: never half of one
 *   an eventual answer that is not marked stale is within its hard bound
 *   every age that is told is true
 *   nobody is told an older state after a newer one, nor one from before a write of his own, by the
 *   node he is connected to, whatever level he asks for and however stale it is
 *
 * The second and third up to LAG_MS, after which a node has noticed at the latest that its watch is
 * broken. Clients put, put where nothing is, put for some seconds, delete, and change two keys at
 * once; that there is nothing is a state like any other, and as old as the revision it is told
 * with. Some namespaces are written through, some around memory, some back. What is written back is
 * answered before the origin has it, so it counts as written once it gets there; until then a node
 * must give it back to its own clients.
 *
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
    KEYS = 6,
    TOGETHER = 2, /* changes of one request */
    VALUES_MAX = 1 << 16,
    HARD_BOUND_MS = 4000,
    SLOW_CHANGE_MS = 500,
    LAG_MS = MP_TRUTH_LEASE_MS + MP_TRUTH_HEARTBEAT_MS + 2 * SLOW_CHANGE_MS + 250,
};

static const char *const addresses[KEYS] = {
    "production/default/0", "production/default/1", "production/default/2",
    "production/logs/3",    "production/logs/4",    "production/orders/5",
};
enum { FIRST_BACK = 5 }; /* from here on they are written back */
#define NONE SIZE_MAX

typedef struct client {
    unsigned node, session;
    bool is_busy;
    uint64_t began_ns;
    int64_t began_ms;
    unsigned jumps; /* when it began */
    unsigned key;
    size_t operation;
    mp__read read;
    mp__write_request write;
    mp__change changes[TOGETHER];
    size_t operations[TOGETHER];
    char values[TOGETHER][32];
    /* of what is written back: the newest he was told of while it was on its way */
    uint64_t pending[KEYS];
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
    unsigned sessions, jumps;
    uint64_t values;
    /* of what is written back: the last revision of a value, and the value of a revision */
    uint64_t made[VALUES_MAX], text_of[VALUES_MAX];
    bool with_restarts; /* else the clocks are set: an age cannot be known over both */
} l;

static struct {
    uint64_t strong, fresh, stale, weak, failed, none, pending;
    uint64_t written, deleted, expired, together, exists, refused, unsure;
    uint64_t tiers[MP__TIER_ORIGIN + 1];
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
    bool is_one = r->own_layer || r->status == 0; /* else the base was verified, perhaps it alone */
    int64_t slack_ms = is_one && r->reason == MP__REASON_VERIFIED ? 1 : LAG_MS;
    int64_t bound_ms = r->age_ms;

    if (r->level == MP__LEVEL_STRONG)
        return c->began_ns;
    if (r->level == MP__LEVEL_EVENTUAL && !r->stale && bound_ms > HARD_BOUND_MS)
        bound_ms = HARD_BOUND_MS;
    bound_ms += slack_ms;
    return c->began_ns > (uint64_t)bound_ms * 1000000 ? c->began_ns - (uint64_t)bound_ms * 1000000
                                                      : 0;
}

static uint64_t value_of(mp_str value)
{
    char text[32];

    assert_true(value.size < sizeof(text));
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
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
    told.none += read->status == MP_EABSENT;
    told.tiers[read->tier]++;
}

/* The revision of an answer. Where the base was looked at, too, and has nothing either, it is told
 * of the base alone; and that a value has expired is known before the origin gives that a revision.
 */
static uint64_t as_of(const mp__read *read)
{
    bool is_own = mp_str_equal(mp__entry_address(read->entry), read->address);

    return is_own && read->entry->revision ? read->entry->revision : MP_HISTORY_UNSAID;
}

/* What is written back is told by the node that took it, in its order, until it has arrived; and
 * then nothing from before it. */
static void judge_written_back(client *c, const mp__read *read)
{
    uint64_t *newest = &c->pending[c->key], value = 0;

    if (read->status == 0)
        value = value_of(mp_blob_str(&read->entry->blob.pub));
    if (read->reason != MP__REASON_PENDING && *newest && l.made[*newest] &&
        as_of(read) < l.made[*newest])
        fail_msg("seed %" PRIu64 ": key %u was told as of revision %" PRIu64
                 " to who was told of %" PRIu64 " before, which had %" PRIu64,
                 l.seed, c->key, read->entry->revision, *newest, l.made[*newest]);
    if (read->reason != MP__REASON_PENDING || value == 0)
        return;
    if (value < *newest)
        fail_msg("seed %" PRIu64 ": key %u was told %" PRIu64 " after %" PRIu64
                 ", both being on their way",
                 l.seed, c->key, value, *newest);
    *newest = value;
}

/* The expiry of a value is part of it. */
static void judge_expiry(const client *c, const mp__read *read)
{
    if (read->status == 0 && read->entry->expires_ms && read->entry->expires_ms <= c->began_ms &&
        c->jumps == l.jumps)
        fail_msg("seed %" PRIu64 ": key %u was told %" PRId64 " ms past its expiry", l.seed, c->key,
                 c->began_ms - read->entry->expires_ms);
}

/* What the history knows the value by. */
static uint64_t seen(const client *c, const mp__read *read)
{
    uint64_t value = value_of(mp_blob_str(&read->entry->blob.pub));

    if (c->key < FIRST_BACK)
        return value;
    assert_true(read->entry->revision < VALUES_MAX);
    if (l.text_of[read->entry->revision] != value)
        fail_msg("seed %" PRIu64 ": key %u was told %" PRIu64 " with revision %" PRIu64
                 ", which is of %" PRIu64,
                 l.seed, c->key, value, read->entry->revision, l.text_of[read->entry->revision]);
    return read->entry->revision;
}

static void answered(client *c, const mp__read *read)
{
    judge_written_back(c, read);
    judge_expiry(c, read);
    assert_true(read->age_ms >= 0);
    if (read->reason == MP__REASON_PENDING) { /* the origin does not know of it yet */
        mp_history_failed(l.history, c->operation);
        told.pending++;
        return;
    }
    if (read->status == MP_EABSENT) {
        mp_history_saw_none(l.history, c->operation, as_of(read), claimed_ns(c), now_ns());
    } else {
        mp_history_saw(l.history, c->operation, seen(c, read), claimed_ns(c), now_ns());
        mp_history_told_revision(l.history, c->operation, read->entry->revision);
    }
    count_read(read);
}

static void read_done(mp__read *read)
{
    client *c = read->context;

    c->is_busy = false;
    if (read->entry && (read->status == 0 || read->status == MP_EABSENT)) {
        answered(c, read);
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
                         .address = mp_str_of(addresses[c->key]),
                         .identity = &identity,
                         .level = level,
                         .age_max_ms = -1,
                         .is_use = true,
                         /* of several layers the reason may be another's than that it is pending */
                         .own_layer = c->key >= FIRST_BACK || mp_sim_random(l.sim, 2),
                         .done = read_done,
                         .context = c};
    c->read.hash = mp__cache_hash(mp__manager_hasher(manager), c->read.address);
    c->operation = mp_history_read(
        l.history, c->key, level == MP__LEVEL_STRONG ? MP_HISTORY_STRONG : MP_HISTORY_BOUNDED,
        now_ns());
    mp_history_by(l.history, c->operation, c->session);
    if (mp__read_start(manager, &c->read))
        read_done(&c->read);
}

static unsigned key_of(mp_str address)
{
    unsigned key = 0;

    while (key < KEYS && !mp_str_equal(mp_str_of(addresses[key]), address))
        key++;
    assert_true(key < KEYS);
    return key;
}

static bool is_back(const client *c)
{
    return key_of(c->changes[0].address) >= FIRST_BACK;
}

static void count_written(const client *c)
{
    const mp__change *change = &c->changes[0];

    told.written++;
    told.together += c->write.count > 1;
    told.deleted += change->op == MP__CHANGE_DELETE && change->changed;
}

static void write_done(mp__write_request *request)
{
    client *c = request->context;

    c->is_busy = false;
    if (request->status == 0)
        count_written(c);
    else if (request->status == MP_ETIMEOUT)
        told.unsure++; /* it may have happened, or still happen */
    else if (request->status == MP_EEXISTS)
        told.exists++;
    else
        told.refused++;
    if (is_back(c)) {
        if (request->status == 0 && request->pending && c->changes[0].op == MP__CHANGE_PUT)
            c->pending[key_of(c->changes[0].address)] = value_of(c->changes[0].value);
        return;
    }
    for (size_t i = 0; i < request->count && request->status != MP_ETIMEOUT; i++) {
        if (request->status == 0 && c->changes[i].changed)
            mp_history_written(l.history, c->operations[i], now_ns());
        else
            mp_history_refused(l.history, c->operations[i]);
    }
}

static mp__change change_of(client *c, size_t i, unsigned key)
{
    mp__change change = {.op = MP__CHANGE_PUT, .address = mp_str_of(addresses[key])};
    uint64_t how = mp_sim_random(l.sim, 8), value = ++l.values;

    assert_true(value < VALUES_MAX);
    if (how < 2)
        change.op = MP__CHANGE_DELETE;
    else if (how == 2 && key < FIRST_BACK)
        change.flags = MP__IF_ABSENT;
    else if (how == 3)
        change.expires_ms =
            mp__env_wall_ms(mp_sim_env(l.sim)) + 1 + (int64_t)mp_sim_random(l.sim, 8000);
    snprintf(c->values[i], sizeof(c->values[i]), "%" PRIu64, value);
    if (change.op == MP__CHANGE_PUT)
        change.value = mp_str_of(c->values[i]);
    if (key >= FIRST_BACK) /* counts once it is there */
        return change;
    c->operations[i] = (change.op == MP__CHANGE_PUT ? mp_history_write : mp_history_delete)(
        l.history, key, value, now_ns());
    mp_history_by(l.history, c->operations[i], c->session);
    return change;
}

static void begin_write(client *c)
{
    size_t count = 1;

    c->changes[0] = change_of(c, 0, c->key);
    if (c->key < FIRST_BACK && mp_sim_random(l.sim, 6) == 0) {
        c->changes[1] =
            change_of(c, 1, (c->key + 1 + (unsigned)mp_sim_random(l.sim, 3)) % FIRST_BACK);
        count = 2;
    }
    c->write = (mp__write_request){.loop = l.loop,
                                   .identity = &identity,
                                   .changes = c->changes,
                                   .count = count,
                                   .done = write_done,
                                   .context = c};
    mp__write_start(l.nodes[c->node], &c->write);
}

/* The operation of a client that asked for @change; NONE: nobody did. */
static size_t operation_of(const mp__change *change)
{
    for (int i = 0; i < CLIENTS; i++)
        for (int k = 0; k < TOGETHER; k++)
            if (change == &l.clients[i].changes[k])
                return l.clients[i].operations[k];
    return NONE;
}

/* The arrival of what was written back: it counts as a write that begins and ends here, and is
 * known by its revision, since one whose answer was lost, over a value that its node knew nothing
 * of, may arrive again. */
static size_t arrival(unsigned key, const mp__record *after)
{
    assert_true(after->revision < VALUES_MAX);
    if (after->kind == MP__RECORD_ABSENT)
        return mp_history_delete(l.history, key, after->revision, now_ns());
    l.text_of[after->revision] = value_of(after->value);
    l.made[value_of(after->value)] = after->revision;
    return mp_history_write(l.history, key, after->revision, now_ns());
}

/* The origin has just made it. */
static void committed(void *context, const mp__change *change, const mp__record *after)
{
    unsigned key = key_of(after->address);
    size_t operation = key < FIRST_BACK ? operation_of(change) : NONE;
    bool is_over = operation == NONE;

    (void)context;
    told.expired += change == NULL;
    if (key >= FIRST_BACK)
        operation = arrival(key, after);
    else if (is_over)
        operation = mp_history_delete(l.history, key, ++l.values, now_ns());
    mp_history_committed(l.history, operation, after->revision, now_ns());
    if (is_over)
        mp_history_written(l.history, operation, now_ns());
}

static void begin_something(void)
{
    client *c = &l.clients[mp_sim_random(l.sim, CLIENTS)];

    if (c->is_busy)
        return;
    c->is_busy = true;
    c->key = (unsigned)mp_sim_random(l.sim, KEYS);
    c->began_ns = now_ns();
    c->began_ms = mp__env_wall_ms(mp_sim_env(l.sim));
    c->jumps = l.jumps;
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
        if (l.clients[i].node == node) {
            l.clients[i].session = ++l.sessions;
            memset(l.clients[i].pending, 0, sizeof(l.clients[i].pending));
        }
    mp_sim_run(l.sim, mp_sim_random(l.sim, 5000));
    open_node((int)node);
}

static void jump(void)
{
    if (l.with_restarts)
        return;
    l.jumps++;
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

static void option(const char *path, const char *value)
{
    assert_int_equal(mp__options_set(l.options, path, value, NULL), 0);
}

static void begin(uint64_t seed)
{
    memset(&l, 0, sizeof(l));
    l.seed = seed;
    l.with_restarts = seed % 2;
    l.sim = mp_sim_new(seed);
    l.truth = mp_truth_new(l.sim);
    mp_truth_on_commit(l.truth, committed, NULL);
    l.history = mp_history_new();
    assert_int_equal(mp__options_new(&l.options), 0);
    option("cache.default_ttl", "7s");
    option("cache.negative_ttl", "3s");
    option("cache.eventual_bound", "1s");
    option("cache.hard_bound", "4s");
    option("cache.write_modes", "logs=around, orders=back");
    /* now one tier has most of it, now another */
    option("cache.l1_size", seed % 3 ? "3" : "1");
    option("cache.l2_size", seed % 3 == 1 ? "5000" : "0");
    mp_platter_set_cached(mp_sim_disk(l.sim), seed % 4 < 2);
    assert_int_equal(mp__loop_new(mp_sim_env(l.sim), "mp-loop-0", &l.loop), 0);
    assert_int_equal(mp__timer_new(l.loop, tick, NULL, &l.timer), 0);
    mp__timer_start(l.timer, 50, 50);
    for (int i = 0; i < NODES; i++)
        open_node(i);
    for (unsigned i = 0; i < CLIENTS; i++)
        l.clients[i].node = i % NODES, l.clients[i].session = ++l.sessions;
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
    print_message(
        "# %" PRIu64 " strong, %" PRIu64 " fresh, %" PRIu64 " stale, %" PRIu64 " weak, %" PRIu64
        " failed reads, %" PRIu64 " of nothing, %" PRIu64 " of what was on its way\n",
        told.strong, told.fresh, told.stale, told.weak, told.failed, told.none, told.pending);
    print_message("# from L1 %" PRIu64 ", L2 %" PRIu64 ", L3 %" PRIu64 ", the origin %" PRIu64 "\n",
                  told.tiers[MP__TIER_L1], told.tiers[MP__TIER_L2], told.tiers[MP__TIER_L3],
                  told.tiers[MP__TIER_ORIGIN]);
    print_message("# %" PRIu64 " writes, %" PRIu64 " of two keys, %" PRIu64 " deletions, %" PRIu64
                  " expiries; %" PRIu64 " found a value, %" PRIu64 " refused, %" PRIu64
                  " of unknown outcome\n",
                  told.written, told.together, told.deleted, told.expired, told.exists,
                  told.refused, told.unsure);
    /* a run in which nothing happens proves nothing */
    assert_true(told.strong > 100 && told.fresh > 100 && told.stale > 10 && told.weak > 100);
    assert_true(told.none > 100 && told.pending > 10 && told.tiers[MP__TIER_ORIGIN] > 100);
    assert_true(told.deleted > 100 && told.expired > 30 && told.together > 30 && told.exists > 30);
    if (!only) { /* or they all fail alike */
        assert_true(told.written > 10000 && told.written > told.refused);
        assert_true(told.tiers[MP__TIER_L2] > 100 && told.tiers[MP__TIER_L3] > 100);
    }
    assert_true(told.refused > 3 && told.unsure > 3);
}

static const struct CMUnitTest tests[] = {
    MP_TEST(what_clients_are_told_can_be_the_truth),
};
MP_TEST_MAIN(tests)

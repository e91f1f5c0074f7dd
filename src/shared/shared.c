/* SPDX-License-Identifier: Apache-2.0 */
#include "shared/shared.h"

#include <inttypes.h>
#include <stdio.h>

#include "protocol/resp.h"
#include "shared/internal.h"

#define TOMBSTONE_MS ((uint64_t)3600 * 1000)

/* KEYS: the key. ARGV: the value, which begins with its revision as 20 digits; how long to keep it;
 * 1: only where something is; 1: whatever the revision is that is there. The digits are compared in
 * halves, since a Lua number holds no 20. */
static const char script[] =
    "local c = redis.call('GETRANGE', KEYS[1], 0, 19) "
    "if c == '' then if ARGV[3] == '1' then return 0 end "
    "elseif ARGV[4] ~= '1' then "
    "local a, b = tonumber(string.sub(c, 1, 10)), tonumber(string.sub(c, 11, 20)) "
    "local x, y = tonumber(string.sub(ARGV[1], 1, 10)), tonumber(string.sub(ARGV[1], 11, 20)) "
    "if a and b and (a > x or (a == x and b > y)) then return 0 end end "
    "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) return 1";

static void count(_Atomic uint64_t *counter)
{
    (void)atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* ---- opening and closing ---- */

static void on_turn(void *context)
{
    mp__shared *shared = context;

    mp__link_flush(&shared->reading);
    mp__link_flush(&shared->writing);
}

static void start(mp__task *task)
{
    mp__shared *shared = (mp__shared *)((char *)task - offsetof(mp__shared, start));
    int rc = mp__link_start(&shared->reading, shared);

    if (rc == 0)
        rc = mp__link_start(&shared->writing, shared);
    if (rc)
        mp__shared_trouble(shared, mp_strerror(rc));
}

static void stop_if_idle(mp__shared *shared)
{
    if (shared->stopping && shared->busy == 0)
        mp__loop_stop(shared->loop);
}

void mp__shared_closed_one(mp__shared *shared)
{
    shared->busy--;
    stop_if_idle(shared);
}

static void stop(mp__task *task)
{
    mp__shared *shared = (mp__shared *)((char *)task - offsetof(mp__shared, stop));

    shared->stopping = true;
    mp__link_stop(&shared->reading);
    mp__link_stop(&shared->writing);
    stop_if_idle(shared);
}

static void shared_free(mp__shared *shared)
{
    (void)mp__loop_free(shared->loop);
    mp__buf_done(&shared->reading.in);
    mp__buf_done(&shared->reading.out);
    mp__buf_done(&shared->writing.in);
    mp__buf_done(&shared->writing.out);
    (void)pthread_mutex_destroy(&shared->name_lock);
    (void)mp__free(shared);
}

int mp__shared_open(const mp__shared_options *options, mp__shared **ret_shared, mp__diag *diag)
{
    mp__shared *shared = mp__calloc(1, sizeof(*shared));
    int rc = shared ? mp__shared_address_parse(options->url, &shared->address, diag) : MP_ENOMEM;

    if (rc) {
        (void)mp__free(shared);
        return rc;
    }
    shared->env = options->env;
    shared->log = options->log;
    shared->timeout_ms = options->timeout_ms;
    shared->ttl_ms = options->ttl_ms;
    shared->pending_bytes_max = options->pending_bytes_max;
    shared->start.run = start;
    shared->stop.run = stop;
    (void)snprintf(shared->trouble, sizeof(shared->trouble), "not connected yet");
    (void)pthread_mutex_init(&shared->name_lock, NULL);
    rc = mp__loop_new(shared->env, "mp-l4", &shared->loop);
    if (rc == 0) {
        mp__loop_on_turn(shared->loop, on_turn, shared);
        rc = mp__loop_run_on_thread(shared->loop, NULL, NULL);
        if (rc)
            shared->loop = mp__loop_free(shared->loop);
    }
    if (rc) {
        (void)pthread_mutex_destroy(&shared->name_lock);
        (void)mp__free(shared);
        return rc;
    }
    mp__loop_post(shared->loop, &shared->start);
    *ret_shared = shared;
    return 0;
}

mp__shared *mp__shared_close(mp__shared *shared)
{
    if (!shared)
        return NULL;
    mp__loop_post(shared->loop, &shared->stop);
    mp__loop_join(shared->loop);
    shared_free(shared);
    return NULL;
}

/* ---- whose values, and how it is ---- */

void mp__shared_scope(mp__shared *shared, const char *epoch)
{
    if (!shared)
        return;
    (void)pthread_mutex_lock(&shared->name_lock);
    shared->has_name = epoch[0] != '\0';
    mp__shared_name_set(&shared->name, epoch);
    (void)pthread_mutex_unlock(&shared->name_lock);
}

static bool name_now(mp__shared *shared, mp__shared_name *ret_name)
{
    bool has_name;

    (void)pthread_mutex_lock(&shared->name_lock);
    has_name = shared->has_name;
    *ret_name = shared->name;
    (void)pthread_mutex_unlock(&shared->name_lock);
    return has_name;
}

bool mp__shared_is_up(const mp__shared *shared)
{
    return shared && atomic_load_explicit(&shared->reading.up, memory_order_relaxed);
}

static bool is_refused(const mp__shared *shared)
{
    return shared->refused[MP__LINK_READS][0] || shared->refused[MP__LINK_WRITES][0];
}

void mp__shared_trouble(mp__shared *shared, const char *text)
{
    bool was_well, is_well = text[0] == '\0';

    (void)pthread_mutex_lock(&shared->name_lock);
    was_well = shared->trouble[0] == '\0' || (is_refused(shared) && !is_well);
    shared->refused[MP__LINK_READS][0] = shared->refused[MP__LINK_WRITES][0] = '\0';
    (void)snprintf(shared->trouble, sizeof(shared->trouble), "%s", text);
    (void)pthread_mutex_unlock(&shared->name_lock);
    if (was_well && !is_well)
        mp__log(shared->log, MP__LOG_WARN, "cache", "l4-down",
                "the shared cache at %s:%u: %s; reads go to the origin", shared->address.host,
                (unsigned)shared->address.port, text);
    if (!was_well && is_well)
        mp__log(shared->log, MP__LOG_INFO, "cache", "l4-up",
                "the shared cache at %s:%u answers and takes writes", shared->address.host,
                (unsigned)shared->address.port);
}

/* Show what is refused, or no trouble when nothing is. */
static void show_refusals(mp__shared *shared)
{
    const char *reads = shared->refused[MP__LINK_READS], *writes = shared->refused[MP__LINK_WRITES];

    if (!is_refused(shared)) {
        mp__shared_trouble(shared, "");
        return;
    }
    (void)pthread_mutex_lock(&shared->name_lock);
    (void)snprintf(shared->trouble, sizeof(shared->trouble), "%s%s%s", reads,
                   *reads && *writes ? "; " : "", writes);
    (void)pthread_mutex_unlock(&shared->name_lock);
}

/* It answers, and says no to a read (its rules do not let us, it is loading) or will not take what
 * it is given (it is full, or a replica). The other side goes on. What is wrong with one key alone
 * says nothing of the others, and of a connection that is away the reason is told already. */
static void note_refusal(mp__shared *shared, enum mp__link_side side, mp_str said)
{
    char *text = shared->refused[side];
    bool was_refused = text[0] != '\0';

    if ((said.size >= 9 && memcmp(said.data, "WRONGTYPE", 9) == 0) ||
        !atomic_load(&shared->reading.up) || !atomic_load(&shared->writing.up))
        return;
    (void)snprintf(text, sizeof(shared->refused[side]), "it %s: it says %.*s",
                   side == MP__LINK_READS ? "answers no reads" : "takes no writes",
                   said.size < 80 ? (int)said.size : 80, said.data);
    show_refusals(shared);
    if (!was_refused)
        mp__log(shared->log, MP__LOG_WARN, "cache", "l4-refuses", "the shared cache at %s:%u: %s",
                shared->address.host, (unsigned)shared->address.port, text);
}

static void note_reply(mp__shared *shared, enum mp__link_side side, const mp__reply *reply)
{
    if (reply->type == MP__REPLY_ERROR) {
        note_refusal(shared, side, reply->text);
    } else if (shared->refused[side][0]) {
        shared->refused[side][0] = '\0';
        show_refusals(shared);
    }
}

void mp__shared_stats_read(mp__shared *shared, mp__shared_stats *ret_stats)
{
    *ret_stats = (mp__shared_stats){
        .up = mp__shared_is_up(shared) && atomic_load(&shared->writing.up),
        .hits = atomic_load(&shared->hits),
        .misses = atomic_load(&shared->misses),
        .timeouts = atomic_load(&shared->timeouts),
        .errors = atomic_load(&shared->errors),
        .corrupt = atomic_load(&shared->corrupt),
        .puts = atomic_load(&shared->puts),
        .dropped = atomic_load(&shared->dropped),
        .connects = atomic_load(&shared->connects),
        .pending_bytes = atomic_load(&shared->pending_bytes),
    };
    (void)snprintf(ret_stats->address, sizeof(ret_stats->address), "%s:%u", shared->address.host,
                   (unsigned)shared->address.port);
    (void)pthread_mutex_lock(&shared->name_lock);
    memcpy(ret_stats->trouble, shared->trouble, sizeof(ret_stats->trouble));
    (void)pthread_mutex_unlock(&shared->name_lock);
}

/* ---- answers ---- */

/* What is not what it says is forgotten there, too, so that the next fill takes its place. */
static void forget(mp__shared *shared, const mp__shared_name *name, mp_str address)
{
    mp__buf key = MP__BUF_INIT;
    mp_str words[2] = {MP_STR("DEL")};

    if (mp__shared_key(name, address, &key) == 0) {
        words[1] = mp__buf_str(&key);
        (void)mp__link_ask(&shared->writing, MP__ASK_FORGET, NULL, 0, NULL, words, 2);
    }
    mp__buf_done(&key);
}

static void answer_get(mp__shared *shared, const mp__shared_ask *ask, const mp__reply *reply)
{
    mp__record record;
    int rc;

    if (reply->type == MP__REPLY_BULK) {
        rc = mp__shared_value_read(&ask->name, ask->get->address, reply->text, &record);
        count(rc ? &shared->corrupt : &shared->hits);
        if (rc)
            forget(shared, &ask->name, ask->get->address);
        ask->get->done(ask->get, rc, rc ? NULL : &record);
        return;
    }
    count(reply->type == MP__REPLY_NULL ? &shared->misses : &shared->errors);
    ask->get->done(ask->get, MP_EUNKNOWN, NULL);
}

void mp__shared_answered(mp__shared *shared, mp__shared_ask *ask, int status,
                         const mp__reply *reply)
{
    if (ask->bytes)
        (void)atomic_fetch_sub(&shared->pending_bytes, ask->bytes);
    if (status == MP_ETIMEOUT)
        count(&shared->timeouts);
    else if (status)
        count(&shared->errors);
    if (ask->kind == MP__ASK_GET && !reply)
        ask->get->done(ask->get, status, NULL);
    else if (ask->kind == MP__ASK_GET)
        answer_get(shared, ask, reply);
    else if (reply && reply->type == MP__REPLY_ERROR)
        count(&shared->errors);
    if (reply && ask->kind == MP__ASK_GET)
        note_reply(shared, MP__LINK_READS, reply);
    else if (reply && ask->kind == MP__ASK_PUT)
        note_reply(shared, MP__LINK_WRITES, reply);
}

/* ---- getting ---- */

static void get_runs(mp__task *task)
{
    mp__shared_get *get = (mp__shared_get *)task;
    mp__shared *shared = get->shared;
    mp__shared_name name;
    mp__buf key = MP__BUF_INIT;
    mp_str words[2] = {MP_STR("GET")};
    int rc = name_now(shared, &name) ? mp__shared_key(&name, get->address, &key) : MP_EUNKNOWN;

    words[1] = mp__buf_str(&key);
    if (rc == 0)
        rc = mp__link_ask(&shared->reading, MP__ASK_GET, get, 0, &name, words, 2);
    mp__buf_done(&key);
    if (rc)
        get->done(get, rc, NULL);
}

void mp__shared_get_start(mp__shared *shared, mp__shared_get *get)
{
    get->shared = shared;
    get->task.run = get_runs;
    mp__loop_post(shared->loop, &get->task);
}

/* ---- putting ---- */

typedef struct put {
    mp__task task;
    mp__shared *shared;
    uint64_t keep_ms;
    bool only_there, force;
    size_t bytes;
    mp__buf key, value;
} put;

static void put_free(put *p)
{
    mp__buf_done(&p->key);
    mp__buf_done(&p->value);
    (void)mp__free(p);
}

static void put_runs(mp__task *task)
{
    put *p = (put *)task;
    mp__shared *shared = p->shared;
    char keep[24];
    mp_str words[8] = {MP_STR("EVAL"), mp_str_of(script), MP_STR("1")};
    int n = snprintf(keep, sizeof(keep), "%" PRIu64, p->keep_ms);

    words[3] = mp__buf_str(&p->key);
    words[4] = mp__buf_str(&p->value);
    words[5] = mp_str_new(keep, (size_t)n);
    words[6] = p->only_there ? MP_STR("1") : MP_STR("0");
    words[7] = p->force ? MP_STR("1") : MP_STR("0");
    if (mp__link_ask(&shared->writing, MP__ASK_PUT, NULL, p->bytes, NULL, words, 8) == 0) {
        count(&shared->puts);
    } else {
        count(&shared->dropped);
        (void)atomic_fetch_sub(&shared->pending_bytes, p->bytes);
    }
    put_free(p);
}

/* How long Redis keeps it: a value that expires not longer than that; 0: not at all. */
static uint64_t keep_for(mp__shared *shared, const mp__record *record)
{
    int64_t left = record->expires_ms - mp__env_wall_ms(shared->env);

    if (record->kind == MP__RECORD_ABSENT)
        return shared->ttl_ms < TOMBSTONE_MS ? shared->ttl_ms : TOMBSTONE_MS;
    if (record->expires_ms && left <= 0)
        return 0;
    return record->expires_ms && (uint64_t)left < shared->ttl_ms ? (uint64_t)left : shared->ttl_ms;
}

void mp__shared_put(mp__shared *shared, const mp__record *record, bool force)
{
    mp__shared_name name;
    uint64_t keep_ms;
    put *p = NULL;
    int rc = MP_ENOMEM;

    if (!shared || !name_now(shared, &name))
        return;
    keep_ms = keep_for(shared, record);
    if (keep_ms == 0)
        return;
    if (atomic_load_explicit(&shared->writing.up, memory_order_relaxed))
        p = mp__calloc(1, sizeof(*p));
    if (p) {
        *p = (put){.shared = shared,
                   .keep_ms = keep_ms,
                   .only_there = record->kind == MP__RECORD_ABSENT,
                   .force = force};
        p->task.run = put_runs;
        rc = mp__shared_key(&name, record->address, &p->key);
        if (rc == 0)
            rc = mp__shared_value(&name, record, &p->value);
        p->bytes = p->key.size + p->value.size;
    }
    if (rc == 0 && atomic_load(&shared->pending_bytes) + p->bytes > shared->pending_bytes_max)
        rc = MP_ELIMIT;
    if (rc) {
        count(&shared->dropped);
        if (p)
            put_free(p);
        return;
    }
    (void)atomic_fetch_add(&shared->pending_bytes, p->bytes);
    mp__loop_post(shared->loop, &p->task);
}

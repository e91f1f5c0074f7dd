/* SPDX-License-Identifier: Apache-2.0 */
/* L4 in the flows: asked after L3 and before the origin, written with what was fetched or changed.
 *
 * What it gives was fetched by another node, which says when. It is kept like any other entry, but
 * no watch of ours held it, so that it is judged by its age alone: within the bound of eventual
 * reads it is answered, past that it is verified behind or first, and with the origin gone it is
 * the last known good. */
#include <stdio.h>

#include "manager/internal.h"

enum { PENDING_BYTES_MAX = 16 << 20 };

int mp__shared_configured(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    mp__shared_options shared = {
        .env = manager->env,
        .log = manager->log,
        .url = mp__options_text(options, "cache.l4_url"),
        .timeout_ms = (uint64_t)mp__options_int(options, "cache.l4_timeout"),
        .ttl_ms = (uint64_t)mp__options_int(options, "cache.l4_ttl"),
        .pending_bytes_max = PENDING_BYTES_MAX,
    };

    return shared.url[0] ? mp__shared_open(&shared, &manager->shared, diag) : 0;
}

/* While the origin cannot say which life it is in, the one that L3 belongs to is the last known. */
void mp__shared_scope_now(mp__manager *manager)
{
    const char *epoch = mp__origin_epoch(manager->origin);
    char path[4200], *known = NULL;
    size_t size;
    int n;

    if (!manager->shared)
        return;
    if (epoch[0]) {
        mp__shared_scope(manager->shared, epoch);
        return;
    }
    n = snprintf(path, sizeof(path), "%s/l3.epoch", manager->data_dir);
    if (n > 0 && (size_t)n < sizeof(path) &&
        mp__env_read_file(manager->env, path, 63, &known, &size) == 0)
        mp__shared_scope(manager->shared, known);
    (void)mp__free(known);
}

/* ---- reading ---- */

/* One question to L4, for all that wait for its address: it hangs from the shard of the flights
 * that its hash belongs to. */
typedef struct mp__shared_question {
    mp__shared_get get; /* its address is that of the first read */
    struct mp__shared_question *next;
    mp__manager *manager;
    uint64_t hash;
    mp__read *reads;
} shared_question;

static void continues(mp__task *task)
{
    mp__read *read = (mp__read *)((char *)task - offsetof(mp__read, task));
    const mp__entry *entry = read->entry;

    read->entry = NULL;
    if (entry)
        read->tier = MP__TIER_L4;
    mp__read_continue(read->manager, read, entry);
}

static mp__read *end_question(shared_question *question)
{
    mp__flight_shard *shard = mp__flight_shard_of(question->manager, question->hash);
    shared_question **link = &shard->questions;

    (void)pthread_mutex_lock(&shard->lock);
    while (*link != question)
        link = &(*link)->next;
    *link = question->next;
    (void)pthread_mutex_unlock(&shard->lock);
    return question->reads;
}

/* On "mp-l4". Where it cannot be kept it is as if it were not there; nor is it where something
 * newer was known here, which L4 may never have got, or has lost. */
static void done(mp__shared_get *get, int status, const mp__record *record)
{
    shared_question *question = (shared_question *)get;
    const mp__entry *entry = NULL;
    mp__read *read, *next;

    if (status == 0 && mp__cache_put_record(question->manager->cache, record,
                                            MP__PUT_FILL | MP__PUT_NEWEST, MP__GENERATION_SHARED,
                                            mp__manager_now_s(question->manager), &entry) != 0)
        entry = NULL;
    for (read = end_question(question); read; read = next) {
        next = read->next;
        read->entry = entry ? mp__entry_ref(entry) : NULL;
        read->task.run = continues;
        mp__loop_post(read->loop, &read->task);
    }
    (void)mp__entry_unref(entry);
    (void)mp__free(question);
}

static shared_question *find(const mp__flight_shard *shard, const mp__read *read)
{
    for (shared_question *q = shard->questions; q; q = q->next)
        if (q->hash == read->hash && mp_str_equal(q->get.address, read->address))
            return q;
    return NULL;
}

bool mp__shared_read(mp__manager *manager, mp__read *read)
{
    mp__flight_shard *shard = mp__flight_shard_of(manager, read->hash);
    shared_question *question, *fresh = NULL;

    if (!mp__shared_is_up(manager->shared))
        return false;
    (void)pthread_mutex_lock(&shard->lock);
    question = find(shard, read);
    if (!question) {
        question = fresh = mp__calloc(1, sizeof(*fresh));
        if (fresh) {
            fresh->get = (mp__shared_get){.address = read->address, .done = done};
            fresh->manager = manager;
            fresh->hash = read->hash;
            fresh->next = shard->questions;
            shard->questions = fresh;
        }
    }
    if (question) {
        read->next = question->reads;
        question->reads = read;
    }
    (void)pthread_mutex_unlock(&shard->lock);
    if (fresh)
        mp__shared_get_start(manager->shared, &fresh->get);
    return question != NULL;
}

/* ---- how it is ---- */

bool mp__manager_shared(mp__manager *manager, mp__shared_stats *ret_stats)
{
    if (!manager->shared)
        return false;
    mp__shared_stats_read(manager->shared, ret_stats);
    return true;
}

void mp__shared_json(mp__manager *manager, mp__buf *out)
{
    mp__shared_stats s;

    if (!mp__manager_shared(manager, &s))
        return;
    mp__json_key(out, "l4");
    mp__json_begin(out, '{');
    mp__json_add_bool(out, "up", s.up);
    mp__json_add_text(out, "address", s.address);
    mp__json_add_u64(out, "hits", s.hits);
    mp__json_add_u64(out, "misses", s.misses);
    mp__json_add_u64(out, "timeouts", s.timeouts);
    mp__json_add_u64(out, "errors", s.errors);
    mp__json_add_u64(out, "corrupt", s.corrupt);
    mp__json_add_u64(out, "puts", s.puts);
    mp__json_add_u64(out, "dropped", s.dropped);
    mp__json_add_u64(out, "connects", s.connects);
    mp__json_add_u64(out, "pending_bytes", s.pending_bytes);
    mp__json_add_text(out, "trouble", s.trouble);
    mp__json_end(out, '}');
}

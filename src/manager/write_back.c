/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of writes on their way to the origin: see write_back.h.
 *
 * Threads: the queue and the journal belong to the worker mp-write-back. The table by address, the
 * reads that wait and the requests that are held are under the lock, for others look at them. Lock
 * order: this lock, then the origin's own. */
#include "manager/write_back_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum {
    BUCKETS = 1024,
    SENT_MAX = 64, /* at once under way to the origin */
    RETRY_MS = 500,
    IDLE_MS = 250,
    TIDY_BYTES = 1024 * 1024, /* of the journal, before what has arrived is thrown out of it */
};

struct mp__back {
    mp__manager *manager;
    mp__worker *worker;
    mp__journal *journal;
    bool must_sync; /* a write behind one that is over is about to be sent */
    _Atomic bool stopping;
    uint64_t bytes_max;
    _Atomic uint64_t bytes; /* of all that is on its way */
    mp__back_filter *filter;
    _Atomic uint32_t through[MP__BACK_FILTER]; /* requests that go through or are held */

    /* the worker's */
    mp__pending *first, **last, *unsent; /* unsent: the first that is not sent, or NULL */
    unsigned sent;
    uint64_t sequence, retry_at_ns;
    mp__buf record;
    mp__back_conflicts conflict_file;

    pthread_mutex_t lock;
    mp__pending *table[BUCKETS];
    mp__read *waiting;
    mp__task *held, **held_last;      /* of requests, in order */
    uint32_t coming[MP__BACK_FILTER]; /* writes on their way to the worker, not in the table yet */
    uint64_t accepted, arrived, conflicts;
    int64_t oldest_ms; /* when the first on its way was accepted; 0: none */
    int trouble;       /* why nothing arrives; 0 */
};

static mp__write_request *request_of(mp__task *task)
{
    return (mp__write_request *)((char *)task - offsetof(mp__write_request, task));
}

/* ---- the table; under the lock, or by the worker ---- */

static mp__pending *find(const mp__back *back, mp_str address, uint64_t hash)
{
    for (mp__pending *p = back->table[hash % BUCKETS]; p; p = p->chain)
        if (p->hash == hash && mp_str_equal(mp__entry_address(p->entry), address))
            return p;
    return NULL;
}

/* The one of its address that was accepted last before @p. */
static mp__pending *older(const mp__pending *p)
{
    for (mp__pending *o = p->chain; o; o = o->chain)
        if (o->hash == p->hash &&
            mp_str_equal(mp__entry_address(o->entry), mp__entry_address(p->entry)))
            return o;
    return NULL;
}

static size_t bytes_of(const mp__pending *p)
{
    return sizeof(*p) + p->entry->address_size + p->entry->blob.pub.size;
}

/* Count @p in the filter, and its scope, which may have had no keys before (overlay.c). */
static void count_pending(mp__back *back, const mp__pending *p, uint32_t by)
{
    mp_str address = mp__entry_address(p->entry);
    mp_str scope = mp_str_new(address.data, mp__scope_size(address));
    uint64_t of_scope = mp__cache_hash(back->manager->hasher, scope);

    (void)atomic_fetch_add(&back->filter->slots[p->hash % MP__BACK_FILTER], by);
    (void)atomic_fetch_add(&back->filter->slots[of_scope % MP__BACK_FILTER], by);
    (void)atomic_fetch_add(&back->filter->pending, by);
}

/* Put @p at the end of the queue and into the table. */
static void link_pending(mp__back *back, mp__pending *p)
{
    mp__pending **bucket = &back->table[p->hash % BUCKETS];

    *back->last = p;
    back->last = &p->next;
    if (!back->unsent)
        back->unsent = p;
    (void)pthread_mutex_lock(&back->lock);
    p->chain = *bucket;
    *bucket = p;
    if (!back->oldest_ms)
        back->oldest_ms = p->accepted_ms;
    (void)pthread_mutex_unlock(&back->lock);
    (void)atomic_fetch_add(&back->bytes, bytes_of(p));
    count_pending(back, p, 1);
}

static mp__pending *pending_free(mp__pending *p)
{
    if (p)
        (void)mp__entry_unref(p->entry);
    return mp__free(p);
}

/* ---- who waits for the arrival ---- */

static bool request_waits(const mp__back *back, const mp__write_request *request)
{
    for (size_t i = 0; i < request->count; i++) {
        mp_str address = request->changes[i].address;
        uint64_t hash = mp__cache_hash(back->manager->hasher, address);

        if (back->coming[hash % MP__BACK_FILTER] || find(back, address, hash))
            return true;
    }
    return false;
}

/* Let those requests go that need wait no longer; all of them where the origin takes nothing, which
 * they are to be told. In order, and under the lock, so that what comes later stays behind them. */
static void release_held(mp__back *back, bool all)
{
    mp__task **link = &back->held;

    while (*link) {
        mp__task *task = *link;

        if (!all && request_waits(back, request_of(task))) {
            link = &task->next;
            continue;
        }
        *link = task->next;
        mp__write_through(back->manager, request_of(task));
    }
    back->held_last = link;
}

/* Take from the list those reads whose address has nothing on its way. */
static mp__read *take_reads(mp__back *back)
{
    mp__read **link = &back->waiting, *taken = NULL;

    while (*link) {
        mp__read *read = *link;

        if (find(back, read->address, read->hash)) {
            link = &read->next;
            continue;
        }
        *link = read->next;
        read->next = taken;
        taken = read;
    }
    return taken;
}

static void wake(mp__back *back)
{
    mp__read *reads;

    (void)pthread_mutex_lock(&back->lock);
    release_held(back, false);
    reads = take_reads(back);
    (void)pthread_mutex_unlock(&back->lock);
    while (reads) {
        mp__read *next = reads->next;

        mp__read_again(reads);
        reads = next;
    }
}

/* ---- leaving the queue ---- */

static void rebase(mp__back *back, mp__pending *p, uint64_t base, int64_t expires_ms)
{
    p->base_known = true;
    p->base = base;
    p->base_expires_ms = expires_ms;
    if (mp__back_encode_mark(MP__BACK_REBASED, p->sequence, base, &back->record) == 0)
        (void)mp__journal_add(back->journal, mp__buf_str(&back->record));
}

/* The write behind @p of its address stands over what became of @p. */
static void rebase_next(mp__back *back, const mp__pending *p, bool arrived)
{
    mp__pending *next = NULL;

    for (mp__pending *n = back->table[p->hash % BUCKETS]; n && n != p; n = n->chain)
        if (n->hash == p->hash &&
            mp_str_equal(mp__entry_address(n->entry), mp__entry_address(p->entry)))
            next = n;
    back->must_sync |= next != NULL;
    if (!next || !(arrived || p->base_known))
        return;
    if (!arrived)
        rebase(back, next, p->base, p->base_expires_ms);
    else if (p->entry->kind == MP__RECORD_VALUE)
        rebase(back, next, p->revision, p->entry->expires_ms);
    else
        rebase(back, next, 0, 0);
}

static void unlink_pending(mp__back *back, mp__pending *p)
{
    mp__pending **link = &back->first, **chain;

    while (*link != p)
        link = &(*link)->next;
    *link = p->next;
    if (back->last == &p->next)
        back->last = link;
    if (back->unsent == p)
        back->unsent = p->next;
    (void)pthread_mutex_lock(&back->lock);
    for (chain = &back->table[p->hash % BUCKETS]; *chain != p; chain = &(*chain)->chain)
        ;
    *chain = p->chain;
    back->oldest_ms = back->first ? back->first->accepted_ms : 0;
    (void)pthread_mutex_unlock(&back->lock);
    (void)atomic_fetch_sub(&back->bytes, bytes_of(p));
    count_pending(back, p, -1u);
}

/* @p is over. That it is need not be synced at once: come again after a crash it is found to have
 * arrived, its value being there. Until the next write of its address is sent: see run_batch(). */
static void leave(mp__back *back, mp__pending *p, bool arrived)
{
    rebase_next(back, p, arrived);
    if (mp__back_encode_mark(MP__BACK_ARRIVED, p->sequence, arrived ? p->revision : 0,
                             &back->record) == 0)
        (void)mp__journal_add(back->journal, mp__buf_str(&back->record));
    unlink_pending(back, p);
    (void)pending_free(p);
    (void)pthread_mutex_lock(&back->lock);
    back->arrived += arrived;
    back->conflicts += !arrived;
    (void)pthread_mutex_unlock(&back->lock);
    wake(back);
}

/* ---- under way ---- */

static bool is_refused_for_good(int status)
{
    return status == MP_ECONFLICT || status == MP_EINVAL || status == MP_ELIMIT ||
           status == MP_EREADONLY || status == MP_EUNSUPPORTED || status == MP_EDENIED;
}

static void send_again(mp__back *back, mp__pending *p)
{
    p->is_sent = false;
    p->may_have_come = true;
    if (!back->unsent || back->unsent->sequence > p->sequence)
        back->unsent = p;
}

static void try_later(mp__back *back, mp__pending *p, int why)
{
    send_again(back, p);
    back->retry_at_ns = mp__env_now_ns(back->manager->env) + RETRY_MS * 1000000ull;
    (void)pthread_mutex_lock(&back->lock);
    back->trouble = why;
    release_held(back, true);
    (void)pthread_mutex_unlock(&back->lock);
}

/* Whether @p did not find what it stands over because that has expired meanwhile: nobody else
 * wrote, and there is none now. */
static bool has_lapsed(const mp__back *back, const mp__pending *p)
{
    return p->status == MP_ECONFLICT && p->found_none && p->base && p->base_expires_ms &&
           p->base_expires_ms <= mp__env_wall_ms(back->manager->env);
}

static bool is_live(const mp__back *back);

/* Under the lock, as pump(). */
static void ask_past(mp__back *back, mp__pending *p)
{
    bool asks;

    (void)pthread_mutex_lock(&back->lock);
    asks = is_live(back);
    back->sent += asks;
    if (asks)
        mp__back_ask_past(p, back->manager->origin, back->worker);
    (void)pthread_mutex_unlock(&back->lock);
    if (!asks)
        try_later(back, p, MP_EORIGIN);
}

static void came_back(mp__task *task)
{
    mp__pending *p = (mp__pending *)((char *)task - offsetof(mp__pending, task));
    mp__back *back = p->back;
    int rc;

    back->sent--;
    if (p->status && !is_refused_for_good(p->status)) {
        try_later(back, p, p->status);
        return;
    }
    if (has_lapsed(back, p)) {
        rebase(back, p, 0, 0);
        send_again(back, p);
        return;
    }
    if (mp__back_has_not_come(p)) {
        send_again(back, p);
        return;
    }
    if (mp__back_may_have_come(p)) {
        ask_past(back, p);
        return;
    }
    rc = p->status ? mp__back_conflict_keep(&back->conflict_file, back->manager, p) : 0;
    if (rc) {
        try_later(back, p, rc);
        return;
    }
    (void)pthread_mutex_lock(&back->lock);
    back->trouble = 0;
    (void)pthread_mutex_unlock(&back->lock);
    if (p->status)
        mp__back_conflict_tell(back->manager, p);
    leave(back, p, p->status == 0);
}

/* On the origin's writer, what it changed being in the cache. What it found instead is brought
 * there, too, before @request leaves the queue: it may be this very write, that arrived unnoticed
 * before, or another's, and readers who were told of the one on its way must not be told what was
 * kept from before it. */
static void written(mp__write_request *request)
{
    mp__pending *p = (mp__pending *)((char *)request - offsetof(mp__pending, request));
    int status = request->status;

    if ((status == 0 || status == MP_ECONFLICT) && !p->change.changed && p->change.after.revision)
        mp__change_found(request->manager, &p->change.after, request->generation,
                         request->started_ms);
    p->revision = p->change.after.revision;
    p->found_none = p->change.after.kind == MP__RECORD_ABSENT;
    p->status = status == MP_ECONFLICT && mp__back_is_there(p, &p->change) ? 0 : status;
    p->task.run = came_back;
    mp__worker_post(p->back->worker, &p->task);
}

static void send_off(mp__back *back, mp__pending *p)
{
    bool is_put = p->entry->kind == MP__RECORD_VALUE;

    p->is_sent = true;
    back->sent++;
    if (mp__back_looks_first(p, mp__env_wall_ms(back->manager->env))) {
        p->task.run = came_back;
        mp__back_ask_past(p, back->manager->origin, back->worker);
        return;
    }
    p->knows_past = false; /* of what this may bring about */
    p->past_before = 0;
    p->change = (mp__change){
        .op = is_put ? MP__CHANGE_PUT : MP__CHANGE_DELETE,
        .flags = (p->base_known ? MP__IF_REVISION : 0u) | (is_put ? MP__IF_CHANGED : 0u),
        .address = mp__entry_address(p->entry),
        .value = mp_blob_str(&p->entry->blob.pub),
        .media_type = mp__entry_media_type(p->entry),
        .expires_ms = p->entry->expires_ms,
        .if_revision = p->base,
    };
    p->request = (mp__write_request){
        .identity = &p->identity,
        .changes = &p->change,
        .count = 1,
        .done = written,
        .manager = back->manager,
        .started_ns = mp__env_now_ns(back->manager->env),
    };
    mp__write_through(back->manager, &p->request);
}

/* Whether the origin takes writes; it is closed before the queue is, so under the lock, which
 * mp__back_stop() takes, too. */
static bool is_live(const mp__back *back)
{
    return !atomic_load(&back->stopping) &&
           mp__state_now(&back->manager->origin->state) == MP__ORIGIN_LIVE;
}

/* Send the next one, if it is its turn: not two of one address at once, so that each finds what the
 * one before left. */
static bool pump_one(mp__back *back)
{
    mp__pending *p = back->unsent;

    if (!p || back->sent >= SENT_MAX || !is_live(back))
        return false;
    if (!p->is_sent && older(p))
        return false; /* until it has come back */
    back->unsent = p->next;
    if (!p->is_sent)
        send_off(back, p);
    return true;
}

/* Under the lock, so that who stopped the queue knows that it sends no more. */
static void pump(mp__back *back)
{
    bool more = mp__env_now_ns(back->manager->env) >= back->retry_at_ns;

    while (more) {
        (void)pthread_mutex_lock(&back->lock);
        more = pump_one(back);
        (void)pthread_mutex_unlock(&back->lock);
    }
}

/* ---- accepting ---- */

static void note_base(mp__back *back, mp__pending *p)
{
    mp_cache *cache = back->manager->cache;
    mp_str address = mp__entry_address(p->entry);
    const mp__entry *kept = NULL, *known;

    if (find(back, address, p->hash))
        return; /* the one before will say */
    if (mp_read_begin() == 0) {
        known = mp__cache_peek(cache, address, p->hash);
        kept = known ? mp__entry_ref(known) : NULL;
        mp_read_end();
    }
    if (!kept && mp__cache_load_memory(cache, address, p->hash, &kept) != 0 &&
        mp__cache_load_nowait(cache, address, p->hash, &kept) != 0)
        return;
    /* What an earlier life kept may lack its newest: a crash costs L3 what was not synced. */
    p->base_known = atomic_load_explicit(&kept->generation, memory_order_relaxed) != 0;
    p->base = kept->kind == MP__RECORD_ABSENT ? 0 : kept->revision;
    p->base_expires_ms = kept->expires_ms;
    (void)mp__entry_unref(kept);
}

static mp__pending *pending_new(mp__back *back, const mp__record *record, mp_str actor)
{
    mp__pending *p = mp__calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->back = back;
    p->hash = mp__cache_hash(back->manager->hasher, record->address);
    p->entry = mp__cache_entry(back->manager->cache, record);
    (void)snprintf(p->identity.name, sizeof(p->identity.name), "%.*s", (int)actor.size,
                   actor.data ? actor.data : "");
    return p->entry ? p : pending_free(p);
}

/* Put one request's write into the journal. NULL: it is refused, with why in *ret_rc. */
static mp__pending *accept_one(mp__back *back, const mp__write_request *request, int *ret_rc)
{
    const mp__change *change = &request->changes[0];
    int64_t now = mp__manager_wall_ms(back->manager);
    const mp__record record = {
        .address = change->address,
        .value = change->op == MP__CHANGE_PUT ? change->value : mp_str_new("", 0),
        .media_type = change->op == MP__CHANGE_PUT ? change->media_type : mp_str_new("", 0),
        .kind = change->op == MP__CHANGE_PUT ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
        .created_ms = now,
        .modified_ms = now,
        .fetched_ms = now,
        .verified_ms = now,
        .expires_ms = change->op == MP__CHANGE_PUT ? change->expires_ms : 0,
    };
    mp__pending *p =
        pending_new(back, &record, mp_str_of(request->identity ? request->identity->name : ""));

    *ret_rc = MP_ENOMEM;
    if (!p)
        return NULL;
    p->sequence = ++back->sequence;
    p->accepted_ms = now;
    note_base(back, p);
    *ret_rc = mp__back_encode(p, &back->record);
    if (*ret_rc == 0)
        *ret_rc = mp__journal_add(back->journal, mp__buf_str(&back->record));
    return *ret_rc ? pending_free(p) : p;
}

typedef struct renewal {
    mp__back *back;
    const mp__pending *next;
} renewal;

static mp_str next_record(void *context)
{
    renewal *r = context;
    const mp__pending *p = r->next;

    if (!p)
        return mp_str_new(NULL, 0);
    r->next = p->next;
    return mp__back_encode(p, &r->back->record) == 0 ? mp__buf_str(&r->back->record)
                                                     : mp_str_new(NULL, 0);
}

/* Only what is still on its way, in a new file; where there is no room for one, and nothing is on
 * its way, the old one gives back what it has. */
static int renew(mp__back *back)
{
    renewal r = {back, back->first};
    int rc = mp__journal_renew(back->journal, next_record, &r);

    if (rc && !back->first)
        rc = mp__journal_clear(back->journal);
    return rc == 0 && r.next ? MP_ENOMEM : rc;
}

/* They are in the table by now, or @rc says why they never will be. */
static void answer_all(mp__back *back, mp__task *tasks, int rc)
{
    while (tasks) {
        mp__write_request *request = request_of(tasks);
        uint64_t hash = mp__cache_hash(back->manager->hasher, request->changes[0].address);

        tasks = tasks->next;
        if (request->status == 0)
            request->status = rc;
        request->pending = request->status == 0;
        request->changes[0].status = request->status;
        request->changes[0].changed = request->pending; /* as far as can be said */
        (void)pthread_mutex_lock(&back->lock);
        back->accepted += request->pending;
        back->coming[hash % MP__BACK_FILTER]--;
        (void)pthread_mutex_unlock(&back->lock);
        mp__write_answer(request, request->status);
    }
}

/* All requests of @tasks, with one sync. */
static void accept_all(mp__back *back, mp__task *tasks)
{
    mp__pending *accepted = NULL, **last = &accepted;
    bool is_any_refused = false;
    int rc = mp__journal_is_broken(back->journal) ? renew(back) : 0;

    for (mp__task *t = tasks; t; t = t->next) {
        mp__write_request *request = request_of(t);
        mp__pending *p = rc ? NULL : accept_one(back, request, &request->status);

        if (rc)
            request->status = rc;
        is_any_refused |= !p;
        if (!p)
            continue;
        *last = p;
        last = &p->next;
    }
    if (rc == 0)
        rc = mp__journal_sync(back->journal);
    is_any_refused |= rc != 0;
    while (accepted) {
        mp__pending *p = accepted;

        accepted = p->next;
        p->next = NULL;
        if (rc)
            (void)pending_free(p);
        else
            link_pending(back, p);
    }
    answer_all(back, tasks, rc);
    if (is_any_refused)
        wake(back); /* who waits for these waits for nothing */
}

static void to_be_accepted(mp__task *task)
{
    (void)task; /* run_batch knows them by this function */
}

/* What is held need not be so while nothing before it can arrive: it is told why. */
static void release_where_nothing_is_taken(mp__back *back)
{
    (void)pthread_mutex_lock(&back->lock);
    if (!is_live(back))
        release_held(back, true);
    (void)pthread_mutex_unlock(&back->lock);
}

/* Between batches: what has arrived need not stay in the journal. */
static void tidy(mp__back *back)
{
    uint64_t bytes = mp__journal_bytes(back->journal);

    if (bytes > TIDY_BYTES && bytes / 4 > atomic_load(&back->bytes))
        (void)renew(back);
    else if (!mp__journal_is_broken(back->journal))
        (void)mp__journal_sync(back->journal);
}

static void run_batch(void *context, mp__task *first)
{
    mp__back *back = context;
    mp__task *accepts = NULL, **last = &accepts, *next;
    bool is_idle = !first;

    for (; first; first = next) {
        next = first->next;
        if (first->run != to_be_accepted) {
            first->run(first);
            continue;
        }
        first->next = NULL;
        *last = first;
        last = &first->next;
    }
    if (accepts)
        accept_all(back, accepts);
    /* a write that is sent twice, over one that came after it, would be taken for a conflict */
    if (back->must_sync && !mp__journal_is_broken(back->journal))
        (void)mp__journal_sync(back->journal);
    back->must_sync = false;
    pump(back);
    if (is_idle) {
        release_where_nothing_is_taken(back);
        tidy(back);
    }
}

/* ---- for the paths ---- */

/* A mask goes through: an entry of one says that there is none, as that of a deletion. */
static bool is_plain_change(const mp__change *change)
{
    if (change->op == MP__CHANGE_DELETE)
        return change->flags == 0;
    return change->op == MP__CHANGE_PUT && (change->flags & ~(unsigned)MP__IF_CHANGED) == 0 &&
           !mp_str_equal(change->media_type, MP_STR(MP__MEDIA_MASK));
}

static bool is_plain(const mp__back *back, const mp__write_request *request)
{
    const mp__change *change = &request->changes[0];

    return request->count == 1 && !request->wants_revision && is_plain_change(change) &&
           atomic_load_explicit(&back->bytes, memory_order_relaxed) + change->value.size <
               back->bytes_max;
}

static void count_through(mp__back *back, const mp__write_request *request, uint32_t by)
{
    for (size_t i = 0; i < request->count; i++) {
        uint64_t hash = mp__cache_hash(back->manager->hasher, request->changes[i].address);

        (void)atomic_fetch_add(&back->through[hash % MP__BACK_FILTER], by);
    }
}

/* What goes through waits for @request from now on, which would else stand over a revision that
 * was not the newest any more by the time it is in the table. Under the lock. */
static void note_coming(mp__back *back, const mp__write_request *request)
{
    uint64_t hash = mp__cache_hash(back->manager->hasher, request->changes[0].address);

    back->coming[hash % MP__BACK_FILTER]++;
}

/* Whether it matters in which order @request comes among the writes on their way. */
static bool concerns(const mp__back *back, const mp__write_request *request)
{
    const mp__manager *manager = back->manager;

    for (size_t i = 0; i < request->count; i++) {
        mp_str address = request->changes[i].address;

        if (mp__write_mode_of(manager->write_modes, address) == MP__WRITE_BACK ||
            mp__back_may_have(back->filter, mp__cache_hash(manager->hasher, address)))
            return true;
    }
    return false;
}

static bool may_take(const mp__back *back, const mp__write_request *request)
{
    mp_str address = request->changes[0].address;
    uint64_t hash = mp__cache_hash(back->manager->hasher, address);

    /* What is checked against a schema must be at the origin, where the next check looks; and what
     * can never arrive is not answered as if it would. */
    return is_plain(back, request) && !request->is_gated &&
           !back->manager->origin->ops->read_only &&
           mp__write_mode_of(back->manager->write_modes, address) == MP__WRITE_BACK &&
           atomic_load(&back->through[hash % MP__BACK_FILTER]) == 0;
}

bool mp__back_would_take(const mp__back *back, const mp__write_request *request)
{
    return may_take(back, request);
}

void mp__back_start(mp__back *back, mp__write_request *request)
{
    if (!concerns(back, request)) {
        mp__write_through(back->manager, request);
        return;
    }
    /* together under the lock: of two that come at once one sees the other */
    (void)pthread_mutex_lock(&back->lock);
    if (may_take(back, request)) {
        note_coming(back, request);
        (void)pthread_mutex_unlock(&back->lock);
        request->task.run = to_be_accepted;
        mp__worker_post(back->worker, &request->task);
        return;
    }
    request->counted = true;
    count_through(back, request, 1);
    if (request_waits(back, request)) {
        request->task.next = NULL;
        *back->held_last = &request->task;
        back->held_last = &request->task.next;
    } else {
        mp__write_through(back->manager, request);
    }
    (void)pthread_mutex_unlock(&back->lock);
}

void mp__back_went_through(mp__back *back, const mp__write_request *request)
{
    count_through(back, request, -1u);
}

const mp__entry *mp__back_find(mp__back *back, mp_str address, uint64_t hash)
{
    const mp__entry *entry = NULL;
    const mp__pending *p;

    (void)pthread_mutex_lock(&back->lock);
    p = find(back, address, hash);
    if (p)
        entry = mp__entry_ref(p->entry);
    (void)pthread_mutex_unlock(&back->lock);
    return entry;
}

bool mp__back_waits(mp__back *back, mp__read *read)
{
    bool waits;

    (void)pthread_mutex_lock(&back->lock);
    waits = find(back, read->address, read->hash) != NULL;
    if (waits) {
        read->next = back->waiting;
        back->waiting = read;
    }
    (void)pthread_mutex_unlock(&back->lock);
    return waits;
}

mp__read *mp__back_late(mp__back *back, const mp__loop *loop, uint64_t before_ns)
{
    mp__read **link, *late = NULL;

    (void)pthread_mutex_lock(&back->lock);
    link = &back->waiting;
    while (*link) {
        mp__read *read = *link;

        if (read->loop != loop || read->started_ns > before_ns) {
            link = &read->next;
            continue;
        }
        *link = read->next;
        read->next = late;
        late = read;
    }
    (void)pthread_mutex_unlock(&back->lock);
    return late;
}

/* ---- a life of it ---- */

/* One record of the journal. */
static int load(void *context, mp_str bytes)
{
    mp__back *back = context;
    mp__back_record r;
    mp__pending *p;
    int rc = mp__back_decode(bytes, &r);

    if (rc)
        return rc;
    if (r.sequence > back->sequence)
        back->sequence = r.sequence;
    for (p = back->first; p && p->sequence != r.sequence; p = p->next)
        ;
    if (r.kind == MP__BACK_ARRIVED) {
        if (p) {
            unlink_pending(back, p);
            (void)pending_free(p);
        }
        return 0;
    }
    if (r.kind == MP__BACK_REBASED) {
        if (p) {
            p->base_known = true;
            p->base = r.base;
        }
        return 0;
    }
    r.what.created_ms = r.what.modified_ms = r.what.fetched_ms = r.what.verified_ms = r.accepted_ms;
    p = pending_new(back, &r.what, r.actor);
    if (!p)
        return MP_ENOMEM;
    p->sequence = r.sequence;
    p->accepted_ms = r.accepted_ms;
    p->base_known = r.base_known;
    p->base = r.base;
    p->may_have_come = true;
    link_pending(back, p);
    return 0;
}

static int open_journal(mp__back *back, mp__diag *diag)
{
    mp__manager *manager = back->manager;
    mp__journal_found found = {0};
    char path[4200];
    int rc;

    (void)snprintf(path, sizeof(path), "%s/write-back.log", manager->data_dir);
    rc = mp__journal_open(manager->env, path, MP__BACK_JOURNAL_KIND, load, back, &back->journal,
                          &found, diag);
    if (rc == 0 && found.damaged)
        mp__event_note(manager, "write-back-damaged",
                       "%" PRIu64 " places of write-back.log are damaged; what they held is in "
                       "write-back.log.bad",
                       found.damaged);
    if (rc == 0 && back->first)
        mp__event_note(manager, "write-back", "%u writes of an earlier life are on their way",
                       atomic_load(&back->filter->pending));
    return rc;
}

static bool journal_exists(const mp__manager *manager)
{
    char path[4200];
    mp__stat stat;

    (void)snprintf(path, sizeof(path), "%s/write-back.log", manager->data_dir);
    return mp__env_stat(manager->env, path, &stat) == 0;
}

int mp__back_new(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    mp__memory_plan plan;
    mp__back *back;
    int rc;

    if (!mp__write_modes_have_back(manager->write_modes) && !journal_exists(manager))
        return 0; /* what an earlier life accepted must arrive, whatever the modes are now */
    back = mp__calloc(1, sizeof(*back));
    if (!back)
        return MP_ENOMEM;
    back->manager = manager;
    back->filter = &manager->back_filter;
    rc = mp__memory_plan_make(options, &plan, diag); /* 0 bytes: only what is there already goes */
    back->bytes_max = rc == 0 ? plan.write_back_bytes : 0;
    back->last = &back->first;
    back->held_last = &back->held;
    (void)pthread_mutex_init(&back->lock, NULL);
    if (rc == 0)
        rc = open_journal(back, diag);
    if (rc == 0)
        rc = mp__worker_new_idle(manager->env, "mp-write-back", IDLE_MS, run_batch, back,
                                 &back->worker);
    if (rc) {
        (void)mp__back_free(back);
        return rc;
    }
    manager->back = back;
    return 0;
}

void mp__back_stop(mp__back *back)
{
    if (!back)
        return;
    (void)pthread_mutex_lock(&back->lock);
    atomic_store(&back->stopping, true);
    (void)pthread_mutex_unlock(&back->lock);
}

mp__back *mp__back_free(mp__back *back)
{
    if (!back)
        return NULL;
    back->worker = mp__worker_free(back->worker);
    if (back->journal)
        (void)mp__journal_sync(back->journal);
    back->journal = mp__journal_close(back->journal);
    while (back->first) {
        mp__pending *p = back->first;

        unlink_pending(back, p);
        (void)pending_free(p);
    }
    mp__back_conflicts_done(&back->conflict_file);
    mp__buf_done(&back->record);
    (void)pthread_mutex_destroy(&back->lock);
    return mp__free(back);
}

void mp__back_json(mp__back *back, mp__buf *out)
{
    char text[128] = "";

    (void)pthread_mutex_lock(&back->lock);
    if (back->trouble)
        (void)snprintf(
            text, sizeof(text), "%s%s", mp_strerror(back->trouble),
            back->trouble == MP_ELIMIT ? "; look through conflicts.jsonl and move it away" : "");
    mp__json_add_u64(out, "pending", atomic_load(&back->filter->pending));
    mp__json_add_u64(out, "bytes", atomic_load(&back->bytes));
    mp__json_add_u64(out, "bytes_max", back->bytes_max);
    mp__json_add_i64(out, "oldest_ms",
                     back->oldest_ms ? mp__manager_wall_ms(back->manager) - back->oldest_ms : 0);
    mp__json_add_u64(out, "accepted", back->accepted);
    mp__json_add_u64(out, "arrived", back->arrived);
    mp__json_add_u64(out, "conflicts", back->conflicts);
    mp__json_add_text(out, "trouble", text);
    (void)pthread_mutex_unlock(&back->lock);
}

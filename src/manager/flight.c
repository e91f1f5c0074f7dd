/* SPDX-License-Identifier: Apache-2.0 */
/* Single flight: however many wait for an address, the origin is asked once at a time.
 *
 * Who may do with what is already on its way joins the flight; a strong read, or one that must see
 * a write, waits for the next one, which begins when this one ends. Each waiter has its own
 * deadline (origin.timeout), looked at by its own loop; the flight itself goes on.
 *
 * A flight that takes so long is told to the circuit (circuit.h). While that is open nobody waits:
 * who asks is answered at once with what is kept, or that nobody knows, and the origin gets no
 * question more than its probe.
 *
 * Of ten thousand that ask at once not all have come by the time an origin that fails at once has
 * said so. So that these do not ask one after the other, a failure stands for FAILED_NS for those
 * who would have joined the flight.
 *
 * Nor have all of them looked at memory after the answer came there. So it is there before the
 * flight leaves the table, and who finds no flight looks once more, under the table's lock. */
#include <errno.h>

#include "manager/internal.h"

#define FAILED_NS 500000000u
#define HALTED_NS 1000000000u /* between two looks: nobody ran, the origin's threads neither */

static mp_str address_of(const mp__flight *flight)
{
    return mp_str_new(flight->address, flight->address_size);
}

static mp__flight *find(const mp__flight_shard *shard, mp_str address, uint64_t hash)
{
    for (mp__flight *f = shard->first; f; f = f->next)
        if (f->hash == hash && mp_str_equal(address_of(f), address))
            return f;
    return NULL;
}

static void add_waiter(mp__flight *flight, mp__read *read)
{
    read->next = NULL;
    *flight->last_waiter = read;
    flight->last_waiter = &read->next;
}

/* ---- failures of late; all under the shard's lock ---- */

static mp__flight_failure *failure_of(mp__flight_shard *shard, uint64_t hash)
{
    for (size_t i = 0; i < MP__FLIGHT_FAILURES; i++)
        if (shard->failures[i].status && shard->failures[i].hash == hash)
            return &shard->failures[i];
    return NULL;
}

/* What the origin answered a moment ago, and has not come back since; 0: nothing of that sort. */
static int failed_of_late(const mp__manager *manager, mp__flight_shard *shard, uint64_t hash)
{
    const mp__flight_failure *failure = failure_of(shard, hash);
    uint32_t live = atomic_load(&manager->generation);

    if (!failure || mp__env_now_ns(manager->env) - failure->failed_ns >= FAILED_NS ||
        (live && live != failure->generation))
        return 0;
    return failure->status;
}

/* @status as it ended, if it is the origin's and not our own want of room. */
static void note_failure(mp__flight_shard *shard, const mp__flight *flight, int status)
{
    mp__flight_failure *failure = failure_of(shard, flight->hash), *oldest = shard->failures;

    if (status == MP_ENOMEM || status == MP_ELIMIT || status == MP_ECANCELED || status == MP_EINVAL)
        return;
    for (size_t i = 1; i < MP__FLIGHT_FAILURES && !failure; i++)
        if (shard->failures[i].failed_ns < oldest->failed_ns)
            oldest = &shard->failures[i];
    failure = failure ? failure : oldest;
    *failure = (mp__flight_failure){
        .hash = flight->hash,
        .failed_ns = mp__env_now_ns(flight->manager->env),
        .generation = atomic_load(&flight->manager->generation),
        .status = status,
    };
}

static void forget_failure(mp__flight_shard *shard, uint64_t hash)
{
    mp__flight_failure *failure = failure_of(shard, hash);

    if (failure)
        *failure = (mp__flight_failure){0};
}

/* ---- taking off ---- */

static void fetch_done(mp__fetch *fetch, int status, const mp__record *record);

/* Under the shard's lock: a flight in the table, not yet sent. NULL: no memory. */
static mp__flight *flight_new(mp__manager *manager, mp__flight_shard *shard, mp_str address,
                              uint64_t hash, const mp__entry *known)
{
    mp__flight *flight = mp__calloc(1, sizeof(*flight) + address.size);

    if (!flight)
        return NULL;
    flight->manager = manager;
    flight->hash = hash;
    flight->last_waiter = &flight->waiters;
    flight->known = known ? mp__entry_ref(known) : NULL;
    flight->address_size = (uint16_t)address.size;
    memcpy(flight->address, address.data, address.size);
    flight->fetch = (mp__fetch){
        .address = address_of(flight),
        .if_revision = known && known->kind == MP__RECORD_VALUE ? known->revision : 0,
        .done = fetch_done,
    };
    flight->started_ns = mp__env_now_ns(manager->env);
    flight->started_ms = mp__manager_wall_ms(manager);
    flight->asked_ms = mp__env_wall_ms(manager->env);
    flight->generation = atomic_load(&manager->generation);
    flight->next = shard->first;
    shard->first = flight;
    (void)atomic_fetch_add_explicit(&manager->flights_under_way, 1, memory_order_relaxed);
    return flight;
}

static void listed(mp__list *list, int status, const mp__record *records, size_t count,
                   uint64_t next);

static void send_off(mp__flight *flight)
{
    mp__monitor_count(flight->manager->monitor, MP__EVENT_FLIGHTS, 1);
    if (mp__overlay_is_mark(address_of(flight))) {
        flight->list = (mp__list){
            .environment = address_of(flight), .limit = 1, .by_key = true, .done = listed};
        mp__origin_list(flight->manager->origin, &flight->list);
        return;
    }
    mp__origin_fetch(flight->manager->origin, &flight->fetch);
}

/* What a flight brings may be as old as it is. */
static bool is_young_enough(const mp__manager *manager, const mp__flight *flight,
                            const mp__read *read)
{
    uint64_t age_ms = (mp__env_now_ns(manager->env) - flight->started_ns) / 1000000u;
    int64_t bound_ms = atomic_load_explicit(&manager->eventual_bound_ms, memory_order_relaxed);

    if (read->age_max_ms >= 0 && read->age_max_ms < bound_ms)
        bound_ms = read->age_max_ms;
    return age_ms <= (uint64_t)bound_ms;
}

static void look_again(mp__read *read)
{
    read->entry = mp__entry_unref(read->entry);
    mp__read_again(read);
}

void mp__flight_wait(mp__manager *manager, mp__read *read, const mp__entry *known, bool join)
{
    mp__flight_shard *shard = mp__flight_shard_of(manager, read->hash);
    mp__flight *flight, *fresh = NULL;
    bool is_answered = false;
    int refusal = 0;

    mp__monitor_count(manager->monitor, MP__EVENT_FLIGHT_WAITERS, 1);
    (void)pthread_mutex_lock(&shard->lock);
    flight = find(shard, read->address, read->hash);
    if (mp__circuit_is_open(&manager->circuit)) {
        refusal = MP_ETIMEOUT;
        atomic_fetch_add_explicit(&manager->circuit.refused, 1, memory_order_relaxed);
    } else if (flight && join && !flight->dirty && is_young_enough(manager, flight, read)) {
        add_waiter(flight, read);
    } else if (flight) {
        read->next = flight->later;
        flight->later = read;
    } else if (mp__read_is_answered(manager, read)) {
        is_answered = true;
    } else {
        refusal = join ? failed_of_late(manager, shard, read->hash) : 0;
        if (!refusal) {
            fresh = flight_new(manager, shard, read->address, read->hash, known);
            refusal = fresh ? 0 : MP_ENOMEM;
        }
        if (fresh)
            add_waiter(fresh, read);
    }
    (void)pthread_mutex_unlock(&shard->lock);
    if (fresh)
        send_off(fresh);
    if (is_answered)
        look_again(read);
    if (refusal) {
        mp__read_answer(manager, read, refusal, NULL, 0);
        mp__read_post(read);
    }
}

bool mp__flight_refresh(mp__manager *manager, const mp__entry *entry, uint64_t hash, bool is_ahead)
{
    mp__flight_shard *shard = mp__flight_shard_of(manager, hash);
    mp__flight *flight = NULL;

    if (mp__circuit_is_open(&manager->circuit))
        return false;
    (void)pthread_mutex_lock(&shard->lock);
    /* unless one has just landed */
    if (!find(shard, mp__entry_address(entry), hash) && !mp__read_is_held(manager, entry))
        flight = flight_new(manager, shard, mp__entry_address(entry), hash, entry);
    if (flight)
        flight->is_ahead = is_ahead;
    (void)pthread_mutex_unlock(&shard->lock);
    if (flight)
        send_off(flight);
    return flight != NULL;
}

void mp__flight_heal(mp__manager *manager, mp_str address, uint64_t hash)
{
    if (!mp__circuit_is_open(&manager->circuit))
        mp__flight_probe(manager, address, hash);
}

void mp__flight_probe(mp__manager *manager, mp_str address, uint64_t hash)
{
    mp__flight_shard *shard = mp__flight_shard_of(manager, hash);
    mp__flight *flight = NULL;

    (void)pthread_mutex_lock(&shard->lock);
    if (!find(shard, address, hash))
        flight = flight_new(manager, shard, address, hash, NULL);
    (void)pthread_mutex_unlock(&shard->lock);
    if (flight)
        send_off(flight);
}

void mp__flight_dirty(mp__manager *manager, mp_str address, uint64_t hash, uint64_t revision)
{
    mp__flight_shard *shard = mp__flight_shard_of(manager, hash);
    mp__flight *flight;

    (void)pthread_mutex_lock(&shard->lock);
    flight = find(shard, address, hash);
    if (flight) {
        flight->dirty = true;
        if (flight->changed_to < revision)
            flight->changed_to = revision;
    }
    (void)pthread_mutex_unlock(&shard->lock);
}

/* ---- landing ---- */

/* Whether the answer may be from before a change that came meanwhile. One that is newer than that
 * is kept, that there is none as of a later revision, too: whoever was told of it must not be told
 * the older one after it. */
static bool is_outdated(const mp__flight *flight, const mp__record *record)
{
    /* what it was changed to itself is kept already, and held fresh by the change */
    return flight->landed_dirty && flight->landed_changed_to &&
           record->revision <= flight->landed_changed_to;
}

/* What answers those who asked before the address changed: what is kept of it by now, unless that
 * is older. It is not kept itself. What it was changed to may be forgotten already, as that it is
 * absent is after a while, and would not keep an older value out. */
static const mp__entry *pass_on(mp__manager *manager, const mp__record *record, uint64_t hash)
{
    const mp__entry *entry = NULL;

    if (mp_read_begin() == 0) {
        entry = mp__cache_peek(manager->cache, record->address, hash);
        entry = entry && entry->revision >= record->revision ? mp__entry_ref(entry) : NULL;
        mp_read_end();
    }
    return entry ? entry : mp__cache_entry(manager->cache, record);
}

/* Keep what the origin said. A reference to the entry that answers, or NULL without memory. */
static const mp__entry *fill(mp__flight *flight, uint64_t removals, const mp__record *record)
{
    mp__manager *manager = flight->manager;
    bool dirty = flight->landed_dirty;
    uint32_t generation = flight->generation; /* a watch that began later did not see this */
    const mp__entry *entry = NULL;
    mp__record kept;
    unsigned flags = MP__PUT_FILL;

    if (flight->fetch.unchanged) {
        if (!dirty && manager->shared) {
            mp__entry_record(flight->known, &kept);
            kept.verified_ms = flight->started_ms;
            mp__shared_put(manager->shared, &kept, false);
        }
        if (!dirty)
            mp__cache_verified(
                manager->cache, flight->known, flight->started_ms, generation,
                mp__verify_by(manager, flight->known->kind, address_of(flight), flight->hash));
        return mp__entry_ref(flight->known);
    }
    kept = *record;
    kept.address = address_of(flight);
    kept.is_worth_keeping = mp__overlay_is_mark(kept.address);
    /* the origin may have looked as soon as it was asked, however long the answer took */
    kept.fetched_ms = kept.verified_ms = flight->started_ms;
    if (is_outdated(flight, &kept))
        return pass_on(manager, &kept, flight->hash);
    /* An origin that stands before what is kept was set back; it is the truth all the same. */
    if (!dirty && flight->known && flight->fetch.as_of < flight->known->revision)
        flags |= MP__PUT_FORCE;
    if (mp__cache_fill_record(manager->cache, removals, &kept, flags, dirty ? 0 : generation,
                              mp__verify_by(manager, kept.kind, kept.address, flight->hash),
                              &entry) != 0)
        return NULL;
    if (!dirty)
        mp__shared_put(manager->shared, &kept, (flags & MP__PUT_FORCE) != 0);
    return entry;
}

/* What an origin that cannot be asked remembers is as good as what we kept ourselves, if that is
 * not newer: the last known good. A reference, or NULL. */
static const mp__entry *remember(mp__flight *flight, uint64_t removals, const mp__record *record)
{
    mp__manager *manager = flight->manager;
    const mp__entry *entry = NULL;
    mp__record kept = *record;

    if (flight->known && flight->known->revision >= record->revision)
        return mp__entry_ref(flight->known);
    kept.address = address_of(flight);
    kept.fetched_ms = record->verified_ms;
    if (is_outdated(flight, &kept))
        return pass_on(manager, &kept, flight->hash);
    if (mp__cache_fill_record(manager->cache, removals, &kept, 0, 0, mp__manager_now_s(manager),
                              &entry) != 0)
        return NULL;
    return entry;
}

/* What is dirty later is for those to know who come then: they do not join it any more. True: it
 * was counted as late. */
static bool note_changes(mp__flight *flight)
{
    mp__flight_shard *shard = mp__flight_shard_of(flight->manager, flight->hash);
    bool is_late;

    (void)pthread_mutex_lock(&shard->lock);
    flight->landed_dirty = flight->dirty;
    flight->landed_changed_to = flight->changed_to;
    is_late = flight->is_late;
    flight->is_late = true; /* whatever comes of it, it is not counted again */
    (void)pthread_mutex_unlock(&shard->lock);
    return is_late;
}

/* Take @flight, which ended with @status, out of the table; what waited for a later look begins the
 * next one. */
static mp__flight *take_off_table(mp__flight *flight, int status)
{
    mp__manager *manager = flight->manager;
    mp__flight_shard *shard = mp__flight_shard_of(manager, flight->hash);
    mp__flight **link, *next = NULL;

    (void)pthread_mutex_lock(&shard->lock);
    for (link = &shard->first; *link != flight; link = &(*link)->next)
        ;
    *link = flight->next;
    if (status == 0)
        forget_failure(shard, flight->hash);
    else if (!flight->dirty)
        note_failure(shard, flight, status);
    if (flight->later) {
        next = flight_new(manager, shard, address_of(flight), flight->hash, NULL);
        if (next) {
            while (flight->later) {
                mp__read *read = flight->later;

                flight->later = read->next;
                add_waiter(next, read);
            }
        }
    }
    (void)pthread_mutex_unlock(&shard->lock);
    return next;
}

static void answer_all(mp__manager *manager, mp__read *reads, int status, const mp__entry *entry,
                       uint64_t as_of, int64_t as_of_ms)
{
    while (reads) {
        mp__read *next = reads->next;

        reads->as_of = as_of;
        mp__read_answer(manager, reads, status, entry, as_of_ms);
        mp__read_post(reads);
        reads = next;
    }
}

/* The expiry of what the origin said has come on the way: the next look begins after it. */
static void ask_again(mp__read *reads)
{
    while (reads) {
        mp__read *next = reads->next;

        look_again(reads);
        reads = next;
    }
}

/* Take out of @reads those that want a revision which the origin, that stands at @as_of, has not
 * reached. */
static mp__read *take_early(mp__read **reads, const mp__entry *entry, uint64_t as_of)
{
    mp__read *early = NULL;

    while (*reads) {
        mp__read *read = *reads;

        if (read->revision_min <= as_of || read->revision_min <= entry->revision) {
            reads = &read->next;
            continue;
        }
        *reads = read->next;
        read->next = early;
        early = read;
    }
    return early;
}

static void land(mp__flight *flight, int status, const mp__record *record)
{
    mp__flight *next;
    mp__manager *manager = flight->manager;
    const mp__entry *entry = NULL;
    uint64_t removals = mp__cache_removals(manager->cache), took_ns, as_of = flight->fetch.as_of;
    /* what an origin remembers that cannot be asked is an answer, and no failure */
    int failure = status && !record ? status : 0;
    bool is_late;

    is_late = note_changes(flight);
    took_ns = mp__env_now_ns(manager->env) - flight->started_ns;
    mp__monitor_record(manager->monitor, MP__OP_FETCH, MP__TIER_ORIGIN, took_ns, 1);
    mp__ahead_learn(manager, took_ns, status == 0 || status == MP_ECORRUPT, flight->is_ahead);
    if (status != MP_ETIMEOUT)
        mp__origin_answered(manager);
    else if (!is_late)
        mp__origin_is_late(manager, flight->started_ns);
    if (status == 0) {
        entry = fill(flight, removals, record);
        if (!entry)
            status = MP_ENOMEM;
    } else if (record) {
        entry = remember(flight, removals, record);
    }
    next = take_off_table(flight, failure);
    if (status == 0)
        answer_all(manager, take_early(&flight->waiters, entry, as_of), MP_EINVAL, entry, 0,
                   flight->started_ms);
    if (status == 0 && as_of && entry->revision > as_of)
        as_of = entry->revision; /* what was kept meanwhile */
    if (status == 0 && mp__read_is_outlived(manager, entry, flight->asked_ms))
        ask_again(flight->waiters);
    else
        answer_all(manager, flight->waiters, status, entry, as_of, flight->started_ms);
    answer_all(manager, flight->later, MP_ENOMEM, NULL, 0,
               0); /* only where the next one had no memory */
    (void)mp__entry_unref(entry);
    (void)mp__entry_unref(flight->known);
    (void)mp__free(flight);
    (void)atomic_fetch_sub_explicit(&manager->flights_under_way, 1, memory_order_relaxed);
    if (next)
        send_off(next);
}

static void fetch_done(mp__fetch *fetch, int status, const mp__record *record)
{
    land((mp__flight *)((char *)fetch - offsetof(mp__flight, fetch)), status, record);
}

/* The first of the keys of a scope, if it has any. */
static void listed(mp__list *list, int status, const mp__record *records, size_t count,
                   uint64_t next)
{
    mp__flight *flight = (mp__flight *)((char *)list - offsetof(mp__flight, list));
    mp__record record = {.kind = count ? MP__RECORD_VALUE : MP__RECORD_ABSENT,
                         .revision = list->as_of,
                         .created_revision = list->as_of,
                         .version = 1};

    (void)records;
    (void)next;
    flight->fetch.as_of = list->as_of;
    if (status == 0 && list->remembered)
        status = MP_EORIGIN;
    land(flight, status, status == 0 ? &record : NULL);
}

/* ---- deadlines ---- */

/* Take from a list what waits on @loop since before @before_ns, and put it before @late. */
static mp__read *take_late(mp__read **list, const mp__loop *loop, uint64_t before_ns,
                           mp__read *late)
{
    while (*list) {
        mp__read *read = *list;

        if (read->loop != loop || read->started_ns > before_ns) {
            list = &read->next;
            continue;
        }
        *list = read->next;
        read->next = late;
        late = read;
    }
    return late;
}

/* Those who wait for a write on its way, so that they can ask the origin. */
static void answer_late_behind_writes(mp__manager *manager, mp__loop *loop, uint64_t before_ns)
{
    mp__read *late = mp__back_late(manager->back, loop, before_ns);

    while (late) {
        mp__read *next = late->next;

        late->entry = mp__back_find(manager->back, late->address, late->hash);
        mp__read_answer(manager, late, MP_ETIMEOUT, NULL, 0);
        mp__read_post(late);
        late = next;
    }
}

/* Take what waits on @loop too long out of the flights of @shard. Flights that are under way as
 * long are told to the circuit, if that @counts, each once: some now, the others the next time. */
static mp__read *late_of(mp__manager *manager, mp__flight_shard *shard, const mp__loop *loop,
                         uint64_t before_ns, bool counts)
{
    uint64_t asked_ns[MP__CIRCUIT_LATE_MAX];
    mp__read *late = NULL;
    size_t count = 0;

    (void)pthread_mutex_lock(&shard->lock);
    for (mp__flight *f = shard->first; f; f = f->next) {
        late = take_late(&f->waiters, loop, before_ns, late);
        late = take_late(&f->later, loop, before_ns, late);
        f->last_waiter = &f->waiters;
        while (*f->last_waiter)
            f->last_waiter = &(*f->last_waiter)->next;
        if (counts && !f->is_late && f->started_ns <= before_ns && count < MP__CIRCUIT_LATE_MAX) {
            f->is_late = true;
            asked_ns[count++] = f->started_ns;
        }
    }
    (void)pthread_mutex_unlock(&shard->lock);
    for (size_t i = 0; i < count; i++)
        mp__origin_is_late(manager, asked_ns[i]);
    return late;
}

/* Whether what is late is the origin's fault: not what was put before a halt, until the origin has
 * had its time since then. For whichever loop looks first, the others see what it saw. */
static bool is_to_blame(mp__manager *manager, uint64_t now_ns, uint64_t timeout_ns)
{
    uint64_t scanned = atomic_load_explicit(&manager->scanned_ns, memory_order_acquire);

    if (now_ns >= scanned + HALTED_NS)
        atomic_store_explicit(&manager->resumed_ns, now_ns, memory_order_relaxed);
    atomic_store_explicit(&manager->scanned_ns, now_ns, memory_order_release); /* behind that */
    return now_ns >= atomic_load_explicit(&manager->resumed_ns, memory_order_relaxed) + timeout_ns;
}

/* A page may be much work for an origin: by itself it opens the circuit only as late as a write. */
static void look_at_the_preload(mp__manager *manager, uint64_t now_ns, uint64_t before_ns)
{
    uint64_t asked_ns = mp__preload_late(manager, before_ns);

    if (asked_ns)
        mp__origin_page_stands(manager, asked_ns, now_ns);
}

void mp__manager_deadlines(mp__manager *manager, mp__loop *loop)
{
    int64_t timeout_ms = atomic_load_explicit(&manager->timeout_ms, memory_order_relaxed);
    uint64_t now = mp__env_now_ns(manager->env), timeout_ns = (uint64_t)timeout_ms * 1000000u;
    bool counts = is_to_blame(manager, now, timeout_ns);

    mp__origin_probe(manager);
    if (counts)
        mp__origin_writes_stand(manager, now);
    if (now < timeout_ns)
        return;
    mp__ask_late(manager, loop, now - timeout_ns, counts);
    if (counts)
        look_at_the_preload(manager, now, now - timeout_ns);
    if (manager->back)
        answer_late_behind_writes(manager, loop, now - timeout_ns);
    if (atomic_load_explicit(&manager->flights_under_way, memory_order_relaxed) == 0)
        return;
    for (int i = 0; i < MP__FLIGHT_SHARDS; i++)
        answer_all(manager, late_of(manager, &manager->flights[i], loop, now - timeout_ns, counts),
                   MP_ETIMEOUT, NULL, 0, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Preload: bring into L1 what will be read, before it is read for the first time.
 *
 * Page by page on the origin's reader, each page asked for when the one before is kept, so that
 * reads get in between. It ends when the patterns are done or the budget (a share of L1) is used
 * up, since more would only push out what it brought. One preload at a time.
 *
 * A page is as true as a fetch: its records are held fresh by the watch that was live when it was
 * asked for. Should anything have been written meanwhile, they are kept unverified, as a page
 * cannot know which of its keys that was. */
#include <inttypes.h>
#include <stdio.h>

#include "manager/internal.h"

enum { PAGE = 256, TRACKED = 4096, PATTERNS_MAX = 64 /* that are asked for */ };

typedef struct tracked {
    uint64_t hash;
    char *address;
} tracked;

struct mp__preload {
    mp__manager *manager;
    pthread_mutex_t lock; /* over all but `list`, which belongs to who asks for the page */
    enum { NEVER, RUNNING, DONE, BUDGET_USED, FAILED } state;
    bool stopping, pins_next;
    char **patterns;
    size_t pattern_count, pattern;
    uint64_t keys, bytes, keys_max, bytes_max;
    unsigned budget_percent; /* of L1; 0: as the option says */
    uint64_t started_ns, took_ns;
    int error;
    bool is_found, are_pins; /* a key of the pattern at work; who may wait for keys to come */
    size_t missed;           /* patterns that found no key */
    char first_missed[320];  /* what was looked for in vain */
    char *missed_pattern;    /* the same by itself; NULL: no memory */
    tracked *tracked;        /* those that were not in L1 before */
    size_t tracked_count;
    /* the page under way */
    mp__list list;
    uint32_t generation;
    int64_t started_ms;
    uint64_t writes;
    _Atomic uint64_t asked_ns; /* 0: there is none. Loops look at it without the lock, */
    _Atomic uint64_t late_ns;  /* and note here the one that they counted as late */
};

static const char *const state_names[] = {"never", "running", "done", "budget-used", "failed"};

int mp__preload_new(mp__manager *manager)
{
    manager->preload = mp__calloc(1, sizeof(*manager->preload));
    if (!manager->preload)
        return MP_ENOMEM;
    manager->preload->manager = manager;
    (void)pthread_mutex_init(&manager->preload->lock, NULL);
    return 0;
}

static void drop_tracked(mp__preload *p)
{
    for (size_t i = 0; i < p->tracked_count; i++)
        (void)mp__free(p->tracked[i].address);
    p->tracked = mp__free(p->tracked);
    p->tracked_count = 0;
}

static void drop_patterns(mp__preload *p)
{
    for (size_t i = 0; i < p->pattern_count; i++)
        (void)mp__free(p->patterns[i]);
    p->patterns = mp__free(p->patterns);
    p->pattern_count = p->pattern = 0;
}

void mp__preload_stop(mp__manager *manager)
{
    if (!manager->preload)
        return;
    (void)pthread_mutex_lock(&manager->preload->lock);
    manager->preload->stopping = true;
    (void)pthread_mutex_unlock(&manager->preload->lock);
}

void mp__preload_free(mp__manager *manager)
{
    mp__preload *p = manager->preload;

    if (!p)
        return;
    drop_tracked(p);
    drop_patterns(p);
    (void)mp__free(p->missed_pattern);
    (void)pthread_mutex_destroy(&p->lock);
    manager->preload = mp__free(p);
}

/* ---- patterns: "environment/namespace/key", or with a * at the end ---- */

static bool pattern_split(mp_str pattern, mp_str *ret_environment, mp_str *ret_prefix,
                          bool *ret_is_exact)
{
    const char *slash = memchr(pattern.data, '/', pattern.size);
    size_t size;

    if (!slash || slash + 1 == pattern.data + pattern.size)
        return false;
    size = (size_t)(slash - pattern.data);
    *ret_environment = mp_str_new(pattern.data, size);
    *ret_prefix = mp_str_new(slash + 1, pattern.size - size - 1);
    *ret_is_exact = ret_prefix->data[ret_prefix->size - 1] != '*';
    if (!*ret_is_exact)
        ret_prefix->size--;
    return mp__scope_check(*ret_environment, NULL) == 0;
}

/* ---- a page ---- */

static void page_done(mp__list *list, int status, const mp__record *records, size_t count,
                      uint64_t next);
static bool begin(mp__preload *p);

/* Under the lock: make the next page ready. False: there is none, and why is in state. */
static bool next_page(mp__preload *p, uint64_t after)
{
    mp_str environment, prefix;
    bool is_exact;

    if (p->stopping || p->pattern == p->pattern_count ||
        !pattern_split(mp_str_of(p->patterns[p->pattern]), &environment, &prefix, &is_exact)) {
        p->state = DONE;
        return false;
    }
    p->list = (mp__list){.environment = environment,
                         .prefix = prefix,
                         .after = after,
                         .limit = PAGE,
                         .with_values = true,
                         .done = page_done};
    p->generation = atomic_load(&p->manager->generation);
    p->started_ms = mp__manager_wall_ms(p->manager);
    p->writes = atomic_load(&p->manager->changes_kept);
    atomic_store(&p->asked_ns, mp__env_now_ns(p->manager->env));
    return true;
}

static void track(mp__preload *p, mp_str address, uint64_t hash)
{
    char *copy;

    if (p->tracked_count == TRACKED)
        return;
    if (!p->tracked)
        p->tracked = mp__calloc(TRACKED, sizeof(*p->tracked));
    copy = p->tracked ? mp__str_dup(address) : NULL;
    if (copy)
        p->tracked[p->tracked_count++] = (tracked){hash, copy};
}

static void keep(mp__preload *p, const mp__record *record)
{
    mp__manager *manager = p->manager;
    uint64_t hash = mp__cache_hash(manager->hasher, record->address);
    bool was_there = mp__cache_where(manager->cache, record->address, hash) & 1u << MP__TIER_L1;
    uint32_t verify_by = mp__verify_by(manager, record->kind, record->address, hash);
    const mp__entry *entry = NULL;
    mp__record kept = *record;

    kept.fetched_ms = kept.verified_ms = p->started_ms;
    if (mp__cache_put_record(manager->cache, &kept, 0, p->generation, verify_by, &entry) != 0)
        return;
    /* a deletion that came between and was forgotten again must not be undone */
    if (atomic_load(&manager->changes_kept) != p->writes && entry->revision == kept.revision)
        mp__cache_verified(manager->cache, entry, p->started_ms, 0, 0);
    (void)mp__entry_unref(entry);
    p->keys++;
    p->bytes += record->address.size + record->value.size;
    if (!was_there)
        track(p, record->address, hash);
}

/* Under the lock. True when the budget is used up. */
static bool keep_page(mp__preload *p, const mp__record *records, size_t count)
{
    mp_str environment = MP_STR(""), prefix = MP_STR("");
    bool is_exact = false;

    (void)pattern_split(mp_str_of(p->patterns[p->pattern]), &environment, &prefix, &is_exact);
    for (size_t i = 0; i < count; i++) {
        mp_str name = mp_str_new(records[i].address.data + environment.size + 1,
                                 records[i].address.size - environment.size - 1);

        if (records[i].kind != MP__RECORD_VALUE || (is_exact && !mp_str_equal(name, prefix)))
            continue;
        p->is_found = true;
        if (p->keys >= p->keys_max || p->bytes + records[i].value.size > p->bytes_max)
            return true;
        keep(p, &records[i]);
    }
    return false;
}

static bool may_see(const mp__preload *p, const mp__identity *identity)
{
    return identity && p->missed_pattern &&
           mp__access_check(p->manager->access, identity, MP__RIGHT_READ,
                            mp_str_of(p->missed_pattern), NULL) == 0;
}

/* What went wrong, as @identity may see it, or "". */
static const char *trouble_of(const mp__preload *p, const mp__identity *identity)
{
    if (p->error)
        return mp_strerror(p->error);
    if (p->missed == 0)
        return "";
    return may_see(p, identity) ? p->first_missed
                                : "a pattern found no key; who may read it is told which one";
}

static void note_missed(mp__preload *p, const char *pattern)
{
    mp_str environment, prefix;
    bool is_exact;

    if (!pattern_split(mp_str_of(pattern), &environment, &prefix, &is_exact))
        return;
    (void)mp__free(p->missed_pattern);
    p->missed_pattern = mp__str_dup(mp_str_of(pattern));
    (void)snprintf(p->first_missed, sizeof(p->first_missed),
                   "'%.100s' found no key: environment '%.*s', %s '%.*s'; write "
                   "environment/namespace/ke*",
                   pattern, (int)environment.size, environment.data,
                   is_exact ? "the key" : "keys that begin with",
                   (int)(prefix.size < 100 ? prefix.size : 100), prefix.data);
}

/* The pattern at work is done: a configured one that found nothing is mistaken, most likely. */
static void pattern_ends(mp__preload *p)
{
    bool is_missed = !p->is_found && !p->are_pins;

    if (is_missed && p->missed++ == 0)
        note_missed(p, p->patterns[p->pattern]);
    p->is_found = false;
    p->pattern++;
}

static void finish(mp__preload *p)
{
    const char *trouble = trouble_of(p, NULL); /* everybody sees the events */

    p->took_ns = mp__env_now_ns(p->manager->env) - p->started_ns;
    mp__event_note(p->manager, "preload",
                   "%s: %" PRIu64 " keys, %" PRIu64 " bytes in %" PRIu64 " ms%s%s",
                   state_names[p->state], p->keys, p->bytes, p->took_ns / 1000000u,
                   *trouble ? ": " : "", trouble);
}

/* Under the lock: what is pinned is next. False: nothing is. */
static bool begin_pins(mp__preload *p)
{
    char **rows;
    size_t count;

    p->pins_next = false;
    if (p->stopping || mp__pins_patterns(p->manager, &rows, &count) != 0)
        return false;
    drop_patterns(p);
    p->patterns = rows;
    p->pattern_count = count;
    p->are_pins = true; /* what was configured before stays told of */
    p->budget_percent = 0;
    return count != 0 && begin(p);
}

/* The page is a question like others to the circuit: it counts once when it is late. */
static bool counts_as_late(mp__preload *p, uint64_t asked_ns)
{
    return atomic_exchange(&p->late_ns, asked_ns) != asked_ns;
}

uint64_t mp__preload_late(mp__manager *manager, uint64_t before_ns)
{
    mp__preload *p = manager->preload;
    uint64_t asked_ns = atomic_load(&p->asked_ns);

    if (asked_ns == 0 || asked_ns > before_ns)
        return 0;
    if (counts_as_late(p, asked_ns))
        mp__origin_is_late(manager, asked_ns);
    return asked_ns;
}

/* The origin said something, or that it was told nothing in time. */
static void tell_circuit(mp__preload *p, int status, uint64_t asked_ns)
{
    if (status != MP_ETIMEOUT)
        mp__origin_answered(p->manager);
    else if (counts_as_late(p, asked_ns))
        mp__origin_is_late(p->manager, asked_ns);
}

/* On the origin's reader. */
static void page_done(mp__list *list, int status, const mp__record *records, size_t count,
                      uint64_t next)
{
    mp__preload *p = (mp__preload *)((char *)list - offsetof(mp__preload, list));
    uint64_t asked_ns = atomic_exchange(&p->asked_ns, 0);
    bool more = false;

    (void)pthread_mutex_lock(&p->lock);
    p->error = status;
    if (status) {
        p->state = FAILED;
    } else if (keep_page(p, records, count)) {
        p->state = BUDGET_USED;
    } else {
        if (next == 0)
            pattern_ends(p);
        more = next_page(p, next);
    }
    if (!more) {
        finish(p);
        more = p->pins_next && p->state != FAILED && begin_pins(p);
    }
    (void)pthread_mutex_unlock(&p->lock);
    tell_circuit(p, status, asked_ns); /* by now it may begin again what has failed */
    if (more)
        mp__origin_list(p->manager->origin, &p->list);
}

/* ---- starting ---- */

static int check_patterns(const mp_str *patterns, size_t count, mp__diag *diag)
{
    mp_str environment, prefix;
    bool is_exact;

    if (count == 0 || count > PATTERNS_MAX)
        return mp__diag_set(diag, MP_EINVAL, "name 1 to %d patterns", PATTERNS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!pattern_split(patterns[i], &environment, &prefix, &is_exact))
            return mp__diag_row(
                diag,
                mp__diag_set(diag, MP_EINVAL,
                             "'%.*s' is no pattern; write environment/namespace/key, or "
                             "environment/namespace/ke* for all keys that begin so",
                             mp__diag_shown(patterns[i]), patterns[i].data),
                i);
    return 0;
}

static int take_patterns(mp__preload *p, const mp_str *patterns, size_t count, mp__diag *diag)
{
    int rc = check_patterns(patterns, count, diag);

    if (rc)
        return rc;
    drop_patterns(p);
    p->patterns = mp__calloc(count, sizeof(*p->patterns));
    for (size_t i = 0; p->patterns && i < count; i++) {
        p->patterns[i] = mp__str_dup(patterns[i]);
        if (!p->patterns[i])
            return MP_ENOMEM;
        p->pattern_count++;
    }
    return p->patterns ? 0 : MP_ENOMEM;
}

static void set_budget(mp__preload *p)
{
    uint64_t percent =
        p->budget_percent ? p->budget_percent : atomic_load(&p->manager->preload_percent);
    mp_cache_stats stats;

    mp_cache_stats_read(p->manager->cache, &stats);
    p->keys_max = stats.l1_entries_max * percent / 100;
    p->bytes_max = stats.l1_bytes_max / 100 * percent;
    p->keys = p->bytes = 0;
    p->error = 0;
}

/* Under the lock. */
static bool begin(mp__preload *p)
{
    drop_tracked(p);
    set_budget(p);
    p->pattern = 0;
    p->is_found = false;
    if (!p->are_pins)
        p->missed = 0;
    p->started_ns = mp__env_now_ns(p->manager->env);
    p->state = RUNNING;
    return next_page(p, 0);
}

/* Whether @identity may read what the patterns name, and push out others' for it if it asks so. */
static int check_access(const mp__manager *manager, const mp__identity *identity,
                        const mp_str *patterns, size_t count, unsigned budget_percent,
                        mp__diag *diag)
{
    bool is_more = budget_percent > atomic_load(&manager->preload_percent);
    int rc = 0;

    for (size_t i = 0; i < count && rc == 0; i++) {
        rc = mp__access_check(manager->access, identity, MP__RIGHT_READ, patterns[i], diag);
        if (rc == 0 && is_more &&
            mp__access_check(manager->access, identity, MP__RIGHT_WRITE, patterns[i], NULL) != 0)
            rc = mp__diag_set(diag, MP_EDENIED,
                              "a budget above cache.preload_budget is for those who may write "
                              "what they bring");
    }
    return rc;
}

int mp__preload_start(mp__manager *manager, const mp__identity *identity, const mp_str *patterns,
                      size_t count, unsigned budget_percent, mp__diag *diag)
{
    mp__preload *p = manager->preload;
    bool begun = false;
    int rc = identity ? check_access(manager, identity, patterns, count, budget_percent, diag) : 0;

    if (rc)
        return rc;
    if (mp__circuit_is_open(&manager->circuit))
        return mp__diag_set(diag, MP_ETIMEOUT,
                            "the origin does not answer; see `marketprism status`");
    (void)pthread_mutex_lock(&p->lock);
    rc = p->state == RUNNING
             ? mp__diag_set(diag, MP_ELIMIT, "a preload is under way; see `marketprism status`")
             : take_patterns(p, patterns, count, diag);
    if (rc == 0) {
        p->are_pins = false;
        p->budget_percent = budget_percent;
        begun = begin(p);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (begun)
        mp__origin_list(manager->origin, &p->list);
    return rc;
}

void mp__preload_pins(mp__manager *manager)
{
    mp__preload *p = manager->preload;
    bool begun = false;

    (void)pthread_mutex_lock(&p->lock);
    p->pins_next = true;
    if (p->state != RUNNING)
        begun = begin_pins(p);
    (void)pthread_mutex_unlock(&p->lock);
    if (begun)
        mp__origin_list(manager->origin, &p->list);
}

void mp__preload_again(mp__manager *manager)
{
    mp__preload *p = manager->preload;
    bool begun = false;

    if (!p || !atomic_load(&manager->open))
        return;
    (void)pthread_mutex_lock(&p->lock);
    if (p->state == FAILED && !p->stopping)
        begun = begin(p);
    (void)pthread_mutex_unlock(&p->lock);
    if (begun)
        mp__origin_list(manager->origin, &p->list);
}

/* How many; the first PATTERNS_MAX of them into @patterns. */
static size_t configured(const mp__options *options, mp_str patterns[PATTERNS_MAX])
{
    size_t count = mp__options_list_count(options, "cache.preload");

    for (size_t i = 0; i < count && i < PATTERNS_MAX; i++)
        patterns[i] = mp_str_of(mp__options_list_at(options, "cache.preload", i));
    return count;
}

int mp__preload_check(const mp__options *options, mp__diag *diag)
{
    mp_str patterns[PATTERNS_MAX];
    size_t count = configured(options, patterns);

    return count ? check_patterns(patterns, count, diag) : 0;
}

int mp__preload_configured(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    mp_str patterns[PATTERNS_MAX];
    size_t count = configured(options, patterns);

    if (count == 0)
        return 0;
    return mp__preload_start(manager, NULL, patterns, count, 0, diag);
}

/* ---- telling ---- */

static uint64_t count_read(const mp__preload *p)
{
    uint64_t count = 0;

    if (p->tracked_count)
        mp__cache_uses_settle(p->manager->cache);
    for (size_t i = 0; i < p->tracked_count; i++)
        count += mp__cache_was_read(p->manager->cache, mp_str_of(p->tracked[i].address),
                                    p->tracked[i].hash, 0);
    return count;
}

/* Members of an object. */
static void tell(mp__preload *p, const mp__identity *identity, mp__buf *out)
{
    (void)pthread_mutex_lock(&p->lock);
    mp__json_add_text(out, "state", state_names[p->state]);
    mp__json_add_u64(out, "patterns", p->pattern_count);
    mp__json_add_u64(out, "patterns_done", p->pattern);
    mp__json_add_u64(out, "keys", p->keys);
    mp__json_add_u64(out, "keys_max", p->keys_max);
    mp__json_add_u64(out, "bytes", p->bytes);
    mp__json_add_u64(out, "bytes_max", p->bytes_max);
    mp__json_add_u64(
        out, "took_ms",
        (p->state == RUNNING ? mp__env_now_ns(p->manager->env) - p->started_ns : p->took_ns) /
            1000000u);
    mp__json_add_u64(out, "tracked", p->tracked_count);
    mp__json_add_u64(out, "first_reads_saved", count_read(p));
    mp__json_add_u64(out, "patterns_missed", p->missed);
    mp__json_add_text(out, "trouble", trouble_of(p, identity));
    (void)pthread_mutex_unlock(&p->lock);
}

void mp__preload_json(mp__manager *manager, const mp__identity *identity, mp__buf *out)
{
    mp__json_key(out, "preload");
    mp__json_begin(out, '{');
    tell(manager->preload, identity, out);
    mp__json_end(out, '}');
    if (!manager->habits)
        return;
    mp__json_key(out, "habits");
    mp__json_begin(out, '{');
    mp__habits_json(manager->habits, out);
    mp__json_end(out, '}');
}

int mp__manager_preload(mp__manager *manager, const mp__identity *identity, mp__buf *out)
{
    mp__json_begin(out, '{');
    mp__preload_json(manager, identity, out);
    mp__json_end(out, '}');
    return out->error;
}

int mp__preload_habits(mp__manager *manager, const mp__identity *identity, mp__diag *diag)
{
    if (mp__access_check(manager->access, identity, MP__RIGHT_WRITE, mp_str_new("", 0), NULL) != 0)
        return mp__diag_set(diag, MP_EDENIED, "habits are brought for those who may write");
    if (!manager->habits)
        return mp__diag_set(diag, MP_EINVAL, "nothing is learned: cache.habits_keys is 0");
    mp__habits_expect(manager->habits);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* From a data directory to a running manager and back. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <marketprism/version.h>

#include "manager/internal.h"

/* ---- settings ---- */

static void settings_take(mp__manager *manager, const mp__options *options)
{
    atomic_store(&manager->ttl_s, (uint32_t)(mp__options_int(options, "cache.default_ttl") / 1000));
    atomic_store(&manager->negative_ttl_s,
                 (uint32_t)(mp__options_int(options, "cache.negative_ttl") / 1000));
    atomic_store(&manager->ttl_jitter_percent,
                 (uint32_t)mp__options_int(options, "cache.ttl_jitter"));
    atomic_store(&manager->eventual_bound_ms, mp__options_int(options, "cache.eventual_bound"));
    atomic_store(&manager->hard_bound_ms, mp__options_int(options, "cache.hard_bound"));
    atomic_store(&manager->timeout_ms, mp__options_int(options, "origin.timeout"));
    atomic_store(&manager->ahead_beta_percent,
                 (uint32_t)(mp__options_real(options, "cache.refresh_ahead") * 100));
    atomic_store(&manager->preload_percent,
                 (uint32_t)mp__options_int(options, "cache.preload_budget"));
    mp__ahead_window(manager);
}

static void take_panel_share(mp__manager *manager, const mp__options *options)
{
    mp__cache_set_panel_share(manager->cache,
                              (double)mp__options_int(options, "cache.panel_share") / 100);
}

/* Room first, then what needs it. */
static int l1_limit(mp_cache *cache, size_t entries, size_t bytes, const mp_cache_stats *stats)
{
    int rc = 0;

    if (bytes > stats->l1_bytes_max)
        rc = mp__cache_set_l1_bytes(cache, bytes);
    if (rc == 0 && entries != stats->l1_entries_max)
        rc = mp__cache_set_l1_entries(cache, entries);
    if (rc == 0 && bytes < stats->l1_bytes_max)
        rc = mp__cache_set_l1_bytes(cache, bytes);
    return rc;
}

/* All of it or nothing. */
static int l1_take(mp_cache *cache, size_t entries, size_t bytes, const char *policy,
                   mp__diag *diag)
{
    mp_cache_stats before, now;
    int rc;

    mp_cache_stats_read(cache, &before);
    rc = l1_limit(cache, entries, bytes, &before);
    if (rc == 0)
        rc = mp__cache_set_policy(cache, policy);
    if (rc == 0)
        return 0;
    mp_cache_stats_read(cache, &now);
    (void)l1_limit(cache, before.l1_entries_max, before.l1_bytes_max, &now); /* as they fitted */
    return mp__diag_set(diag, rc, "cache.l1_bytes, cache.l1_size, cache.policy: %s",
                        rc == MP_EINVAL ? "the bytes are too few" : mp_strerror(rc));
}

static void next_start(mp__manager *manager, const char *what)
{
    mp__log(manager->log, MP__LOG_WARN, "daemon", "needs-restart", "%s", what);
}

/* Whether there is an L2 is decided at the start. */
static int l2_take(mp__manager *manager, const mp__memory_plan *plan)
{
    mp_cache_stats stats;
    int rc = 0;

    mp_cache_stats_read(manager->cache, &stats);
    if ((stats.l2_bytes_max == 0) != (plan->l2_entries == 0))
        next_start(manager, stats.l2_bytes_max ? "cache.l2_size: L2 is there until a restart"
                                               : "cache.l2_size: L2 is made at the start only");
    if (stats.l2_bytes_max == 0 || plan->l2_entries == 0)
        return 0;
    if (plan->l2_bytes > stats.l2_bytes_max)
        rc = mp__cache_set_l2_bytes(manager->cache, plan->l2_bytes);
    if (rc == 0 && plan->l2_entries != stats.l2_entries_max)
        rc = mp__cache_set_l2_entries(manager->cache, plan->l2_entries);
    if (rc == 0 && plan->l2_bytes < stats.l2_bytes_max)
        rc = mp__cache_set_l2_bytes(manager->cache, plan->l2_bytes);
    return rc;
}

static void l3_take(mp__manager *manager, const mp__options *options)
{
    uint64_t bytes = (uint64_t)mp__options_int(options, "cache.l3_size_mb") << 20;

    if (mp__cache_set_l3_bytes(manager->cache, bytes) == MP_EINVAL)
        next_start(manager, "cache.l3_size_mb: less than four segments, which become smaller at "
                            "the next start only");
}

int mp__manager_reload(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    mp__key_rules *ttl_rules = NULL;
    mp_cache_stats before;
    mp__memory_plan plan;
    int rc = mp__memory_plan_make(options, &plan, diag);

    mp_cache_stats_read(manager->cache, &before);
    if (rc == 0)
        rc = mp__manager_check(options, diag); /* what a start would refuse */
    if (rc == 0)
        rc = mp__ttl_rules_configured(options, &ttl_rules, diag);
    if (rc == 0)
        rc = l1_take(manager->cache, plan.l1_entries, plan.l1_bytes,
                     mp__options_text(options, "cache.policy"), diag);
    if (rc == 0) {
        take_panel_share(manager, options);
        rc = l2_take(manager, &plan);
        if (rc)
            (void)mp__diag_set(diag, rc, "cache.l2_bytes is too small for cache.l2_size");
    }
    if (rc) {
        (void)mp__key_rules_free(ttl_rules);
        return rc;
    }
    l3_take(manager, options);
    mp__ttl_take(manager, ttl_rules);
    settings_take(manager, options);
    atomic_store(&manager->watch_bytes, plan.watch_bytes);
    if (plan.l1_entries > before.l1_entries_max || plan.l1_bytes > before.l1_bytes_max)
        mp__pins_refill(manager);
    return 0;
}

int mp__database_check(const char *name, mp__diag *diag)
{
    int rc = mp__scope_check(mp_str_of(name), diag);

    return rc ? mp__diag_set(diag, rc, "resp.databases: '%s' is no name for an environment", name)
              : 0;
}

static int databases_take(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    size_t count = mp__options_list_count(options, "resp.databases");

    manager->databases = mp__calloc(count ? count : 1, sizeof(*manager->databases));
    if (!manager->databases)
        return MP_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        const char *name = mp__options_list_at(options, "resp.databases", i);
        int rc = mp__database_check(name, diag);

        if (rc)
            return rc;
        manager->databases[i] = mp__strdup(name);
        if (!manager->databases[i])
            return MP_ENOMEM;
        manager->database_count++;
    }
    return count ? 0
                 : mp__diag_set(diag, MP_EINVAL, "resp.databases: name at least one environment");
}

mp_str mp__manager_environment(const mp__manager *manager, unsigned database)
{
    return database < manager->database_count ? mp_str_of(manager->databases[database])
                                              : mp_str_new("", 0);
}

size_t mp__manager_keys_of(mp__manager *manager, uint64_t ret_keys[MP__ORIGIN_COUNTED_MAX])
{
    mp__origin_stats stats;

    mp__origin_stats_read(manager->origin, &stats);
    memcpy(ret_keys, stats.keys_of, sizeof(stats.keys_of));
    return manager->database_count < MP__ORIGIN_COUNTED_MAX ? manager->database_count
                                                            : MP__ORIGIN_COUNTED_MAX;
}

/* ---- cache and origin ---- */

/* L3's scrubber found a record damaged that L1 has not. */
static void heal_from_origin(void *context, mp_str address, uint64_t hash)
{
    mp__manager *manager = context;

    if (atomic_load(&manager->open) && mp__origin_vouches(manager))
        mp__flight_heal(manager, address, hash);
}

enum { KEY_FILE_MAX = 64 * 1024 };

/* Who can read the keys can read all that they seal. */
static void warn_of_open_keys(mp__manager *manager, const char *path)
{
    mp__stat stat;

    if (mp__env_stat(manager->env, path, &stat) == 0 && !stat.is_special && (stat.mode & 077))
        mp__log(manager->log, MP__LOG_WARN, "manager", "keys-open",
                "cache.l3_key_file: %s is open to others (mode %04o), and with it all that is "
                "sealed on disk; chmod 600 it, and change the keys if somebody may have read them",
                path, stat.mode);
}

/* Where the keys of L3 are: a file or the environment. *ret_text is NULL when nothing shall be
 * sealed; a file that is named and cannot be read, or is empty, is an error, never that. */
static int read_keys(mp__manager *manager, const mp__options *options, char **ret_text,
                     mp__diag *diag)
{
    const char *path = mp__options_text(options, "cache.l3_key_file");
    const char *given = getenv("MARKETPRISM_L3_KEYS");
    size_t size;
    int rc;

    *ret_text = NULL;
    if (!path[0]) {
        if (given && given[0])
            *ret_text = mp__strdup(given);
        return given && given[0] && !*ret_text ? MP_ENOMEM : 0;
    }
    rc = mp__env_read_file(manager->env, path, KEY_FILE_MAX, ret_text, &size);
    if (rc)
        return mp__diag_set(diag, rc, "cache.l3_key_file: %s cannot be read: %s", path,
                            mp_strerror(rc));
    if ((*ret_text)[0]) {
        warn_of_open_keys(manager, path);
        return 0;
    }
    *ret_text = mp__free(*ret_text); /* without keys L3 would be written in the clear */
    return mp__diag_set(diag, MP_EINVAL,
                        "cache.l3_key_file: %s is empty; make a key (openssl rand -hex 32)", path);
}

static int open_cache(mp__manager *manager, const mp__options *options, mp__diag *diag)
{
    char path[4200], *keys = NULL;
    mp__cache_options cache = {
        .env = manager->env,
        .policy = mp__options_text(options, "cache.policy"),
        .l2_level = (unsigned)mp__options_int(options, "cache.l2_level"),
        .l2_dictionary_bytes = (size_t)mp__options_int(options, "cache.l2_dictionary"),
        .l2_no_dictionaries = mp__options_int(options, "cache.l2_dictionary") == 0,
        .l3_dir = path,
        .l3_bytes = (uint64_t)mp__options_int(options, "cache.l3_size_mb") << 20,
        .l3_segment_bytes = (uint64_t)mp__options_int(options, "cache.l3_segment_bytes"),
        .l3_sync_ms = (uint64_t)mp__options_int(options, "cache.l3_sync_interval"),
        .l3_scrub_rate = (uint64_t)mp__options_int(options, "cache.l3_scrub_rate"),
        .on_damaged = heal_from_origin,
        .context = manager,
    };
    mp__memory_plan plan = {0};
    int rc = mp__dir_path(manager, "l3", path, sizeof(path));

    if (rc == 0)
        rc = mp__memory_plan_make(options, &plan, diag);
    cache.l1_entries = plan.l1_entries;
    cache.l1_bytes = plan.l1_bytes;
    cache.l2_entries = plan.l2_entries;
    cache.l2_bytes = plan.l2_bytes;
    cache.l3_pending_bytes = plan.l3_pending_bytes;
    if (rc == 0)
        rc = read_keys(manager, options, &keys, diag);
    cache.l3_keys = keys ? mp_str_of(keys) : mp_str_new("", 0);
    if (rc == 0)
        rc = mp__priorities_configured(options, &cache.priorities, diag);
    if (rc == 0)
        rc = mp__cache_open(&cache, &manager->cache, diag);
    if (rc == 0)
        take_panel_share(manager, options);
    if (keys)
        explicit_bzero(keys, strlen(keys));
    (void)mp__free(keys);
    if (rc && diag && diag->line) { /* of a key that is none */
        const char *file = mp__options_text(options, "cache.l3_key_file");

        (void)snprintf(diag->file, sizeof(diag->file), "%.255s",
                       file[0] ? file : "MARKETPRISM_L3_KEYS");
    }
    if (rc == 0) {
        manager->hash_key = mp__cache_hash_key(manager->cache);
        manager->hasher = mp__cache_hasher(manager->cache);
    }
    atomic_store(&manager->watch_bytes, plan.watch_bytes);
    return rc;
}

static bool is_within(const char *path, const char *folder)
{
    size_t size = strlen(folder);

    return strncmp(path, folder, size) == 0 && path[size] == '/';
}

static int open_origin(mp__manager *manager, const mp__manager_config *config, mp__diag *diag)
{
    char path[4200];
    const char *kind = mp__options_text(config->options, "origin.type");
    const char *given = mp__options_text(config->options, "origin.path");
    mp__origin_options origin = {
        .env = manager->env,
        .log = manager->log,
        .path = given[0] || strcmp(kind, "sqlite") != 0 ? given : path,
        .state_dir = manager->data_dir,
        .base = manager->overlay_base,
        .counted = manager->databases,
        .counted_count = manager->database_count,
        .new_origin = config->new_origin,
        .was_there = !config->new_origin && mp__dir_had_origin(manager),
        .probe_ms = (uint64_t)mp__options_int(config->options, "origin.probe_interval"),
        .sweep_ms = (uint64_t)mp__options_int(config->options, "origin.sweep_interval"),
        .timeout_ms = (uint64_t)mp__options_int(config->options, "origin.timeout"),
        .rescan_ms = (uint64_t)mp__options_int(config->options, "origin.rescan_interval"),
        .settle_ms = (uint64_t)mp__options_int(config->options, "origin.settle"),
        .file_bytes_max = (size_t)mp__options_int(config->options, "origin.file_max"),
        .keys_max = (size_t)mp__options_int(config->options, "origin.keys_max"),
        .context = manager,
        .on_state = mp__change_state,
        .on_unseen_change = mp__change_unseen,
        .on_change = mp__change_own,
        .on_seen = mp__change_seen,
        .on_doubt = mp__change_doubt,
        .on_doubts = mp__change_doubts,
        .on_proposal = mp__schemas_judge,
    };
    int rc = mp__dir_path(manager, "origin.db", path, sizeof(path));

    if (rc)
        return rc;
    /* what lies in our own data directory, which is locked, nobody else opens */
    origin.is_shared = !is_within(origin.path, manager->data_dir);
    if (config->origin)
        return config->origin->open(&origin, &manager->origin, diag);
    return mp__origin_open(kind, &origin, &manager->origin, diag);
}

/* ---- salvage ---- */

typedef struct salvage {
    uint64_t above;
    mp__record *records;
    size_t count, capacity;
} salvage;

/* Copy a record with its bytes behind it, all in one block that its address slice begins. */
static int salvage_take(void *context, const mp__record *record)
{
    salvage *s = context;
    char *bytes;

    if (record->revision <= s->above || mp__overlay_is_mark(record->address))
        return 0;
    if (mp__grow(&s->records, s->count, &s->capacity, sizeof(*s->records)) != 0)
        return MP_ENOMEM;
    bytes = mp__malloc(record->address.size + record->value.size + record->media_type.size);
    if (!bytes)
        return MP_ENOMEM;
    s->records[s->count] = *record;
    memcpy(bytes, record->address.data, record->address.size);
    if (record->value.size)
        memcpy(bytes + record->address.size, record->value.data, record->value.size);
    if (record->media_type.size)
        memcpy(bytes + record->address.size + record->value.size, record->media_type.data,
               record->media_type.size);
    s->records[s->count].address.data = bytes;
    s->records[s->count].value.data = bytes + record->address.size;
    s->records[s->count].media_type.data = bytes + record->address.size + record->value.size;
    s->count++;
    return 0;
}

static int compare_revisions(const void *a, const void *b)
{
    const mp__record *x = a, *y = b;

    return (x->revision > y->revision) - (x->revision < y->revision);
}

/* An origin that stands behind what L3 kept of the same life has lost its newest commits: give them
 * back, oldest first. */
static void repair(mp__manager *manager)
{
    mp__origin_stats stats;
    salvage s = {0};
    int rc;

    mp__origin_stats_read(manager->origin, &stats);
    if (!stats.behind &&
        (!mp__origin_vouches(manager) || mp__cache_kept_revision(manager->cache) <= stats.revision))
        return;
    s.above = stats.revision;
    rc = mp__cache_each_kept(manager->cache, mp_str_new("", 0), salvage_take, &s);
    if (rc == 0 && (s.count || stats.behind)) {
        if (s.count)
            qsort(s.records, s.count, sizeof(*s.records), compare_revisions);
        rc = mp__origin_salvage(manager->origin, s.records, s.count);
        mp__event_note(manager, "salvage",
                       "the origin stood at revision %" PRIu64
                       "; %zu newer values came back from L3%s",
                       stats.revision, s.count, rc ? ", not all of them" : "");
        mp__log(manager->log, MP__LOG_WARN, "manager", "salvage",
                "the origin had lost its newest commits (revision %" PRIu64
                "); %zu values came back from L3%s%s",
                stats.revision, s.count, rc ? ", not all of them: " : "",
                rc ? mp_strerror(rc) : "");
    }
    for (size_t i = 0; i < s.count; i++) {
        char *bytes;

        memcpy(&bytes, &s.records[i].address.data, sizeof(bytes));
        (void)mp__free(bytes);
    }
    (void)mp__free(s.records);
}

static void begin_watching(mp__manager *manager)
{
    mp__origin_stats stats;

    mp__origin_stats_read(manager->origin, &stats);
    mp__watchers_begin(manager, stats.revision, !mp__origin_vouches(manager));
}

/* ---- opening and closing ---- */

static mp__manager *manager_new(const mp__manager_config *config)
{
    mp__manager *manager = mp__calloc(1, sizeof(*manager));

    if (!manager)
        return NULL;
    manager->env = config->env;
    manager->log = config->log;
    manager->monitor = config->monitor;
    manager->started_ns = mp__env_now_ns(config->env);
    manager->started_ms = mp__env_wall_ms(config->env);
    atomic_store(&manager->wall_ahead_ms, INT64_MIN / 2);
    (void)pthread_rwlock_init(&manager->ttl_lock, NULL);
    atomic_store(&manager->ttl_least_s, UINT32_MAX);
    (void)pthread_mutex_init(&manager->circuit_lock, NULL);
    mp__circuit_init(&manager->circuit);
    (void)pthread_mutex_init(&manager->watch_lock, NULL);
    (void)pthread_mutex_init(&manager->schema_lock, NULL);
    (void)pthread_mutex_init(&manager->claims_lock, NULL);
    (void)pthread_mutex_init(&manager->counted_lock, NULL);
    (void)pthread_mutex_init(&manager->queries_lock, NULL);
    manager->queries_last = &manager->queries_first;
    manager->gate_last = &manager->gate_first;
    (void)pthread_mutex_init(&manager->notable_lock, NULL);
    for (int i = 0; i < MP__FLIGHT_SHARDS; i++)
        (void)pthread_mutex_init(&manager->flights[i].lock, NULL);
    mp__manager_tick(manager, manager->started_ms, manager->started_ns);
    mp__ahead_init(manager);
    manager->data_dir = mp__strdup(config->data_dir);
    return manager->data_dir ? manager : mp__manager_close(manager);
}

mp__manager *mp__manager_close(mp__manager *manager)
{
    if (!manager)
        return NULL;
    atomic_store(&manager->may_warm, false); /* an origin that closes answers what it has */
    manager->slow = mp__worker_free(manager->slow);
    mp__preload_stop(manager);
    if (manager->cache)
        mp__cache_scrub_stop(manager->cache); /* it asks the origin */
    mp__habits_stop(manager->habits);
    mp__back_stop(manager->back);
    manager->origin = mp__origin_close(manager->origin);
    manager->habits = mp__habits_free(manager->habits);
    manager->back = mp__back_free(manager->back);
    manager->write_modes = mp__write_modes_free(manager->write_modes);
    mp__preload_free(manager);
    manager->shared = mp__shared_close(manager->shared);
    manager->cache = mp_cache_free(manager->cache);
    mp__watchers_end(manager);
    if (manager->event_file)
        mp__event_note(manager, "stop", "version %s", MP_VERSION);
    mp__events_close(manager);
    manager->access = mp__access_free(manager->access);
    mp__pins_free_configured(manager);
    mp__overlay_free(manager);
    mp__ttl_take(manager, NULL);
    (void)pthread_rwlock_destroy(&manager->ttl_lock);
    mp__schemas_free(manager);
    for (size_t i = 0; i < manager->database_count; i++)
        (void)mp__free(manager->databases[i]);
    (void)mp__free(manager->databases);
    for (int i = 0; i < MP__FLIGHT_SHARDS; i++)
        (void)pthread_mutex_destroy(&manager->flights[i].lock);
    (void)pthread_mutex_destroy(&manager->circuit_lock);
    (void)pthread_mutex_destroy(&manager->watch_lock);
    (void)pthread_mutex_destroy(&manager->schema_lock);
    (void)pthread_mutex_destroy(&manager->claims_lock);
    (void)pthread_mutex_destroy(&manager->counted_lock);
    (void)pthread_mutex_destroy(&manager->queries_lock);
    (void)pthread_mutex_destroy(&manager->notable_lock);
    mp__file_close(manager->lock_file);
    (void)mp__free(manager->data_dir);
    return mp__free(manager);
}

int mp__manager_open(const mp__manager_config *config, mp__manager **ret_manager, mp__diag *diag)
{
    mp__manager *manager = manager_new(config);
    mp__key_rules *ttl_rules = NULL;
    int rc;

    if (!manager)
        return MP_ENOMEM;
    rc = mp__ttl_rules_configured(config->options, &ttl_rules, diag);
    if (rc)
        mp__options_blame(config->options, "cache.ttl", diag);
    mp__ttl_take(manager, ttl_rules);
    settings_take(manager, config->options);
    if (rc == 0)
        rc = databases_take(manager, config->options, diag);
    if (rc == 0)
        rc = mp__overlay_new(manager, config->options, diag);
    if (rc == 0)
        rc = mp__preload_new(manager);
    if (rc == 0)
        rc = mp__write_modes_new(config->options, &manager->write_modes, diag);
    if (rc == 0)
        rc = mp__access_new(&manager->access);
    if (rc == 0)
        manager->is_open_to_all = mp__access_is_open(manager->access);
    if (rc == 0)
        rc = mp__dir_lock(manager, diag);
    if (rc == 0)
        rc = mp__dir_check_format(manager, diag);
    if (rc == 0)
        rc = mp__events_open(manager);
    if (rc == 0)
        rc = mp__shared_configured(manager, config->options, diag);
    if (rc == 0)
        rc = open_origin(manager, config, diag);
    if (rc == 0)
        rc = mp__dir_match_epoch(manager, diag);
    if (rc == 0)
        rc = open_cache(manager, config->options, diag);
    if (rc == 0)
        mp__dir_name_l3(manager);
    if (rc == 0)
        rc = mp__worker_new(manager->env, "mp-slow", mp__worker_run_each, NULL, &manager->slow);
    if (rc == 0) {
        atomic_store(&manager->open, true);
        mp__shared_scope_now(manager);
        repair(manager);
        rc = mp__back_new(manager, config->options, diag);
    }
    if (rc == 0)
        rc = mp__habits_new(manager, config->options);
    if (rc == 0) {
        begin_watching(manager);
        atomic_store(&manager->may_warm, true);
        mp__overlay_warm(manager);
        rc = mp__preload_configured(manager, config->options, diag);
    }
    if (rc == 0) {
        rc = mp__pins_open(manager, config->options, diag);
    }
    if (rc) {
        if (diag && !diag->text[0])
            (void)mp__diag_set(diag, rc, "cannot start on %s: %s", config->data_dir,
                               mp_strerror(rc));
        (void)mp__manager_close(manager);
        return rc;
    }
    mp__event_note(manager, "start", "version %s", MP_VERSION);
    *ret_manager = manager;
    return 0;
}

/* ---- time ---- */

int64_t mp__manager_wall_ms(mp__manager *manager)
{
    int64_t steady = (int64_t)(mp__env_now_ns(manager->env) / 1000000u);
    int64_t ahead = mp__env_wall_ms(manager->env) - steady;
    int64_t most = atomic_load_explicit(&manager->wall_ahead_ms, memory_order_relaxed);

    while (ahead > most &&
           !atomic_compare_exchange_weak_explicit(&manager->wall_ahead_ms, &most, ahead,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
    return steady + (ahead > most ? ahead : most);
}

/* ---- small questions ---- */

void mp__manager_tick(mp__manager *manager, int64_t wall_ms, uint64_t mono_ns)
{
    uint32_t now_s = (uint32_t)(mono_ns / 1000000000u) + 1;

    if (atomic_load_explicit(&manager->now_s, memory_order_relaxed) != now_s) {
        atomic_store_explicit(&manager->now_s, now_s, memory_order_relaxed);
        mp__ahead_window(manager);
        atomic_store_explicit(&manager->turn_again, true, memory_order_relaxed);
        if (manager->cache)
            mp__disk_notes_turn(manager, now_s);
    }
    if (manager->cache)
        mp__cache_tick(manager->cache, wall_ms);
    mp__ahead_turn(manager, wall_ms);
}

int64_t mp__manager_timeout_ms(const mp__manager *manager)
{
    return atomic_load(&manager->timeout_ms);
}

mp_cache *mp__manager_cache(mp__manager *manager)
{
    return manager->cache;
}

mp__access *mp__manager_access(mp__manager *manager)
{
    return manager->access;
}

mp__hash_key mp__manager_hash_key(const mp__manager *manager)
{
    return manager->hash_key;
}

const mp__hasher *mp__manager_hasher(const mp__manager *manager)
{
    return manager->hasher;
}

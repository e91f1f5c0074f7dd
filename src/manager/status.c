/* SPDX-License-Identifier: Apache-2.0 */
/* What the manager says of itself and of an address. */
#include <inttypes.h>
#include <stdio.h>

#include <marketprism/version.h>

#include "manager/internal.h"

enum { DAY_MS = 86400000 };

/* What to do about an origin that is not live; "" when there is nothing to do. */
static const char *remedy(const mp__origin *origin, enum mp__origin_state state)
{
    const char *own = origin->ops->remedy ? origin->ops->remedy(state) : NULL;

    if (own)
        return own;
    switch (state) {
    case MP__ORIGIN_LOST:
        return "put the database back (it is noticed within a second), "
               "or begin "
               "anew with `serve --new-origin`";
    case MP__ORIGIN_DEGRADED:
        return "make room on the disk or mend it; writes go on by themselves";
    case MP__ORIGIN_DOWN:
        return "see the cause; it is tried again each second";
    case MP__ORIGIN_OPENING:
    case MP__ORIGIN_LIVE:
        break;
    }
    return "";
}

void mp__manager_summary(mp__manager *manager, mp__summary *ret_summary)
{
    mp__origin_stats stats;
    enum mp__origin_state state = (enum mp__origin_state)mp__state_now(&manager->origin->state);
    mp__summary s = {.origin = state,
                     .state = mp__origin_states.states[state],
                     .silent = mp__circuit_is_open(&manager->circuit),
                     .late = atomic_load(&manager->circuit.late),
                     .opened = atomic_load(&manager->circuit.opened),
                     .refused = atomic_load(&manager->circuit.refused)};
    mp_cache_stats cache;
    mp__diag disk = {0};

    if (state == MP__ORIGIN_LIVE && s.silent)
        s.state = "silent";
    s.writable = state == MP__ORIGIN_LIVE && !s.silent && !manager->origin->ops->read_only;
    s.degraded =
        state != MP__ORIGIN_LIVE || s.silent || mp__cache_l3_trouble(manager->cache, &disk) != 0;
    mp__origin_stats_read(manager->origin, &stats);
    mp_cache_stats_read(manager->cache, &cache);
    s.revision = stats.revision;
    s.keys = stats.keys;
    s.ready = mp__origin_answers(manager) || cache.l3_entries > 0 || cache.l1_entries > 0;
    (void)snprintf(s.epoch, sizeof(s.epoch), "%s", mp__origin_epoch(manager->origin));
    (void)pthread_mutex_lock(&manager->notable_lock);
    if (state != MP__ORIGIN_LIVE)
        (void)snprintf(s.text, sizeof(s.text), "origin %s: %.250s; %s", s.state, manager->trouble,
                       remedy(manager->origin, state));
    else if (s.silent)
        (void)snprintf(s.text, sizeof(s.text),
                       "origin silent: it answers nothing within origin.timeout (%" PRId64
                       " ms); see its disk or host; it is asked again every few seconds, and until "
                       "then nobody waits for it",
                       mp__manager_timeout_ms(manager));
    (void)pthread_mutex_unlock(&manager->notable_lock);
    *ret_summary = s;
}

const char *mp__manager_epoch(const mp__manager *manager)
{
    return mp__origin_epoch(manager->origin);
}

static void panel_json(mp__manager *manager, mp__buf *out)
{
    mp__cache_panel panel;

    mp__cache_panel_read(manager->cache, &panel);
    mp__json_add_text(out, "policy", panel.policy);
    if (!panel.count)
        return;
    mp__json_key(out, "panel");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "follows", panel.leader);
    mp__json_add_u64(out, "changes", panel.changes);
    mp__json_add_real(out, "sample", panel.sample);
    mp__json_add_real(out, "seen", panel.seen);
    mp__json_add_u64(out, "sampled_requests", (uint64_t)panel.requests);
    mp__json_key(out, "hit_ratios");
    mp__json_begin(out, '{');
    for (size_t i = 0; i < panel.count; i++)
        mp__json_add_real(out, panel.members[i].name, panel.members[i].hit_ratio);
    mp__json_end(out, '}');
    mp__json_end(out, '}');
}

static void classes_json(mp__manager *manager, mp__buf *out)
{
    mp__cache_class classes[MP__PRIORITIES];

    mp__cache_classes_read(manager->cache, classes);
    mp__json_key(out, "classes");
    mp__json_begin(out, '{');
    for (int i = 0; i < MP__PRIORITIES; i++) {
        const mp__cache_class *c = &classes[i];

        if (!c->bytes_owned)
            continue;
        mp__json_key(out, mp__priority_name((enum mp__priority)i));
        mp__json_begin(out, '{');
        mp__json_add_u64(out, "entries", c->entries);
        mp__json_add_u64(out, "entries_owned", c->entries_owned);
        mp__json_add_u64(out, "bytes", c->bytes);
        mp__json_add_u64(out, "bytes_owned", c->bytes_owned);
        mp__json_add_u64(out, "evictions", c->evictions);
        mp__json_end(out, '}');
    }
    mp__json_end(out, '}');
}

static void soundness_json(mp__manager *manager, mp__buf *out)
{
    mp__cache_soundness s;

    mp__cache_soundness_read(manager->cache, &s);
    mp__json_add_u64(out, "expired", s.expired);
    mp__json_add_u64(out, "not_admitted", s.not_admitted);
    mp__json_add_u64(out, "healed", s.healed);
    mp__json_add_bool(out, "sealed", s.is_sealed);
    mp__json_add_u64(out, "to_rewrite", s.to_rewrite);
    mp__json_key(out, "scrub");
    mp__json_begin(out, '{');
    mp__json_add_u64(out, "bytes", s.scrubbed_bytes);
    mp__json_add_u64(out, "passes", s.passes);
    mp__json_add_u64(out, "damaged", s.damaged);
    mp__json_add_i64(out, "passed_ms", s.passed_ms);
    mp__json_end(out, '}');
}

static void l2_json(const mp_cache_stats *s, mp__buf *out)
{
    mp__json_key(out, "l2");
    mp__json_begin(out, '{');
    mp__json_add_u64(out, "entries", s->l2_entries);
    mp__json_add_u64(out, "entries_max", s->l2_entries_max);
    mp__json_add_u64(out, "bytes", s->l2_bytes);
    mp__json_add_u64(out, "bytes_max", s->l2_bytes_max);
    mp__json_add_u64(out, "hits", s->l2_hits);
    mp__json_add_u64(out, "misses", s->l2_misses);
    mp__json_add_u64(out, "evictions", s->l2_evictions);
    mp__json_add_u64(out, "refused", s->l2_refused);
    mp__json_add_u64(out, "dropped", s->l2_dropped);
    mp__json_add_u64(out, "corrupt", s->l2_corrupt);
    mp__json_add_real(out, "compression",
                      s->l2_stored_bytes ? (double)s->l2_body_bytes / (double)s->l2_stored_bytes
                                         : 1);
    mp__json_add_u64(out, "dictionaries", s->l2_dictionaries);
    mp__json_add_u64(out, "dictionary_bytes", s->l2_dictionary_bytes);
    mp__json_add_u64(out, "trainings", s->l2_trainings);
    mp__json_end(out, '}');
}

static void cache_json(mp__manager *manager, mp__buf *out)
{
    mp_cache_stats s;
    mp__cache_timely timely;
    mp__diag trouble = {0};

    mp_cache_stats_read(manager->cache, &s);
    mp__cache_timely_read(manager->cache, &timely);
    mp__json_key(out, "l1");
    mp__json_begin(out, '{');
    mp__json_add_u64(out, "entries", s.l1_entries);
    mp__json_add_u64(out, "entries_max", s.l1_entries_max);
    mp__json_add_u64(out, "bytes", s.l1_bytes);
    mp__json_add_u64(out, "bytes_max", s.l1_bytes_max);
    mp__json_add_u64(out, "hits", s.l1_hits);
    mp__json_add_u64(out, "misses", s.l1_misses);
    mp__json_add_real(
        out, "hit_ratio",
        s.l1_hits + s.l1_misses ? (double)s.l1_hits / (double)(s.l1_hits + s.l1_misses) : 0);
    mp__json_add_u64(out, "evictions", s.l1_evictions);
    mp__json_add_u64(out, "timers", timely.timers);
    mp__json_add_u64(out, "expired", timely.expired);
    mp__json_add_u64(out, "absent_bytes", timely.absent_bytes);
    mp__json_add_u64(out, "absent_forgotten", timely.absent_forgotten);
    panel_json(manager, out);
    classes_json(manager, out);
    mp__json_end(out, '}');
    l2_json(&s, out);
    mp__json_key(out, "l3");
    mp__json_begin(out, '{');
    mp__json_add_u64(out, "entries", s.l3_entries);
    mp__json_add_u64(out, "bytes", s.l3_bytes);
    mp__json_add_u64(out, "bytes_max", s.l3_bytes_max);
    mp__json_add_u64(out, "segments", s.l3_segments);
    mp__json_add_u64(out, "hits", s.l3_hits);
    mp__json_add_u64(out, "misses", s.l3_misses);
    mp__json_add_u64(out, "forgotten", s.l3_forgotten);
    mp__json_add_u64(out, "corrupt", s.l3_corrupt);
    mp__json_add_u64(out, "dropped", s.l3_dropped);
    mp__json_add_u64(out, "pending_bytes", s.l3_pending_bytes);
    soundness_json(manager, out);
    (void)mp__cache_l3_trouble(manager->cache, &trouble);
    mp__json_add_text(out, "trouble", trouble.text);
    mp__json_end(out, '}');
    mp__shared_json(manager, out);
}

/* For so long nobody has vouched for what is kept; 0: a live watch does. */
static uint64_t unverified_ms(mp__manager *manager)
{
    int64_t since = atomic_load(&manager->vouched_until_ms), now = mp__manager_wall_ms(manager);

    if (atomic_load(&manager->generation))
        return 0;
    since = since ? since : manager->started_ms; /* not since the start, then */
    return now > since ? (uint64_t)(now - since) : 1;
}

static void circuit_json(mp__manager *manager, const mp__summary *summary, mp__buf *out)
{
    mp__json_key(out, "circuit");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "state", mp__state_name(&manager->circuit.state));
    if (summary->silent)
        mp__json_add_i64(out, "since_ms", atomic_load(&manager->circuit.opened_ms));
    mp__json_add_u64(out, "late", summary->late);
    mp__json_add_u64(out, "opened", summary->opened);
    mp__json_add_u64(out, "refused", summary->refused);
    mp__json_end(out, '}');
}

static void origin_json(mp__manager *manager, const mp__summary *summary, mp__buf *out)
{
    bool is_known = summary->epoch[0] || summary->origin == MP__ORIGIN_LIVE;
    mp__origin_stats s;

    mp__origin_stats_read(manager->origin, &s);
    mp__json_key(out, "origin");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "kind", manager->origin->ops->name);
    mp__json_add_text(out, "state", summary->state);
    mp__json_add_bool(out, "writable", summary->writable);
    circuit_json(manager, summary, out);
    mp__json_add_text(out, "epoch", summary->epoch);
    mp__json_add_u64(out, "unverified_ms", unverified_ms(manager));
    /* one that was never seen open has some, and nobody knows how many */
    mp__json_add_bool(out, "known", is_known);
    mp__json_add_u64(out, "revision",
                     is_known ? s.revision : mp__cache_kept_revision(manager->cache));
    if (is_known)
        mp__json_add_u64(out, "keys", s.keys);
    mp__json_add_u64(out, "fetches", s.fetches);
    mp__json_add_u64(out, "writes", s.writes);
    mp__json_add_u64(out, "commits", s.commits);
    mp__json_add_u64(out, "errors", s.errors);
    mp__json_add_u64(out, "corrupt_rows", s.corrupt_rows);
    mp__json_add_u64(out, "salvaged", s.salvaged);
    mp__json_add_u64(out, "size_bytes", s.size_bytes);
    if (manager->origin->ops->describe)
        manager->origin->ops->describe(manager->origin, mp_str_new("", 0), out);
    mp__json_end(out, '}');
}

int mp__manager_status(mp__manager *manager, const mp__identity *identity, mp__buf *out)
{
    mp__summary summary;
    uint64_t disk_free = 0;

    mp__manager_summary(manager, &summary);
    (void)mp__env_disk_free(manager->env, manager->data_dir, &disk_free);
    mp__json_begin(out, '{');
    mp__json_add_text(out, "version", MP_VERSION);
    mp__json_add_i64(out, "started_ms", manager->started_ms);
    mp__json_add_u64(out, "uptime_s",
                     (mp__env_now_ns(manager->env) - manager->started_ns) / 1000000000u);
    mp__json_add_bool(out, "ready", summary.ready);
    mp__json_add_bool(out, "degraded", summary.degraded);
    mp__json_add_text(out, "trouble", summary.text);
    mp__json_add_text(out, "data_dir", manager->data_dir);
    mp__json_add_u64(out, "disk_free_bytes", disk_free);
    origin_json(manager, &summary, out);
    mp__json_key(out, "cache");
    mp__json_begin(out, '{');
    cache_json(manager, out);
    mp__json_end(out, '}');
    if (manager->monitor) {
        mp__json_key(out, "reads");
        mp__json_begin(out, '{');
        mp__json_add_u64(out, "total", mp__monitor_operations(manager->monitor, MP__OP_GET, -1));
        mp__json_add_u64(out, "stale",
                         mp__monitor_events(manager->monitor, MP__EVENT_STALE_SERVED));
        mp__json_add_u64(out, "unknown", mp__monitor_events(manager->monitor, MP__EVENT_UNKNOWN));
        mp__json_end(out, '}');
    }
    if (manager->back) {
        mp__json_key(out, "write_back");
        mp__json_begin(out, '{');
        mp__back_json(manager->back, out);
        mp__json_end(out, '}');
    }
    mp__preload_json(manager, identity, out);
    mp__json_key(out, "pins");
    mp__json_begin(out, '{');
    mp__pins_json(manager, out);
    mp__json_end(out, '}');
    mp__json_key(out, "events");
    mp__events_json(manager, DAY_MS, out);
    mp__json_end(out, '}');
    return out->error;
}

/* ---- explain ---- */

static const char *const pinned_names[] = {
    [MP__PINNED_NOT] = "no",
    [MP__PINNED] = "yes",
    [MP__PINNED_WHEN_READ] = "when it is read and there is room",
};

static void tiers_json(mp__manager *manager, mp_str address, uint64_t hash, mp__buf *out)
{
    unsigned where = mp__cache_where(manager->cache, address, hash);

    mp__json_key(out, "kept_in");
    mp__json_begin(out, '[');
    for (int t = MP__TIER_L1; t <= MP__TIER_L3; t++)
        if (where & 1u << t) {
            if (out->data[out->size - 1] != '[')
                (void)mp__buf_add_char(out, ',');
            mp__json_string(out, mp_str_of(mp__tier_name((enum mp__tier)t)));
        }
    mp__json_end(out, ']');
}

static void entry_json(const mp__entry *entry, mp__buf *out)
{
    mp__record r;

    mp__entry_record(entry, &r);
    mp__json_add_text(out, "kind", r.kind == MP__RECORD_VALUE ? "value" : "absent");
    mp__json_add_u64(out, "revision", r.revision);
    mp__json_add_u64(out, "created_revision", r.created_revision);
    mp__json_add_u64(out, "version", r.version);
    mp__json_add_u64(out, "size", r.value.size);
    mp__json_add_string(out, "media_type", r.media_type);
    mp__json_add_i64(out, "modified_ms", r.modified_ms);
    mp__json_add_i64(out, "fetched_ms", r.fetched_ms);
    mp__json_add_i64(out, "verified_ms", r.verified_ms);
    if (r.expires_ms)
        mp__json_add_i64(out, "expires_ms", r.expires_ms);
}

static int is_that(void *context, mp_str address)
{
    mp_str *looked_for = context;
    bool found = mp_str_equal(address, *looked_for);

    if (found)
        looked_for->data = NULL;
    return found;
}

/* Whether the origin has a newer version of @entry that cannot be read. */
static bool is_in_doubt(mp__manager *manager, const mp__entry *entry)
{
    mp_str address = mp__entry_address(entry);

    mp__manager_doubts(manager, address, is_that, &address);
    return !address.data;
}

/* One sentence: what an eventual read would get now, and why. */
static const char *sentence(mp__manager *manager, const mp__entry *entry)
{
    uint32_t live = atomic_load(&manager->generation);

    if (!entry && mp__origin_answers(manager))
        return "Nothing is kept; a read asks the origin.";
    if (!entry)
        return "Nothing is kept and the origin cannot be asked: a read is answered with unknown, "
               "not "
               "with absent.";
    if (!mp__origin_answers(manager))
        return "The origin cannot be asked; a read is answered with the last known good value, "
               "marked "
               "stale with its age.";
    if (is_in_doubt(manager, entry))
        return "The origin has a newer version of it that cannot be read; a read is answered with "
               "the last good one, marked stale.";
    if (live && atomic_load(&entry->generation) == live &&
        atomic_load(&entry->verify_by_s) > mp__manager_now_s(manager))
        return entry->kind == MP__RECORD_ABSENT
                   ? "The origin says that there is none, and its live watch would tell of one; a "
                     "read is answered with absent."
                   : "Held fresh by the live watch of the origin; a read is answered from memory "
                     "or "
                     "disk.";
    if (atomic_load(&entry->generation) == 0)
        return "Kept from an earlier run and not verified since; the first read asks the origin.";
    return "Its watch was interrupted or its time to verify has come; a read within the bound is "
           "answered "
           "and verified behind, an older one asks first.";
}

int mp__manager_explain(mp__manager *manager, mp_str address, uint64_t hash, mp__buf *out)
{
    mp__explained layers;
    const mp__entry *entry;
    const mp__entry *pending = mp__back_may_have(&manager->back_filter, hash)
                                   ? mp__back_find(manager->back, address, hash)
                                   : NULL;
    mp__summary summary;

    mp__explained_take(manager, address, &layers);
    entry = layers.entries[layers.winner < layers.count ? layers.winner : 0];
    if (entry && !layers.is_known)
        entry = NULL;
    mp__manager_summary(manager, &summary);
    mp__json_begin(out, '{');
    mp__json_add_string(out, "address", address);
    mp__json_add_text(out, "summary",
                      pending ? "Written here and still on its way to the origin; a read is "
                                "answered with what was written, a strong one waits."
                              : sentence(manager, entry));
    if (pending)
        mp__json_add_i64(out, "pending_since_ms", pending->modified_ms);
    (void)mp__entry_unref(pending);
    tiers_json(manager, address, hash, out);
    mp__json_add_text(out, "priority",
                      mp__priority_name(mp__cache_priority(manager->cache, address)));
    mp__json_add_text(out, "pinned", pinned_names[mp__cache_pinned(manager->cache, address, hash)]);
    if (entry)
        entry_json(entry, out);
    mp__explained_json(&layers, out);
    mp__json_key(out, "origin");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "kind", manager->origin->ops->name);
    mp__json_add_text(out, "state", summary.state);
    mp__json_add_text(out, "circuit", mp__state_name(&manager->circuit.state));
    mp__json_add_u64(out, "revision", summary.revision);
    mp__json_add_text(out, "trouble", summary.text);
    if (manager->origin->ops->describe)
        manager->origin->ops->describe(manager->origin, address, out);
    mp__json_end(out, '}');
    mp__json_key(out, "bounds");
    mp__json_begin(out, '{');
    mp__json_add_i64(out, "eventual_ms", atomic_load(&manager->eventual_bound_ms));
    mp__json_add_i64(out, "hard_ms", atomic_load(&manager->hard_bound_ms));
    mp__ttl_json(manager, entry ? entry->kind : MP__RECORD_VALUE, address, out);
    mp__json_end(out, '}');
    mp__json_key(out, "events");
    mp__events_json(manager, DAY_MS, out);
    mp__json_end(out, '}');
    mp__explained_done(&layers);
    return out->error;
}

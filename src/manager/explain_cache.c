/* SPDX-License-Identifier: Apache-2.0 */
/* What the memory tier hits, and what it would hit were it otherwise. */
#include <inttypes.h>
#include <stdio.h>

#include "core/json.h"
#include "manager/internal.h"

enum { SIZES = 5, SELF = 2 }; /* of the forecasts; see mp__cache_forecasts() */

static void forecast_json(const mp__cache_forecast *f, mp__buf *out)
{
    mp__json_begin(out, '{');
    mp__json_add_text(out, "policy", f->policy);
    mp__json_add_u64(out, "entries", f->entries);
    mp__json_add_real(out, "hit_ratio", f->hit_ratio);
    mp__json_add_real(out, "low", f->low);
    mp__json_add_real(out, "high", f->high);
    mp__json_add_u64(out, "sampled_entries", f->sampled_entries);
    mp__json_add_u64(out, "sampled_requests", f->sampled_requests);
    mp__json_end(out, '}');
}

static void forecasts_json(const char *name, const mp__cache_forecast *f, size_t count,
                           mp__buf *out)
{
    mp__json_key(out, name);
    mp__json_begin(out, '[');
    for (size_t i = 0; i < count; i++)
        forecast_json(&f[i], out);
    mp__json_end(out, ']');
}

/* Whether anything is known of another size or policy. */
static bool is_known(const mp__cache_forecast *f, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (i != SELF && (f[i].low > 0 || f[i].high < 1))
            return true;
    return false;
}

/* The surest of what can be said: the largest step whose interval does not touch that of now. */
static void sentence(const mp__cache_forecast *f, size_t count, char *text, size_t capacity)
{
    const mp__cache_forecast *now = &f[SELF], *best = NULL;

    if (count == 0) {
        (void)snprintf(text, capacity,
                       "No forecast: it would take more than a hundredth of cache.l1_bytes.");
        return;
    }
    if (now->sampled_requests == 0) {
        (void)snprintf(text, capacity, "No forecast yet: nothing was asked for since the start.");
        return;
    }
    if (!is_known(f, count)) {
        (void)snprintf(text, capacity,
                       "No forecast yet: too little was asked for, and too little of it again.");
        return;
    }
    for (size_t i = SELF + 1; i < count; i++)
        if (f[i].low > now->high && (!best || f[i].hit_ratio > best->hit_ratio + 0.005))
            best = &f[i];
    if (best)
        (void)snprintf(text, capacity,
                       "%s with %zu entries would hit %.1f %% (%.1f to %.1f) instead of %.1f %%.",
                       best->policy, best->entries, 100 * best->hit_ratio, 100 * best->low,
                       100 * best->high, 100 * now->hit_ratio);
    else
        (void)snprintf(text, capacity,
                       "Neither four times the entries nor another policy is sure to hit more than "
                       "%.1f %%.",
                       100 * now->hit_ratio);
}

int mp__manager_explain_cache(mp__manager *manager, mp__buf *out)
{
    mp__cache_forecast f[MP__CACHE_FORECASTS];
    size_t count = mp__cache_forecasts(manager->cache, f);
    mp__cache_panel panel;
    mp_cache_stats s;
    char text[256];

    mp__cache_panel_read(manager->cache, &panel);
    mp_cache_stats_read(manager->cache, &s);
    sentence(f, count, text, sizeof(text));
    mp__json_begin(out, '{');
    mp__json_add_text(out, "summary", text);
    mp__json_add_text(out, "policy", panel.policy);
    if (panel.count)
        mp__json_add_text(out, "follows", panel.leader);
    mp__json_add_u64(out, "entries", s.l1_entries);
    mp__json_add_u64(out, "entries_max", s.l1_entries_max);
    mp__json_add_u64(out, "hits", s.l1_hits);
    mp__json_add_u64(out, "misses", s.l1_misses);
    forecasts_json("sizes", f, count < SIZES ? count : SIZES, out);
    forecasts_json("policies", f + SIZES, count > SIZES ? count - SIZES : 0, out);
    mp__json_end(out, '}');
    return out->error;
}

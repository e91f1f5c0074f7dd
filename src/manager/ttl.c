/* SPDX-License-Identifier: Apache-2.0 */
/* How long what is kept of a key is good until it must be verified again: the rule of cache.ttl
 * that fits, else cache.default_ttl; of what is known to be absent never longer than
 * cache.negative_ttl. Says nothing of how long it is kept. An entry knows whole seconds, so that
 * is what can be asked for. */
#include "manager/internal.h"

enum { S = 1000, TTL_LEAST_MS = 1 * S };

#define TTL_MOST_MS (365ll * 24 * 3600 * S)

static int read_ttl(mp_str what, int64_t *ret_value)
{
    int64_t ms;

    if (!mp__duration_ms(what, &ms) || ms < TTL_LEAST_MS || ms > TTL_MOST_MS || ms % S)
        return MP_EINVAL;
    *ret_value = ms / S;
    return 0;
}

static const mp__key_rule_kind kind_of_rules = {
    "cache.ttl", "NAMESPACE/KEY=TTL, as app/flags/*=30s, with a TTL of whole seconds, 1s to 365d",
    read_ttl};

int mp__ttl_rules_configured(const mp__options *options, mp__key_rules **ret_rules, mp__diag *diag)
{
    size_t count;
    mp_str *rows = mp__options_list_texts(options, kind_of_rules.option, &count);
    int rc = rows ? mp__key_rules_new(&kind_of_rules, rows, count, ret_rules, diag) : MP_ENOMEM;

    (void)mp__free(rows);
    return rc;
}

void mp__ttl_take(mp__manager *manager, mp__key_rules *rules)
{
    uint32_t least = UINT32_MAX;
    mp__key_rules *old;

    for (size_t i = 0; i < mp__key_rules_count(rules); i++)
        if (mp__key_rules_at(rules, i)->value < least)
            least = (uint32_t)mp__key_rules_at(rules, i)->value;
    (void)pthread_rwlock_wrlock(&manager->ttl_lock);
    old = manager->ttl_rules;
    manager->ttl_rules = rules;
    atomic_store_explicit(&manager->ttl_least_s, least, memory_order_relaxed);
    (void)pthread_rwlock_unlock(&manager->ttl_lock);
    (void)mp__key_rules_free(old);
}

/* What @kind and @address have, and what says so, as text into @out unless that is NULL. */
static uint32_t look_up(mp__manager *manager, int kind, mp_str address, mp__buf *out)
{
    uint32_t ttl_s = atomic_load_explicit(&manager->ttl_s, memory_order_relaxed);
    uint32_t negative_s = atomic_load_explicit(&manager->negative_ttl_s, memory_order_relaxed);
    bool is_absent = kind == MP__RECORD_ABSENT;
    const mp__key_rule *rule;

    if (atomic_load_explicit(&manager->ttl_least_s, memory_order_relaxed) == UINT32_MAX && !out)
        return is_absent ? negative_s : ttl_s; /* there are no rules */
    (void)pthread_rwlock_rdlock(&manager->ttl_lock);
    rule = mp__key_rules_find(manager->ttl_rules, address);
    if (rule)
        ttl_s = (uint32_t)rule->value;
    if (is_absent && (!rule || negative_s <= ttl_s)) {
        ttl_s = negative_s;
        rule = NULL;
    }
    if (out && rule)
        (void)mp__buf_printf(out, "cache.ttl: %.*s", (int)rule->pattern.size, rule->pattern.data);
    else if (out)
        (void)mp__buf_printf(out, "%s", is_absent ? "cache.negative_ttl" : "cache.default_ttl");
    (void)pthread_rwlock_unlock(&manager->ttl_lock);
    return ttl_s;
}

uint32_t mp__ttl_s(mp__manager *manager, int kind, mp_str address)
{
    return look_up(manager, kind, address, NULL);
}

void mp__ttl_json(mp__manager *manager, int kind, mp_str address, mp__buf *out)
{
    mp__buf rule = MP__BUF_INIT;

    mp__json_add_u64(out, "verify_after_s", look_up(manager, kind, address, &rule));
    mp__json_add_string(out, "verify_rule", mp__buf_str(&rule));
    mp__buf_done(&rule);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What can be said of options beyond each one alone, before anything is opened with them: the same
 * judges that the parts ask when they begin, so that what check-config finds good a start takes. */
#include "manager/internal.h"

enum { READY_MOST = 100 };

static int check_environments(const mp__options *options, mp__diag *diag)
{
    size_t count = mp__options_list_count(options, "resp.databases");

    for (size_t i = 0; i < count; i++) {
        int rc = mp__database_check(mp__options_list_at(options, "resp.databases", i), diag);

        if (rc)
            return mp__diag_row(diag, rc, i);
    }
    return count ? 0
                 : mp__diag_set(diag, MP_EINVAL, "resp.databases: name at least one environment");
}

static int check_base(const mp__options *options, mp__diag *diag)
{
    return mp__overlay_base_check(mp__options_text(options, "overlay.base"), diag);
}

static int check_modes(const mp__options *options, mp__diag *diag)
{
    mp__write_modes *modes = NULL;
    int rc = mp__write_modes_new(options, &modes, diag);

    modes = mp__write_modes_free(modes);
    return rc;
}

static int check_ttl(const mp__options *options, mp__diag *diag)
{
    mp__key_rules *rules = NULL;
    int rc = mp__ttl_rules_configured(options, &rules, diag);

    rules = mp__key_rules_free(rules);
    return rc;
}

static int check_seconds(const mp__options *options, const char *path, mp__diag *diag)
{
    long long ms = mp__options_int(options, path), s = ms / 1000;

    return ms % 1000
               ? mp__diag_set(diag, MP_EINVAL,
                              "%s: %lldms is no whole number of seconds; write %llds or %llds",
                              path, ms, s, s + 1)
               : 0;
}

static int check_default_ttl(const mp__options *options, mp__diag *diag)
{
    return check_seconds(options, "cache.default_ttl", diag);
}

static int check_negative_ttl(const mp__options *options, mp__diag *diag)
{
    return check_seconds(options, "cache.negative_ttl", diag);
}

static int check_patterns(const mp__options *options, mp__diag *diag)
{
    return mp__preload_check(options, diag);
}

static int check_pins(const mp__options *options, mp__diag *diag)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < mp__options_list_count(options, "cache.pin"); i++)
        rc = mp__diag_row(
            diag,
            mp__cache_pin_check(mp_str_of(mp__options_list_at(options, "cache.pin", i)), diag), i);
    return rc;
}

static const char ready_path[] = "http.ready_namespaces";

static int check_ready_name(const char *name, mp__diag *diag)
{
    const char *slash = strchr(name, '/');
    mp_str scope = slash ? mp_str_new(name, (size_t)(slash - name)) : MP_STR("x");
    mp_str namespace_ = mp_str_of(slash ? slash + 1 : name);
    char address[MP__ADDRESS_MAX];
    mp__diag why = {0};

    if (memchr(namespace_.data, '/', namespace_.size))
        return mp__diag_set(diag, MP_EINVAL, "%s: '%.80s' has more than one slash", ready_path,
                            name);
    if (mp__scope_check(scope, &why) != 0 ||
        mp__address_join(scope, namespace_, MP_STR("x"), address, &why) < 0)
        return mp__diag_set(diag, MP_EINVAL, "%s: '%.80s' is no namespace: %s", ready_path, name,
                            why.text);
    return 0;
}

/* [SCOPE/]NAMESPACE, each a question to the origin. */
static int check_ready(const mp__options *options, mp__diag *diag)
{
    size_t count = mp__options_list_count(options, ready_path);
    int rc = 0;

    if (count > READY_MOST)
        return mp__diag_set(diag, MP_EINVAL, "%s: %zu are too many, at most %d are looked at",
                            ready_path, count, READY_MOST);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mp__diag_row(diag, check_ready_name(mp__options_list_at(options, ready_path, i), diag),
                          i);
    return rc;
}

static int check_shared(const mp__options *options, mp__diag *diag)
{
    const char *url = mp__options_text(options, "cache.l4_url");

    return url[0] ? mp__shared_url_check(url, diag) : 0;
}

static const struct {
    const char *path; /* of the option that is to blame */
    int (*check)(const mp__options *options, mp__diag *diag);
} checks[] = {
    {"resp.databases", check_environments},   {"overlay.base", check_base},
    {"cache.write_modes", check_modes},       {"cache.ttl", check_ttl},
    {"cache.default_ttl", check_default_ttl}, {"cache.negative_ttl", check_negative_ttl},
    {"cache.preload", check_patterns},        {"cache.pin", check_pins},
    {"cache.l4_url", check_shared},           {ready_path, check_ready},
};

/* @path has fewer bytes than @entries_path needs: the one that stands in the file is to blame. */
static int refuse(const mp__options *options, const char *path, size_t bytes, size_t least,
                  const char *entries_path, size_t entries, mp__diag *diag)
{
    const char *first = mp__options_is_set(options, path) ? path : entries_path;
    size_t hundredths = (least * 100 >> 20) + 1; /* MiB, rounded up: what is told is enough */
    int rc = mp__diag_set(diag, MP_EINVAL,
                          "%s: %.2f MiB are too few for %zu entries (%s), it takes at least "
                          "%.2f MiB; raise it or lower that",
                          path, (double)bytes / (1 << 20), entries, entries_path,
                          (double)hundredths / 100);

    mp__options_blame(options, first, diag);
    return rc;
}

static int check_sizes(const mp__options *options, const mp__memory_plan *plan,
                       const mp__priorities *priorities, mp__diag *diag)
{
    size_t least = mp__cache_l1_bytes_least(plan->l1_entries, plan->l1_bytes,
                                            mp__options_text(options, "cache.policy"), priorities);

    if (plan->l1_bytes < least)
        return refuse(options, "cache.l1_bytes", plan->l1_bytes, least, "cache.l1_size",
                      plan->l1_entries, diag);
    least = mp__cache_l2_bytes_least(plan->l2_entries);
    if (plan->l2_entries && plan->l2_bytes < least)
        return refuse(options, "cache.l2_bytes", plan->l2_bytes, least, "cache.l2_size",
                      plan->l2_entries, diag);
    return 0;
}

int mp__manager_check(const mp__options *options, mp__diag *diag)
{
    mp__priorities *priorities = NULL;
    mp__memory_plan plan;
    int rc = mp__memory_plan_make(options, &plan, diag);

    if (rc == 0) {
        rc = mp__priorities_configured(options, &priorities, diag);
        if (rc == 0)
            rc = check_sizes(options, &plan, priorities, diag);
        priorities = mp__priorities_free(priorities);
    }
    for (size_t i = 0; rc == 0 && i < sizeof(checks) / sizeof(checks[0]); i++) {
        rc = checks[i].check(options, diag);
        if (rc && diag)
            mp__options_blame(options, checks[i].path, diag);
    }
    return rc;
}

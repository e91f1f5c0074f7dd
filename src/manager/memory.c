/* SPDX-License-Identifier: Apache-2.0 */
/* memory.max: one limit, divided between the caches and queues whose own limits are not set. */
#include <stdio.h>

#include "manager/internal.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum {
    QUEUE_PART = 16, /* of memory.max, for records on their way to L3, and for watchers */
    BACK_PART = 8,   /* for writes on their way to the origin */
    L2_PART = 4,     /* of what is left: L2 takes a quarter, L1 the rest */
    L1_ENTRY = 1024, /* bytes that one is expected to take, with its part of index and order */
    L2_ENTRY = 256,  /* the same, compressed */
    L1_ENTRIES_LEAST = 1000, /* as they are without memory.max */
    L2_ENTRIES_LEAST = 5000,
};
#define MAX_LEAST        (16 * MIB)
#define QUEUE_MOST       (64 * MIB)
#define QUEUE_LEAST      (1 * MIB)
#define WATCH_STANDARD   (16 * MIB)
#define PENDING_STANDARD (64 * MIB)
#define L1_LEAST         (2 * MIB)
#define L2_LEAST         (5 * MIB)

static size_t bytes_of(const mp__options *options, const char *path)
{
    return (size_t)mp__options_int(options, path);
}

static size_t clamp(size_t value, size_t low, size_t high)
{
    return value < low ? low : value > high ? high : value;
}

static bool writes_back(const mp__options *options)
{
    if (mp__options_int(options, "cache.write_mode") == MP__WRITE_BACK)
        return true;
    for (size_t i = 0; i < mp__options_list_count(options, "cache.write_modes"); i++) {
        const char *row = mp__options_list_at(options, "cache.write_modes", i);
        size_t size = strlen(row);

        if (size > 5 && strcmp(row + size - 5, "=back") == 0)
            return true;
    }
    return false;
}

/* @path is to blame: the first of the two that stands in the file. */
static int refuse(const mp__options *options, const char *path, mp__diag *diag, const char *text,
                  size_t has, size_t max)
{
    int rc = mp__diag_set(diag, MP_EINVAL,
                          "%s%s: %s (%.1f MiB of memory.max = %.1f MiB); raise memory.max or lower "
                          "what is set by hand",
                          path, mp__options_is_set(options, path) ? "" : " (not set)", text,
                          (double)has / (double)MIB, (double)max / (double)MIB);

    mp__options_blame(options, path, diag);
    return rc;
}

/* What is left for L1 and L2, in *ret_left. */
static int plan_queues(const mp__options *options, mp__memory_plan *p, size_t *ret_left,
                       mp__diag *diag)
{
    p->watch_bytes = clamp(p->max / QUEUE_PART, QUEUE_LEAST, QUEUE_MOST);
    p->l3_pending_bytes = clamp(p->max / QUEUE_PART, QUEUE_LEAST, QUEUE_MOST);
    if (writes_back(options))
        p->write_back_bytes = mp__options_is_set(options, "cache.write_back_bytes")
                                  ? bytes_of(options, "cache.write_back_bytes")
                                  : clamp(p->max / BACK_PART, QUEUE_LEAST, QUEUE_MOST);
    p->sum = p->watch_bytes + p->l3_pending_bytes + p->write_back_bytes;
    if (p->sum + L1_LEAST > p->max)
        return refuse(options, "cache.write_back_bytes", diag,
                      "the queues leave less than 2 MiB for L1", p->sum, p->max);
    *ret_left = p->max - p->sum;
    return 0;
}

static int plan_tiers(const mp__options *options, mp__memory_plan *p, size_t left, mp__diag *diag)
{
    bool l1_set = mp__options_is_set(options, "cache.l1_bytes");
    bool l2_set = mp__options_is_set(options, "cache.l2_bytes");
    bool has_l2 = mp__options_int(options, "cache.l2_size") != 0;

    p->l1_bytes = bytes_of(options, "cache.l1_bytes");
    p->l2_bytes = has_l2 ? bytes_of(options, "cache.l2_bytes") : 0;
    if (l1_set && p->l1_bytes > left)
        return refuse(options, "cache.l1_bytes", diag, "it leaves no room for the queues",
                      p->l1_bytes, p->max);
    if (has_l2 && l2_set && p->l2_bytes > left)
        return refuse(options, "cache.l2_bytes", diag, "it leaves no room for the queues",
                      p->l2_bytes, p->max);
    if (has_l2 && !l2_set)
        p->l2_bytes = l1_set ? left - p->l1_bytes : clamp(left / L2_PART, L2_LEAST, left);
    if (!l1_set)
        p->l1_bytes = left - p->l2_bytes;
    if (has_l2 && p->l1_bytes + p->l2_bytes > left)
        return refuse(options, "cache.l2_bytes", diag,
                      "with cache.l1_bytes and the queues it is too much",
                      p->l1_bytes + p->l2_bytes + p->sum, p->max);
    if (p->l1_bytes < L1_LEAST)
        return refuse(options, l2_set ? "cache.l2_bytes" : "cache.l1_bytes", diag,
                      "less than 2 MiB are left for L1", p->l1_bytes, p->max);
    if (has_l2 && p->l2_bytes < L2_LEAST)
        return refuse(options, "cache.l1_bytes", diag,
                      "less than 5 MiB are left for L2 (cache.l2_size: 0 does without)",
                      p->l2_bytes, p->max);
    p->sum += p->l1_bytes + p->l2_bytes;
    if (!mp__options_is_set(options, "cache.l1_size"))
        p->l1_entries = clamp(p->l1_bytes / L1_ENTRY, L1_ENTRIES_LEAST, SIZE_MAX);
    if (has_l2 && !mp__options_is_set(options, "cache.l2_size"))
        p->l2_entries = clamp(p->l2_bytes / L2_ENTRY, L2_ENTRIES_LEAST, SIZE_MAX);
    return 0;
}

int mp__memory_plan_make(const mp__options *options, mp__memory_plan *ret_plan, mp__diag *diag)
{
    mp__memory_plan p = {
        .max = bytes_of(options, "memory.max"),
        .l1_bytes = bytes_of(options, "cache.l1_bytes"),
        .l1_entries = bytes_of(options, "cache.l1_size"),
        .l2_entries = bytes_of(options, "cache.l2_size"),
        .watch_bytes = WATCH_STANDARD,
        .l3_pending_bytes = PENDING_STANDARD,
    };
    size_t left = 0;
    int rc;

    if (p.max == 0) {
        p.l2_bytes = p.l2_entries ? bytes_of(options, "cache.l2_bytes") : 0;
        p.write_back_bytes = writes_back(options) ? bytes_of(options, "cache.write_back_bytes") : 0;
        p.sum = p.l1_bytes + p.l2_bytes + p.write_back_bytes + p.watch_bytes + p.l3_pending_bytes;
        *ret_plan = p;
        return 0;
    }
    if (p.max < MAX_LEAST) {
        rc =
            mp__diag_set(diag, MP_EINVAL,
                         "memory.max: %zu bytes are too few; at least 16MiB, or 0 for none", p.max);
        mp__options_blame(options, "memory.max", diag);
        return rc;
    }
    rc = plan_queues(options, &p, &left, diag);
    if (rc == 0)
        rc = plan_tiers(options, &p, left, diag);
    if (rc == 0)
        *ret_plan = p;
    return rc;
}

int mp__priorities_configured(const mp__options *options, mp__priorities **ret_priorities,
                              mp__diag *diag)
{
    static const char *const paths[2] = {"cache.priorities", "cache.priority_shares"};
    size_t counts[2];
    mp_str *texts[2] = {mp__options_list_texts(options, paths[0], &counts[0]),
                        mp__options_list_texts(options, paths[1], &counts[1])};
    int rc = texts[0] && texts[1] ? 0 : MP_ENOMEM;

    if (rc == 0)
        rc = mp__priorities_new(texts[0], counts[0], texts[1], counts[1], ret_priorities, diag);
    if (rc && diag) /* the text begins with the option that is wrong */
        mp__options_blame(options, paths[strncmp(diag->text, paths[1], strlen(paths[1])) == 0],
                          diag);
    (void)mp__free(texts[0]);
    (void)mp__free(texts[1]);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/priority.h"

#include <limits.h>
#include <string.h>

#include "core/alloc.h"
#include "core/key_rule.h"

enum { SHARE_LEAST = 1, SHARE_MOST = 97 };

struct mp__priorities {
    unsigned used; /* a bit a class */
    unsigned shares[MP__PRIORITIES];
    mp__key_rules *rules;
};

static const unsigned standard_percent[MP__PRIORITIES] = {40, 30, 20, 10};

const char *mp__priority_name(enum mp__priority priority)
{
    static const char *const names[] = {"critical", "high", "normal", "low"};

    return names[priority];
}

int mp__priority_parse(mp_str text, enum mp__priority *ret_priority)
{
    for (int i = 0; i < MP__PRIORITIES; i++)
        if (mp_str_equal(text, mp_str_of(mp__priority_name((enum mp__priority)i)))) {
            *ret_priority = (enum mp__priority)i;
            return 0;
        }
    return MP_EINVAL;
}

static int read_class(mp_str what, int64_t *ret_value)
{
    enum mp__priority priority;
    int rc = mp__priority_parse(what, &priority);

    if (rc == 0)
        *ret_value = priority;
    return rc;
}

static const mp__key_rule_kind classes = {
    "cache.priorities", "NAMESPACE/KEY=critical, =high, =normal or =low", read_class};

static int take_share(unsigned percent[MP__PRIORITIES], mp_str text, mp__diag *diag)
{
    enum mp__priority priority;
    mp_str name, number;
    unsigned value = 0;

    if (!mp__key_rule_split(text, &name, &number) || mp__priority_parse(name, &priority) != 0)
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.priority_shares: '%.*s' is not CLASS=PERCENT, as critical=40",
                            mp__diag_shown(text), text.data);
    for (size_t i = 0; i < number.size && value <= SHARE_MOST; i++)
        value = number.data[i] >= '0' && number.data[i] <= '9'
                    ? value * 10 + (unsigned)(number.data[i] - '0')
                    : UINT_MAX / 20;
    if (value < SHARE_LEAST || value > SHARE_MOST)
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.priority_shares: %s must have %d to %d percent, not '%.*s'",
                            mp__priority_name(priority), SHARE_LEAST, SHARE_MOST,
                            mp__diag_shown(number), number.data);
    percent[priority] = value;
    return 0;
}

/* Of the classes in use, so that what an unused one would own goes to the others. */
static void divide(mp__priorities *p, const unsigned percent[MP__PRIORITIES])
{
    unsigned sum = 0, left = 1000;

    for (int i = 0; i < MP__PRIORITIES; i++)
        sum += p->used >> i & 1 ? percent[i] : 0;
    for (int i = 0; i < MP__PRIORITIES; i++) {
        p->shares[i] = p->used >> i & 1 ? percent[i] * 1000 / sum : 0;
        left -= p->shares[i];
    }
    p->shares[MP__PRIORITY_NORMAL] += left; /* what rounding left */
}

int mp__priorities_new(const mp_str *rows, size_t row_count, const mp_str *shares,
                       size_t share_count, mp__priorities **ret_priorities, mp__diag *diag)
{
    mp__priorities *p = mp__calloc(1, sizeof(*p));
    unsigned percent[MP__PRIORITIES], sum = 0;
    int rc;

    if (!p)
        return MP_ENOMEM;
    memcpy(percent, standard_percent, sizeof(percent));
    p->used = 1u << MP__PRIORITY_NORMAL;
    rc = mp__key_rules_new(&classes, rows, row_count, &p->rules, diag);
    for (size_t i = 0; i < mp__key_rules_count(p->rules); i++)
        p->used |= 1u << mp__key_rules_at(p->rules, i)->value;
    for (size_t i = 0; rc == 0 && i < share_count; i++)
        rc = mp__diag_row(diag, take_share(percent, shares[i], diag), i);
    for (int i = 0; i < MP__PRIORITIES; i++)
        sum += percent[i];
    if (rc == 0 && sum != 100)
        rc = mp__diag_set(diag, MP_EINVAL,
                          "cache.priority_shares: critical=%u, high=%u, normal=%u and low=%u are "
                          "%u percent together and must be 100",
                          percent[MP__PRIORITY_CRITICAL], percent[MP__PRIORITY_HIGH],
                          percent[MP__PRIORITY_NORMAL], percent[MP__PRIORITY_LOW], sum);
    if (rc) {
        (void)mp__priorities_free(p);
        return rc;
    }
    divide(p, percent);
    *ret_priorities = p;
    return 0;
}

mp__priorities *mp__priorities_free(mp__priorities *priorities)
{
    if (priorities)
        priorities->rules = mp__key_rules_free(priorities->rules);
    return mp__free(priorities);
}

enum mp__priority mp__priority_of(const mp__priorities *priorities, mp_str address)
{
    const mp__key_rule *rule = priorities ? mp__key_rules_find(priorities->rules, address) : NULL;

    return rule ? (enum mp__priority)rule->value : MP__PRIORITY_NORMAL;
}

bool mp__priority_is_used(const mp__priorities *priorities, enum mp__priority priority)
{
    return priorities ? priorities->used >> priority & 1 : priority == MP__PRIORITY_NORMAL;
}

unsigned mp__priority_share(const mp__priorities *priorities, enum mp__priority priority)
{
    if (priorities)
        return priorities->shares[priority];
    return priority == MP__PRIORITY_NORMAL ? 1000 : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/priority.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

enum { SHARE_LEAST = 1, SHARE_MOST = 97, SHOWN = 80 };

typedef struct row {
    char *text; /* namespace/key, without the star */
    size_t size;
    enum mp__priority priority;
    bool is_beginning;
} row;

struct mp__priorities {
    unsigned used; /* a bit a class */
    unsigned shares[MP__PRIORITIES];
    size_t count;
    row rows[MP__PRIORITY_PATTERNS_MAX]; /* the longest first, the exact before the beginning */
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

static int shown(mp_str text)
{
    return text.size < SHOWN ? (int)text.size : SHOWN;
}

/* What is left and right of the last '='. */
static bool split(mp_str text, mp_str *ret_left, mp_str *ret_right)
{
    const char *equals = text.size ? memrchr(text.data, '=', text.size) : NULL;

    if (!equals || equals == text.data)
        return false;
    *ret_left = mp_str_new(text.data, (size_t)(equals - text.data));
    *ret_right = mp_str_new(equals + 1, text.size - ret_left->size - 1);
    return true;
}

static int add(mp__priorities *p, mp_str text, mp__diag *diag)
{
    row *r = &p->rows[p->count];
    mp_str pattern, name;

    if (p->count == MP__PRIORITY_PATTERNS_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "cache.priorities: at most %d patterns",
                            MP__PRIORITY_PATTERNS_MAX);
    if (!split(text, &pattern, &name) || mp__priority_parse(name, &r->priority) != 0)
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.priorities: '%.*s' is not NAMESPACE/KEY=critical, =high, "
                            "=normal or =low",
                            shown(text), text.data);
    r->is_beginning = pattern.data[pattern.size - 1] == '*';
    pattern.size -= r->is_beginning;
    if ((pattern.size && !memchr(pattern.data, '/', pattern.size)) ||
        memchr(pattern.data, '*', pattern.size) || (pattern.size && pattern.data[0] == '/'))
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.priorities: '%.*s' is no pattern; write NAMESPACE/KEY, "
                            "NAMESPACE/KE* for all keys that begin so, or * for all",
                            shown(text), text.data);
    for (size_t i = 0; i < p->count; i++)
        if (p->rows[i].size == pattern.size && p->rows[i].is_beginning == r->is_beginning &&
            memcmp(p->rows[i].text, pattern.data, pattern.size) == 0)
            return mp__diag_set(
                diag, MP_EINVAL, "cache.priorities: '%.*s' stands twice, as %s and as %s",
                shown(pattern), pattern.data, mp__priority_name(p->rows[i].priority),
                mp__priority_name(r->priority));
    r->text = mp__str_dup(pattern);
    if (!r->text)
        return MP_ENOMEM;
    r->size = pattern.size;
    p->used |= 1u << r->priority;
    p->count++;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const row *x = a, *y = b;

    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return (int)x->is_beginning - (int)y->is_beginning;
}

static int take_share(unsigned percent[MP__PRIORITIES], mp_str text, mp__diag *diag)
{
    enum mp__priority priority;
    mp_str name, number;
    unsigned value = 0;

    if (!split(text, &name, &number) || mp__priority_parse(name, &priority) != 0)
        return mp__diag_set(diag, MP_EINVAL,
                            "cache.priority_shares: '%.*s' is not CLASS=PERCENT, as critical=40",
                            shown(text), text.data);
    for (size_t i = 0; i < number.size && value <= SHARE_MOST; i++)
        value = number.data[i] >= '0' && number.data[i] <= '9'
                    ? value * 10 + (unsigned)(number.data[i] - '0')
                    : UINT_MAX / 20;
    if (value < SHARE_LEAST || value > SHARE_MOST)
        return mp__diag_set(
            diag, MP_EINVAL, "cache.priority_shares: %s must have %d to %d percent, not '%.*s'",
            mp__priority_name(priority), SHARE_LEAST, SHARE_MOST, shown(number), number.data);
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
    int rc = 0;

    if (!p)
        return MP_ENOMEM;
    memcpy(percent, standard_percent, sizeof(percent));
    p->used = 1u << MP__PRIORITY_NORMAL;
    for (size_t i = 0; rc == 0 && i < row_count; i++)
        rc = add(p, rows[i], diag);
    for (size_t i = 0; rc == 0 && i < share_count; i++)
        rc = take_share(percent, shares[i], diag);
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
    qsort(p->rows, p->count, sizeof(p->rows[0]), compare);
    divide(p, percent);
    *ret_priorities = p;
    return 0;
}

mp__priorities *mp__priorities_free(mp__priorities *priorities)
{
    for (size_t i = 0; priorities && i < priorities->count; i++)
        (void)mp__free(priorities->rows[i].text);
    return mp__free(priorities);
}

enum mp__priority mp__priority_of(const mp__priorities *priorities, mp_str address)
{
    const char *slash;
    mp_str name;

    if (!priorities || priorities->count == 0 || address.size == 0)
        return MP__PRIORITY_NORMAL;
    slash = memchr(address.data, '/', address.size);
    if (!slash) /* no key's, but a scope's */
        return MP__PRIORITY_NORMAL;
    name = mp_str_new(slash + 1, address.size - (size_t)(slash + 1 - address.data));
    for (size_t i = 0; i < priorities->count; i++) {
        const row *r = &priorities->rows[i];

        if ((r->is_beginning ? name.size >= r->size : name.size == r->size) &&
            memcmp(name.data, r->text, r->size) == 0)
            return r->priority;
    }
    return MP__PRIORITY_NORMAL;
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

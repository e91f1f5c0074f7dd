/* SPDX-License-Identifier: Apache-2.0 */
#include "core/key_rule.h"

#include <stdlib.h>
#include <string.h>

#include "core/alloc.h"

typedef struct row {
    mp__key_rule rule;
    char *text; /* namespace/key[*]=what */
    mp_str what;
    size_t size; /* of what a key must be, or begin with */
    bool is_beginning;
} row;

struct mp__key_rules {
    size_t count;
    row rows[]; /* the longest first, the exact before the beginning */
};

bool mp__key_rule_split(mp_str text, mp_str *ret_left, mp_str *ret_right)
{
    const char *equals = text.size ? memrchr(text.data, '=', text.size) : NULL;

    if (!equals || equals == text.data)
        return false;
    *ret_left = mp_str_new(text.data, (size_t)(equals - text.data));
    *ret_right = mp_str_new(equals + 1, text.size - ret_left->size - 1);
    return true;
}

/* NAMESPACE/KEY without a star, or the part of it before one; nothing of "*". */
static bool is_pattern(mp_str text)
{
    if (text.size == 0)
        return true;
    return memchr(text.data, '/', text.size) && !memchr(text.data, '*', text.size) &&
           text.data[0] != '/';
}

static const row *find_same(const mp__key_rules *rules, const row *r)
{
    for (size_t i = 0; i < rules->count; i++)
        if (mp_str_equal(rules->rows[i].rule.pattern, r->rule.pattern))
            return &rules->rows[i];
    return NULL;
}

static int add(mp__key_rules *rules, const mp__key_rule_kind *kind, mp_str text, mp__diag *diag)
{
    row *r = &rules->rows[rules->count];
    mp_str pattern, what;
    const row *same;

    if (!mp__key_rule_split(text, &pattern, &what) || kind->read(what, &r->rule.value) != 0)
        return mp__diag_set(diag, MP_EINVAL, "%s: '%.*s' is not %s", kind->option,
                            mp__diag_shown(text), text.data, kind->form);
    r->is_beginning = pattern.data[pattern.size - 1] == '*';
    r->size = pattern.size - r->is_beginning;
    if (!is_pattern(mp_str_new(pattern.data, r->size)))
        return mp__diag_set(diag, MP_EINVAL,
                            "%s: '%.*s' is no pattern; write NAMESPACE/KEY, NAMESPACE/KE* for all "
                            "keys that begin so, or * for all",
                            kind->option, mp__diag_shown(text), text.data);
    r->rule.pattern = pattern;
    same = find_same(rules, r);
    if (same)
        return mp__diag_set(diag, MP_EINVAL, "%s: '%.*s' stands twice, as %.*s and as %.*s",
                            kind->option, mp__diag_shown(pattern), pattern.data,
                            mp__diag_shown(same->what), same->what.data, mp__diag_shown(what),
                            what.data);
    r->text = mp__str_dup(text);
    if (!r->text)
        return MP_ENOMEM;
    r->rule.pattern = mp_str_new(r->text, pattern.size);
    r->what = mp_str_new(r->text + pattern.size + 1, what.size);
    rules->count++;
    return 0;
}

static int compare(const void *a, const void *b)
{
    const row *x = a, *y = b;

    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return (int)x->is_beginning - (int)y->is_beginning;
}

int mp__key_rules_new(const mp__key_rule_kind *kind, const mp_str *rows, size_t count,
                      mp__key_rules **ret_rules, mp__diag *diag)
{
    mp__key_rules *rules;
    int rc = 0;

    if (count > MP__KEY_RULES_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "%s: at most %d patterns", kind->option,
                            MP__KEY_RULES_MAX);
    rules = mp__calloc(1, sizeof(*rules) + count * sizeof(rules->rows[0]));
    if (!rules)
        return MP_ENOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = mp__diag_row(diag, add(rules, kind, rows[i], diag), i);
    if (rc) {
        (void)mp__key_rules_free(rules);
        return rc;
    }
    qsort(rules->rows, rules->count, sizeof(rules->rows[0]), compare);
    *ret_rules = rules;
    return 0;
}

mp__key_rules *mp__key_rules_free(mp__key_rules *rules)
{
    for (size_t i = 0; rules && i < rules->count; i++)
        (void)mp__free(rules->rows[i].text);
    return mp__free(rules);
}

size_t mp__key_rules_count(const mp__key_rules *rules)
{
    return rules ? rules->count : 0;
}

const mp__key_rule *mp__key_rules_at(const mp__key_rules *rules, size_t i)
{
    return &rules->rows[i].rule;
}

const mp__key_rule *mp__key_rules_find(const mp__key_rules *rules, mp_str address)
{
    const char *slash;
    mp_str name;

    if (!rules || rules->count == 0 || address.size == 0)
        return NULL;
    slash = memchr(address.data, '/', address.size);
    if (!slash) /* no key's, but a scope's */
        return NULL;
    name = mp_str_new(slash + 1, address.size - (size_t)(slash + 1 - address.data));
    for (size_t i = 0; i < rules->count; i++) {
        const row *r = &rules->rows[i];

        if ((r->is_beginning ? name.size >= r->size : name.size == r->size) &&
            memcmp(name.data, r->text, r->size) == 0)
            return &r->rule;
    }
    return NULL;
}

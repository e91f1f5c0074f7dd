/* SPDX-License-Identifier: Apache-2.0 */
/* Rules for keys by pattern, as options write them: "NAMESPACE/KEY=WHAT", or "NAMESPACE/KE*=WHAT"
 * for all keys that begin so, in every environment, or "*=WHAT" for all. Pure. */
#ifndef MP_CORE_KEY_RULE_H
#define MP_CORE_KEY_RULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/error.h"

enum { MP__KEY_RULES_MAX = 256 };

/* Immutable once it is made: any thread. */
typedef struct mp__key_rules mp__key_rules;

typedef struct mp__key_rule {
    mp_str pattern; /* as it was written, its star included; lives as long as the rules */
    int64_t value;  /* what the reader made of WHAT */
} mp__key_rule;

/* Whose rules they are. */
typedef struct mp__key_rule_kind {
    const char *option; /* texts begin with it */
    const char *form;   /* what a row must be, as "NAMESPACE/KEY=critical, =high or =low" */
    int (*read)(mp_str what, int64_t *ret_value); /* MP_EINVAL: it is none */
} mp__key_rule_kind;

/* What is left and right of the last '=' of @row; false: there is none, or nothing left of it. */
bool mp__key_rule_split(mp_str row, mp_str *ret_left, mp_str *ret_right);

/* MP_EINVAL, MP_ELIMIT (more than MP__KEY_RULES_MAX) with the row in @diag (may be NULL);
 * MP_ENOMEM. *ret_rules is the caller's. @rows are copied. */
MP_MUST_USE int mp__key_rules_new(const mp__key_rule_kind *kind, const mp_str *rows, size_t count,
                                  mp__key_rules **ret_rules, mp__diag *diag);
/* Accepts NULL, returns NULL. */
mp__key_rules *mp__key_rules_free(mp__key_rules *rules);

size_t mp__key_rules_count(const mp__key_rules *rules); /* NULL: 0 */
/* @i below the count; the longest pattern first, of two as long the exact one. */
const mp__key_rule *mp__key_rules_at(const mp__key_rules *rules, size_t i);

/* The rule of @address ("environment/namespace/key"): the longest pattern that fits, the exact one
 * before the beginning; NULL: none fits, or @rules is NULL. Takes a comparison a rule. */
const mp__key_rule *mp__key_rules_find(const mp__key_rules *rules, mp_str address);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* Regular expressions through PCRE2 with a limit on its steps: a backtracking engine can be made to
 * work for years on a short text, and both pattern and text come from outside. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/alloc.h"
#include "schema/node.h"

enum { STEPS_MAX = 200000, DEPTH_MAX = 10000, HEAP_KIB_MAX = 8192, PATTERN_MAX = 4096 };

struct mp__pattern {
    pcre2_code *code;
    pcre2_general_context *memory;
    mp_str text; /* of the schema's tree */
};

static void *pattern_malloc(size_t size, void *context)
{
    (void)context;
    return mp__malloc(size);
}

static void pattern_mfree(void *memory, void *context)
{
    (void)context;
    (void)mp__free(memory);
}

mp__pattern *mp__pattern_free(mp__pattern *pattern)
{
    if (pattern) {
        pcre2_code_free(pattern->code);
        pcre2_general_context_free(pattern->memory);
    }
    return mp__free(pattern);
}

/* As ECMA-262 with the flag u: $ only at the very end, \u{...}, [] and [^], a dot stops at any line
 * end; \d and \w know ASCII only, which is PCRE2's own default. */
static int compile(mp__pattern *pattern, mp__diag *diag)
{
    pcre2_compile_context *context = pcre2_compile_context_create(pattern->memory);
    int error = 0;
    PCRE2_SIZE at = 0;
    PCRE2_UCHAR why[128];

    if (!context)
        return MP_ENOMEM;
    (void)pcre2_set_newline(context, PCRE2_NEWLINE_ANYCRLF);
    (void)pcre2_set_compile_extra_options(context, PCRE2_EXTRA_ALT_BSUX);
    (void)pcre2_set_parens_nest_limit(context, 100);
    pattern->code = pcre2_compile((PCRE2_SPTR)(pattern->text.data), pattern->text.size,
                                  PCRE2_UTF | PCRE2_NO_UTF_CHECK | PCRE2_DOLLAR_ENDONLY |
                                      PCRE2_ALT_BSUX | PCRE2_ALLOW_EMPTY_CLASS |
                                      PCRE2_MATCH_UNSET_BACKREF | PCRE2_NEVER_BACKSLASH_C,
                                  &error, &at, context);
    pcre2_compile_context_free(context);
    if (pattern->code)
        return 0;
    if (error == PCRE2_ERROR_NOMEMORY || error == 121) /* "failed to allocate heap memory" */
        return MP_ENOMEM;
    (void)pcre2_get_error_message(error, why, sizeof(why));
    return mp__diag_set(diag, MP_EINVAL, "'%.*s' is no regular expression: %s at offset %zu",
                        (int)(pattern->text.size > 100 ? 100 : pattern->text.size),
                        pattern->text.data, (const char *)why, (size_t)at);
}

int mp__pattern_new(mp_str text, mp__pattern **ret_pattern, mp__diag *diag)
{
    mp__pattern *pattern;
    int rc;

    if (text.size > PATTERN_MAX)
        return mp__diag_set(diag, MP_ELIMIT, "a pattern may have %d bytes", PATTERN_MAX);
    pattern = mp__calloc(1, sizeof(*pattern));
    if (!pattern)
        return MP_ENOMEM;
    pattern->text = text;
    pattern->memory = pcre2_general_context_create(pattern_malloc, pattern_mfree, NULL);
    rc = pattern->memory ? compile(pattern, diag) : MP_ENOMEM;
    if (rc) {
        (void)mp__pattern_free(pattern);
        return rc;
    }
    *ret_pattern = pattern;
    return 0;
}

int mp__pattern_match(const mp__pattern *pattern, mp_str text)
{
    pcre2_match_context *limits = pcre2_match_context_create(pattern->memory);
    pcre2_match_data *data = pcre2_match_data_create(1, pattern->memory);
    int rc = PCRE2_ERROR_NOMEMORY;

    if (limits && data) {
        (void)pcre2_set_match_limit(limits, STEPS_MAX);
        (void)pcre2_set_depth_limit(limits, DEPTH_MAX);
        (void)pcre2_set_heap_limit(limits, HEAP_KIB_MAX);
        rc = pcre2_match(pattern->code, (PCRE2_SPTR)(text.data ? text.data : ""), text.size, 0,
                         PCRE2_NO_UTF_CHECK, data, limits);
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(limits);
    if (rc >= 0)
        return 1;
    if (rc == PCRE2_ERROR_NOMATCH)
        return 0;
    return rc == PCRE2_ERROR_NOMEMORY ? MP_ENOMEM : MP_ELIMIT;
}

mp_str mp__pattern_text(const mp__pattern *pattern)
{
    return pattern->text;
}

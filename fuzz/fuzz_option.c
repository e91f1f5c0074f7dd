/* SPDX-License-Identifier: Apache-2.0 */
/* The option file: a good one can be printed and read again to the same values; a bad one changes
 * nothing and names a place. */
#include <stdint.h>
#include <stdlib.h>

#include "core/core.h"
#include "core/option.h"

static void differs(void *context, const mp__option *option)
{
    (void)context;
    (void)option;
    abort();
}

/* Each number, choice and address as text, set by its path, is the same value again. (Strings and
 * lists are printed as YAML, and set as they are.) */
static void print_and_set(const mp__options *options)
{
    mp__options *again = NULL;
    mp__diag diag = {0};
    mp__buf text = MP__BUF_INIT, text_again = MP__BUF_INIT;

    if (mp__options_new(&again) != 0)
        abort();
    for (size_t i = 0; i < mp__option_count; i++) {
        const mp__option *option = &mp__option_table[i];

        if (option->type == MP__OPTION_LIST || option->type == MP__OPTION_STRING)
            continue;
        mp__buf_reset(&text);
        mp__buf_reset(&text_again);
        if (mp__options_print(options, option, &text) != 0 || mp__buf_add_char(&text, '\0') != 0)
            abort();
        if (mp__options_set(again, option->path, text.data, &diag) != 0 ||
            mp__options_print(again, option, &text_again) != 0 ||
            mp__buf_add_char(&text_again, '\0') != 0 ||
            !mp_str_equal(mp__buf_str(&text), mp__buf_str(&text_again)))
            abort();
    }
    mp__buf_done(&text);
    mp__buf_done(&text_again);
    (void)mp__options_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static mp__options *standard;
    mp__options *options = NULL;
    mp__diag diag = {0};
    int rc;

    if (mp__options_new(&options) != 0 || (!standard && mp__options_new(&standard) != 0))
        abort();
    rc = mp__options_parse(options, "fuzz.yaml", mp_str_new(data, size), &diag);
    if (rc == 0) {
        print_and_set(options);
    } else {
        if (diag.text[0] == '\0')
            abort();
        mp__options_diff(options, standard, differs, NULL);
    }
    (void)mp__options_free(options);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* What is made from the option table: docs/configuration.md, marketprism.conf(5), an example file.
 */
#include "core/option.h"

static const char *const type_names[] = {
    "true or false",
    "whole number",
    "number",
    "size (64MiB, 1GB, 4096)",
    "duration (250ms, 5s, 2m, 1h, 7d; a plain number is seconds)",
    "text",
    "one of",
    "list of words",
    "host:port",
};

/* "cache" of "cache.l1_size", "general" of "data_dir". */
static mp_str group_of(const mp__option *option)
{
    const char *dot = strchr(option->path, '.');

    return dot ? mp_str_new(option->path, (size_t)(dot - option->path)) : MP_STR("general");
}

static bool begins_group(size_t i)
{
    return i == 0 ||
           !mp_str_equal(group_of(&mp__option_table[i]), group_of(&mp__option_table[i - 1]));
}

static void range_add(mp__buf *out, const mp__option *o)
{
    if (o->low == 0 && o->high == 0)
        return;
    if (o->type == MP__OPTION_DURATION)
        (void)mp__buf_printf(out, ", %.15g to %.15g ms", o->low, o->high);
    else
        (void)mp__buf_printf(out, ", %.15g to %.15g%s%s", o->low, o->high, o->unit[0] ? " " : "",
                             o->unit);
}

int mp__options_markdown(mp__buf *out)
{
    (void)mp__buf_add_str(
        out, MP_STR("<!-- Made from src/core/option_table.c by `make docs`; do not edit. -->\n"
                    "# Configuration\n\n"
                    "`marketprism serve --config FILE` reads YAML; every key is optional. "
                    "`marketprism check-config "
                    "FILE` says what is wrong with file, line and column. Any option can be given "
                    "on the command "
                    "line of `serve` as `--set key=value`. SIGHUP reads the file again and applies "
                    "what is marked "
                    "live.\n"));
    for (size_t i = 0; i < mp__option_count; i++) {
        const mp__option *o = &mp__option_table[i];

        if (begins_group(i))
            (void)mp__buf_printf(out, "\n## %.*s\n\n", (int)group_of(o).size, group_of(o).data);
        (void)mp__buf_printf(out, "**`%s`** = `%s` — %s%s%s", o->path,
                             o->standard[0] ? o->standard : " ", type_names[o->type],
                             o->choices ? " " : "", o->choices ? o->choices : "");
        range_add(out, o);
        (void)mp__buf_printf(out, "%s.  \n%s\n\n", o->live ? "; live" : "", o->help);
    }
    return out->error;
}

int mp__options_man(mp__buf *out)
{
    (void)mp__buf_add_str(out, MP_STR(".TH MARKETPRISM.CONF 5\n.SH NAME\nmarketprism.conf \\- "
                                      "configuration of the marketprism daemon\n"
                                      ".SH DESCRIPTION\nYAML; every key is optional. Check a file "
                                      "with\n.BR \"marketprism check-config\" .\n"));
    for (size_t i = 0; i < mp__option_count; i++) {
        const mp__option *o = &mp__option_table[i];

        if (begins_group(i))
            (void)mp__buf_printf(out, ".SH %.*s\n", (int)group_of(o).size, group_of(o).data);
        (void)mp__buf_printf(out, ".TP\n.B %s\n%s%s%s", o->path, type_names[o->type],
                             o->choices ? " " : "", o->choices ? o->choices : "");
        range_add(out, o);
        (void)mp__buf_printf(out, "; default %s.\n%s\n", o->standard[0] ? o->standard : "empty",
                             o->help);
    }
    return out->error;
}

/* Lines of a nested YAML file, all commented out, so that it says the defaults and changes nothing.
 */
int mp__options_example(mp__buf *out)
{
    (void)mp__buf_add_str(out,
                          MP_STR("# Every option at its default; see docs/configuration.md.\n"));
    for (size_t i = 0; i < mp__option_count; i++) {
        const mp__option *o = &mp__option_table[i];
        const char *dot = strchr(o->path, '.');
        bool list = o->type == MP__OPTION_LIST;

        if (begins_group(i) && dot)
            (void)mp__buf_printf(out, "\n#%.*s:\n", (int)group_of(o).size, group_of(o).data);
        (void)mp__buf_printf(out, "#%s%s: %s%s%s\n", dot ? "  " : "", dot ? dot + 1 : o->path,
                             list ? "[" : "", o->standard, list ? "]" : "");
    }
    return out->error;
}

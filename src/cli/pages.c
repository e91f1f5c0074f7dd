/* SPDX-License-Identifier: Apache-2.0 */
/* What is made from the table of verbs besides the help and the completions: manual pages. */
#include "cli/pages.h"

#include <stdio.h>

#include <marketprism/version.h>

/* Text for troff: a backslash is doubled, a hyphen is one that can be copied, and no line begins
 * with a dot or an apostrophe by accident. */
static void add_escaped(mp__buf *out, const char *text)
{
    bool line_begins = true;

    for (; *text; text++) {
        if (line_begins && (*text == '.' || *text == '\''))
            (void)mp__buf_add_str(out, MP_STR("\\&"));
        if (*text == '\\')
            (void)mp__buf_add_str(out, MP_STR("\\e"));
        else if (*text == '-')
            (void)mp__buf_add_str(out, MP_STR("\\-"));
        else
            (void)mp__buf_add_char(out, *text);
        line_begins = *text == '\n';
    }
}

static void add_line(mp__buf *out, const char *before, const char *text, const char *after)
{
    (void)mp__buf_add_str(out, mp_str_of(before));
    add_escaped(out, text);
    (void)mp__buf_add_str(out, mp_str_of(after));
}

static void man_flags(mp__buf *out, const char *title, const mp__flag *flags)
{
    if (!flags->name)
        return;
    (void)mp__buf_printf(out, ".SH %s\n", title);
    for (; flags->name; flags++) {
        (void)mp__buf_add_str(out, MP_STR(".TP\n"));
        if (flags->short_name)
            add_line(out, "\\fB", flags->short_name, "\\fR, ");
        add_line(out, "\\fB", flags->name, "\\fR");
        if (flags->value)
            add_line(out, " \\fI", flags->value, "\\fR");
        add_line(out, "\n", flags->help, "\n");
    }
}

static void man_codes(mp__buf *out)
{
    static const char *const codes[][2] = {
        {"0", "Done, or found."},
        {"1", "An error; the text on standard error says what and what to do."},
        {"2", "A mistake on the command line."},
        {"3", "Absent: the origin says that there is no such value."},
        {"4", "Unknown: nobody can be asked and nothing is kept."},
        {"5", "Degraded, of status --check alone: what is kept is served, with an origin or a "
              "disk that fails."},
    };

    (void)mp__buf_add_str(out, MP_STR(".SH EXIT STATUS\n"));
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        (void)mp__buf_printf(out, ".TP\n.B %s\n", codes[i][0]);
        add_line(out, "", codes[i][1], "\n");
    }
}

static void man_see(mp__buf *out, const char *except)
{
    (void)mp__buf_add_str(out, MP_STR(".SH SEE ALSO\n"));
    if (except)
        (void)mp__buf_add_str(out, MP_STR(".BR marketprism (1),\n"));
    for (size_t i = 0; !except && i < mp__verb_count; i++)
        add_line(out, ".BR marketprism\\-", mp__verbs[i].name, " (1),\n");
    (void)mp__buf_add_str(out, MP_STR(".BR marketprism.conf (5)\n"));
}

static void man_verb(const mp__verb *verb, mp__buf *out)
{
    (void)mp__buf_add_str(out, MP_STR(".TH MARKETPRISM-"));
    for (const char *c = verb->name; *c; c++)
        (void)mp__buf_add_char(out, (char)(*c >= 'a' && *c <= 'z' ? *c - 'a' + 'A' : *c));
    (void)mp__buf_printf(out, " 1 \"\" \"MarketPrism %s\"\n.SH NAME\n", MP_VERSION);
    add_line(out, "marketprism\\-", verb->name, " \\- ");
    add_line(out, "", verb->summary, "\n.SH SYNOPSIS\n");
    add_line(out, ".B marketprism ", verb->name, "\n");
    add_line(out, "", verb->synopsis, "\n");
    if (verb->details[0])
        add_line(out, ".SH DESCRIPTION\n", verb->details, "\n");
    man_flags(out, "OPTIONS", verb->flags);
    if (verb->is_client)
        man_flags(out, "THE DAEMON", mp__client_flags);
    man_codes(out);
    man_see(out, verb->name);
}

static void man_general(mp__buf *out)
{
    (void)mp__buf_printf(
        out,
        ".TH MARKETPRISM 1 \"\" \"MarketPrism %s\"\n.SH NAME\nmarketprism \\- configuration at "
        "memory speed that survives its origin\n.SH SYNOPSIS\n.B marketprism\n.I VERB\n[OPTIONS]\n"
        ".SH DESCRIPTION\nMarketPrism delivers configuration at memory speed, keeps delivering it "
        "when its origin is gone, and says how old and how certain every answer is.\n"
        ".SH VERBS\n",
        MP_VERSION);
    for (size_t i = 0; i < mp__verb_count; i++) {
        add_line(out, ".TP\n.B ", mp__verbs[i].name, "\n");
        add_line(out, "", mp__verbs[i].summary, "\n");
    }
    (void)mp__buf_add_str(
        out, MP_STR(".SH ENVIRONMENT\n.TP\n.B MARKETPRISM_ADDR\nThe daemon's RESP address, "
                    "HOST:PORT, where \\-\\-resp does not name one.\n.TP\n.B NO_COLOR\nNo colours, "
                    "whatever the terminal can do.\n"));
    man_codes(out);
    man_see(out, NULL);
}

int mp__cli_man(const char *verb, mp__buf *out)
{
    const mp__verb *found = *verb ? mp__verb_find(verb) : NULL;

    if (*verb && !found)
        return MP_EINVAL;
    if (found)
        man_verb(found, out);
    else
        man_general(out);
    return out->error;
}

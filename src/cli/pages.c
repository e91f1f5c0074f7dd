/* SPDX-License-Identifier: Apache-2.0 */
/* What is made from the table of verbs besides the help: manual pages and shell completions. */
#include "cli/pages.h"

#include <stdio.h>

#include <marketprism/version.h>

/* ---- manual pages ---- */

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

/* ---- completions ---- */

/* Within single quotes of a shell, and for zsh and fish without what they read as structure. */
static void add_quoted(mp__buf *out, const char *text, const char *left_out)
{
    for (; *text; text++) {
        if (*text == '\'')
            (void)mp__buf_add_str(out, MP_STR("'\\''"));
        else if (!strchr(left_out, *text))
            (void)mp__buf_add_char(out, *text);
    }
}

static void bash_words(mp__buf *out, const mp__flag *flags)
{
    for (; flags->name; flags++)
        (void)mp__buf_printf(out, " %s", flags->name);
}

/* Words that are keys of the daemon, or files. */
static bool takes_keys(const mp__verb *verb)
{
    return verb->is_client && strstr(verb->synopsis, "KEY") != NULL;
}

static void bash(mp__buf *out)
{
    (void)mp__buf_add_str(
        out,
        MP_STR("# Completion of marketprism for bash; made by `marketprism completions bash`.\n"
               "_marketprism()\n{\n"
               "    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} flags= keys=\n"
               "    if [ \"$COMP_CWORD\" = 1 ]; then\n        mapfile -t COMPREPLY < "
               "<(compgen -W \""));
    for (size_t i = 0; i < mp__verb_count; i++)
        (void)mp__buf_printf(out, "%s%s", i ? " " : "", mp__verbs[i].name);
    (void)mp__buf_add_str(out, MP_STR("\" -- \"$word\")\n        return\n    fi\n"
                                      "    case $verb in\n"));
    for (size_t i = 0; i < mp__verb_count; i++) {
        (void)mp__buf_printf(out, "        %s) flags=\"--help", mp__verbs[i].name);
        bash_words(out, mp__verbs[i].flags);
        if (mp__verbs[i].is_client)
            bash_words(out, mp__client_flags);
        (void)mp__buf_printf(out, "\"%s;;\n", takes_keys(&mp__verbs[i]) ? " keys=1" : "");
    }
    (void)mp__buf_add_str(
        out,
        MP_STR(
            "    esac\n"
            "    if [[ $word == -* ]]; then\n"
            "        mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$word\")\n"
            "    elif [ \"$verb\" = help ]; then\n"
            "        mapfile -t COMPREPLY < <(compgen -W \"$(marketprism help | awk '/^  / {print "
            "$1}')\" -- \"$word\")\n"
            "    elif [ -n \"$keys\" ]; then\n"
            "        mapfile -t COMPREPLY < <(marketprism ls --timeout 1 -- \"$word\" 2>/dev/null "
            "| head -n 200)\n"
            "    else\n"
            "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
            "    fi\n}\ncomplete -F _marketprism marketprism\n"));
}

static void zsh_flags(mp__buf *out, const mp__flag *flags)
{
    for (; flags->name; flags++) {
        (void)mp__buf_printf(out, " \\\n                '%s[", flags->name);
        add_quoted(out, flags->help, "[]:");
        (void)mp__buf_add_char(out, ']');
        if (flags->value) {
            bool is_path = strcmp(flags->value, "FILE") == 0 || strcmp(flags->value, "DIR") == 0;

            (void)mp__buf_printf(out, ":%s:%s", flags->value, is_path ? "_files" : "");
        }
        (void)mp__buf_add_char(out, '\'');
    }
}

static void zsh(mp__buf *out)
{
    (void)mp__buf_add_str(
        out, MP_STR("#compdef marketprism\n"
                    "# Made by `marketprism completions zsh`.\n"
                    "_marketprism_keys()\n{\n    local -a keys\n"
                    "    keys=(${(f)\"$(marketprism ls --timeout 1 -- \"$PREFIX\" 2>/dev/null | "
                    "head -n 200)\"})\n"
                    "    compadd -a keys\n}\n"
                    "_marketprism()\n{\n    local -a verbs\n    verbs=("));
    for (size_t i = 0; i < mp__verb_count; i++) {
        (void)mp__buf_printf(out, "\n        '%s:", mp__verbs[i].name);
        add_quoted(out, mp__verbs[i].summary, ":");
        (void)mp__buf_add_char(out, '\'');
    }
    (void)mp__buf_add_str(
        out, MP_STR(")\n    if (( CURRENT == 2 )); then\n        _describe verb verbs\n        "
                    "return\n    fi\n    local verb=$words[2]\n    shift words\n    (( CURRENT-- "
                    "))\n    case $verb in\n"));
    for (size_t i = 0; i < mp__verb_count; i++) {
        (void)mp__buf_printf(out, "        %s) _arguments", mp__verbs[i].name);
        zsh_flags(out, mp__verbs[i].flags);
        if (mp__verbs[i].is_client)
            zsh_flags(out, mp__client_flags);
        (void)mp__buf_printf(out, " \\\n                '*:word:%s';;\n",
                             takes_keys(&mp__verbs[i]) ? "_marketprism_keys" : "_files");
    }
    (void)mp__buf_add_str(out, MP_STR("    esac\n}\n_marketprism \"$@\"\n"));
}

static void fish_flags(mp__buf *out, const char *verb, const mp__flag *flags)
{
    for (; flags->name; flags++) {
        (void)mp__buf_printf(out,
                             "complete -c marketprism -n '__fish_seen_subcommand_from %s' -l %s",
                             verb, flags->name + 2);
        if (flags->short_name)
            (void)mp__buf_printf(out, " -s %s", flags->short_name + 1);
        (void)mp__buf_printf(out, "%s -d '", flags->value ? " -r" : "");
        add_quoted(out, flags->help, "");
        (void)mp__buf_add_str(out, MP_STR("'\n"));
    }
}

static void fish(mp__buf *out)
{
    (void)mp__buf_add_str(
        out,
        MP_STR("# Completion of marketprism for fish; made by `marketprism completions fish`.\n"
               "function __marketprism_keys\n    marketprism ls --timeout 1 -- "
               "(commandline -ct) 2>/dev/null | head -n 200\nend\n"));
    for (size_t i = 0; i < mp__verb_count; i++) {
        const mp__verb *verb = &mp__verbs[i];

        (void)mp__buf_printf(out, "complete -c marketprism -n __fish_use_subcommand -f -a %s -d '",
                             verb->name);
        add_quoted(out, verb->summary, "");
        (void)mp__buf_add_str(out, MP_STR("'\n"));
        if (takes_keys(verb))
            (void)mp__buf_printf(out,
                                 "complete -c marketprism -n '__fish_seen_subcommand_from %s' -f "
                                 "-a '(__marketprism_keys)'\n",
                                 verb->name);
        fish_flags(out, verb->name, verb->flags);
        if (verb->is_client)
            fish_flags(out, verb->name, mp__client_flags);
    }
}

int mp__cli_completion(const char *shell, mp__buf *out)
{
    if (strcmp(shell, "bash") == 0)
        bash(out);
    else if (strcmp(shell, "zsh") == 0)
        zsh(out);
    else if (strcmp(shell, "fish") == 0)
        fish(out);
    else
        return MP_EINVAL;
    return out->error;
}

int mp__verb_completions(const mp__arguments *arguments)
{
    mp__buf out = MP__BUF_INIT;
    int rc = mp__cli_completion(arguments->words[0], &out), code;

    if (rc == MP_EINVAL)
        code = mp__cli_fail(arguments, MP__EXIT_USAGE, "'%s' is none of bash, zsh, fish",
                            arguments->words[0]);
    else
        code = rc ? mp__cli_fail(arguments, MP__EXIT_ERROR, "%s", mp_strerror(rc))
                  : mp__cli_put(mp__buf_str(&out));
    mp__buf_done(&out);
    return code;
}

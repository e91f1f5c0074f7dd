/* SPDX-License-Identifier: Apache-2.0 */
/* Completions of three shells, made from the table of verbs: verbs, options, and the values that
 * are known or that the daemon can be asked for within a second. */
#include "bench/bench.h"
#include "cache/cache.h"
#include "cli/pages.h"
#include "format/format.h"

/* ---- what is offered for a word ---- */

typedef struct offer {
    enum { OFFER_NOTHING, OFFER_FILES, OFFER_ENVIRONMENTS, OFFER_WORDS } kind;
    mp__buf words; /* separated by blanks */
    bool is_list;  /* of words, with commas between */
} offer;

static void add_word(offer *o, const char *word)
{
    if (o->words.size)
        (void)mp__buf_add_char(&o->words, ' ');
    (void)mp__buf_add_str(&o->words, mp_str_of(word));
    o->kind = OFFER_WORDS;
}

static bool is_flag(const mp__flag *flag, const char *name)
{
    return strcmp(flag->name, name) == 0;
}

/* What the value of @flag can be; mp__buf_done(&o.words) is the caller's. */
static offer offer_for(const mp__flag *flag)
{
    static const char *const paths[] = {"FILE", "DIR", "FOLDER", "PATH"};
    const char *name, *text;
    offer o = {0};

    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
        if (strcmp(flag->value, paths[i]) == 0)
            o.kind = OFFER_FILES;
    if (is_flag(flag, "--env") || is_flag(flag, "--to-env")) {
        o.kind = OFFER_ENVIRONMENTS;
    } else if (is_flag(flag, "--level")) {
        add_word(&o, "strong eventual weak");
    } else if (is_flag(flag, "--log-level")) {
        add_word(&o, "debug info warn error off");
    } else if (is_flag(flag, "--format")) {
        for (size_t i = 0; mp__formats[i]; i++)
            add_word(&o, mp__formats[i]->name);
    } else if (is_flag(flag, "--policy")) {
        o.is_list = true;
        for (size_t i = 0; (name = mp__cache_policy_at(i, &text)) != NULL; i++)
            add_word(&o, name);
        add_word(&o, "all");
    }
    return o;
}

/* What the first word behind the verb can be, where that is known; mp__buf_done(&o.words) is the
 * caller's. */
static offer first_words(const mp__verb *verb)
{
    offer o = {0};

    if (strcmp(verb->name, "completions") == 0)
        add_word(&o, "bash zsh fish");
    else if (strcmp(verb->name, "schema") == 0)
        add_word(&o, "set check get del ls");
    else if (strcmp(verb->name, "bench") == 0)
        for (const mp__bench *b = mp__benches; b->name; b++)
            add_word(&o, b->name);
    else if (strcmp(verb->name, "help") == 0)
        for (size_t i = 0; i < mp__verb_count; i++)
            if (&mp__verbs[i] != verb) /* fish looks whether one of these words is there */
                add_word(&o, mp__verbs[i].name);
    return o;
}

/* Words that are keys of the daemon, or files. */
static bool takes_keys(const mp__verb *verb)
{
    return verb->is_client && strstr(verb->synopsis, "KEY") != NULL;
}

/* Within single quotes of a shell; @marks, which zsh would read as structure, get a backslash. */
static void add_quoted(mp__buf *out, const char *text, const char *marks)
{
    for (; *text; text++) {
        if (strchr(marks, *text))
            (void)mp__buf_add_char(out, '\\');
        if (*text == '\'')
            (void)mp__buf_add_str(out, MP_STR("'\\''"));
        else
            (void)mp__buf_add_char(out, *text);
    }
}

/* ---- bash ---- */

static void bash_names(mp__buf *out, const mp__flag *flags)
{
    for (; flags->name; flags++)
        (void)mp__buf_printf(out, " %s", flags->name);
}

/* A branch for each option that takes a value. */
static void bash_values(mp__buf *out, const mp__flag *flags)
{
    static const char *const kinds[] = {"", " files=1", " environments=1", ""};

    for (; flags->name; flags++) {
        offer o;

        if (!flags->value)
            continue;
        o = offer_for(flags);
        (void)mp__buf_printf(out, "                %s%s%s) value=1%s",
                             flags->short_name ? flags->short_name : "",
                             flags->short_name ? "|" : "", flags->name, kinds[o.kind]);
        if (o.kind == OFFER_WORDS)
            (void)mp__buf_printf(out, " words=\"%.*s\"", (int)o.words.size, o.words.data);
        (void)mp__buf_printf(out, "%s;;\n", o.is_list ? " list=1" : "");
        mp__buf_done(&o.words);
    }
}

static void bash_verb(mp__buf *out, const mp__verb *verb)
{
    offer first = first_words(verb);

    (void)mp__buf_printf(out, "        %s)\n            flags=\"--help", verb->name);
    bash_names(out, verb->flags);
    if (verb->is_client)
        bash_names(out, mp__client_flags);
    (void)mp__buf_printf(out, "\"%s", takes_keys(verb) ? " keys=1" : "");
    if (first.words.size)
        (void)mp__buf_printf(out, " first=\"%.*s\"", (int)first.words.size, first.words.data);
    mp__buf_done(&first.words);
    (void)mp__buf_add_str(out, MP_STR("\n            case $flag in\n"));
    bash_values(out, verb->flags);
    if (verb->is_client)
        bash_values(out, mp__client_flags);
    (void)mp__buf_add_str(out, MP_STR("                *) ;;\n            esac;;\n"));
}

/* Where bash breaks "--level=we" into three words, the option is the one before the sign. */
static const char bash_head[] =
    "# Completion of marketprism for bash; made by `marketprism completions bash`.\n"
    "_marketprism()\n{\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} flags= keys= first=\n"
    "    local flag=${COMP_WORDS[COMP_CWORD-1]} value= files= environments= words= list= before=\n"
    "    if [ \"$flag\" = = ] && [ \"$COMP_CWORD\" -gt 2 ]; then\n"
    "        flag=${COMP_WORDS[COMP_CWORD-2]}\n"
    "    elif [ \"$word\" = = ]; then\n        word=\n    fi\n"
    "    if [ \"$COMP_CWORD\" = 1 ]; then\n        mapfile -t COMPREPLY < <(compgen -W \"";

static const char bash_tail[] =
    "    esac\n"
    "    if [ -n \"$environments\" ]; then\n"
    "        words=$(marketprism ls --environments --timeout 1 2>/dev/null | head -n 200)\n"
    "    fi\n"
    "    if [ -n \"$list\" ] && [[ $word == *,* ]]; then\n        before=${word%,*},\n    fi\n"
    "    if [ -n \"$files\" ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
    "    elif [ -n \"$value\" ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -P \"$before\" -W \"$words\" -- "
    "\"${word#\"$before\"}\")\n"
    "    elif [[ $word == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$flags\" -- \"$word\")\n"
    "    elif [ -n \"$first\" ] && [ \"$COMP_CWORD\" = 2 ]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$first\" -- \"$word\")\n"
    "    elif [ -n \"$keys\" ]; then\n"
    "        mapfile -t COMPREPLY < <(marketprism ls --timeout 1 -- \"$word\" 2>/dev/null "
    "| head -n 200)\n"
    "    else\n"
    "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n"
    "    fi\n}\ncomplete -F _marketprism marketprism\n";

static void bash(mp__buf *out)
{
    (void)mp__buf_add_str(out, mp_str_of(bash_head));
    for (size_t i = 0; i < mp__verb_count; i++)
        (void)mp__buf_printf(out, "%s%s", i ? " " : "", mp__verbs[i].name);
    (void)mp__buf_add_str(out, MP_STR("\" -- \"$word\")\n        return\n    fi\n"
                                      "    case $verb in\n"));
    for (size_t i = 0; i < mp__verb_count; i++)
        bash_verb(out, &mp__verbs[i]);
    (void)mp__buf_add_str(out, mp_str_of(bash_tail));
}

/* ---- zsh ---- */

static void zsh_flag(mp__buf *out, const char *name, const mp__flag *flag)
{
    offer o = {0};

    (void)mp__buf_printf(out, " \\\n                '%s%s[", name,
                         flag->value && name[1] == '-' ? "=" : "");
    add_quoted(out, flag->help, "[]:");
    (void)mp__buf_add_char(out, ']');
    if (flag->value) {
        o = offer_for(flag);
        (void)mp__buf_add_char(out, ':');
        add_quoted(out, flag->value, "[]:");
        (void)mp__buf_add_char(out, ':');
    }
    if (o.kind == OFFER_FILES)
        (void)mp__buf_add_str(out, MP_STR("_files"));
    else if (o.kind == OFFER_ENVIRONMENTS)
        (void)mp__buf_add_str(out, MP_STR("_marketprism_environments"));
    else if (o.kind == OFFER_WORDS)
        (void)mp__buf_printf(out, o.is_list ? "_sequence compadd - %.*s" : "(%.*s)",
                             (int)o.words.size, o.words.data);
    (void)mp__buf_add_char(out, '\'');
    mp__buf_done(&o.words);
}

static void zsh_flags(mp__buf *out, const mp__flag *flags)
{
    for (; flags->name; flags++) {
        if (flags->short_name)
            zsh_flag(out, flags->short_name, flags);
        zsh_flag(out, flags->name, flags);
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
                    "_marketprism_environments()\n{\n    local -a names\n"
                    "    names=(${(f)\"$(marketprism ls --environments --timeout 1 2>/dev/null | "
                    "head -n 200)\"})\n"
                    "    compadd -a names\n}\n"
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
        offer first = first_words(&mp__verbs[i]);

        (void)mp__buf_printf(out, "        %s) _arguments", mp__verbs[i].name);
        zsh_flags(out, mp__verbs[i].flags);
        if (mp__verbs[i].is_client)
            zsh_flags(out, mp__client_flags);
        if (first.words.size)
            (void)mp__buf_printf(out, " \\\n                '1:word:(%.*s)'", (int)first.words.size,
                                 first.words.data);
        mp__buf_done(&first.words);
        (void)mp__buf_printf(out, " \\\n                '*:word:%s';;\n",
                             takes_keys(&mp__verbs[i]) ? "_marketprism_keys" : "_files");
    }
    (void)mp__buf_add_str(out, MP_STR("    esac\n}\n_marketprism \"$@\"\n"));
}

/* ---- fish ---- */

/* "-r": a value must follow; "-f": no file; "-x": both. */
static void fish_value(mp__buf *out, const mp__flag *flag)
{
    offer o = offer_for(flag);

    (void)mp__buf_add_str(out, o.kind == OFFER_FILES ? MP_STR(" -r") : MP_STR(" -x"));
    if (o.kind == OFFER_ENVIRONMENTS)
        (void)mp__buf_add_str(out, MP_STR(" -a '(__marketprism_environments)'"));
    else if (o.kind == OFFER_WORDS && o.is_list)
        (void)mp__buf_printf(out, " -a '(__fish_complete_list , \"printf %%s\\\\n %.*s\")'",
                             (int)o.words.size, o.words.data);
    else if (o.kind == OFFER_WORDS)
        (void)mp__buf_printf(out, " -a '%.*s'", (int)o.words.size, o.words.data);
    mp__buf_done(&o.words);
}

static void fish_flags(mp__buf *out, const char *verb, const mp__flag *flags)
{
    for (; flags->name; flags++) {
        (void)mp__buf_printf(out,
                             "complete -c marketprism -n '__fish_seen_subcommand_from %s' -l %s",
                             verb, flags->name + 2);
        if (flags->short_name)
            (void)mp__buf_printf(out, " -s %s", flags->short_name + 1);
        if (flags->value)
            fish_value(out, flags);
        (void)mp__buf_add_str(out, MP_STR(" -d '"));
        add_quoted(out, flags->help, "");
        (void)mp__buf_add_str(out, MP_STR("'\n"));
    }
}

static void fish_verb(mp__buf *out, const mp__verb *verb)
{
    offer first = first_words(verb);
    int size = (int)first.words.size;

    (void)mp__buf_printf(out, "complete -c marketprism -n __fish_use_subcommand -f -a %s -d '",
                         verb->name);
    add_quoted(out, verb->summary, "");
    (void)mp__buf_add_str(out, MP_STR("'\n"));
    if (takes_keys(verb))
        (void)mp__buf_printf(out,
                             "complete -c marketprism -n '__fish_seen_subcommand_from %s' -f "
                             "-a '(__marketprism_keys)'\n",
                             verb->name);
    if (size)
        (void)mp__buf_printf(out,
                             "complete -c marketprism -n '__fish_seen_subcommand_from %s; and not "
                             "__fish_seen_subcommand_from %.*s' -f -a '%.*s'\n",
                             verb->name, size, first.words.data, size, first.words.data);
    mp__buf_done(&first.words);
    fish_flags(out, verb->name, verb->flags);
    if (verb->is_client)
        fish_flags(out, verb->name, mp__client_flags);
}

static void fish(mp__buf *out)
{
    (void)mp__buf_add_str(
        out,
        MP_STR("# Completion of marketprism for fish; made by `marketprism completions fish`.\n"
               "function __marketprism_keys\n    marketprism ls --timeout 1 -- "
               "(commandline -ct) 2>/dev/null | head -n 200\nend\n"
               "function __marketprism_environments\n    marketprism ls --environments --timeout 1 "
               "2>/dev/null | head -n 200\nend\n"));
    for (size_t i = 0; i < mp__verb_count; i++)
        fish_verb(out, &mp__verbs[i]);
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

/* SPDX-License-Identifier: Apache-2.0 */
#include "core/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "core/alloc.h"

typedef struct item {
    char *text;
    int line, column; /* as below */
} item;

typedef struct value {
    bool set;
    int line, column; /* in the file; 0: it was set elsewhere */
    int64_t integer;  /* BOOL INT BYTES DURATION CHOICE */
    double real;
    char *text; /* STRING ADDRESS */
    item *list;
    size_t count;
} value;

struct mp__options {
    value *values; /* one an option */
    char *file;    /* NULL: none was read */
};

/* ---- values ---- */

static void value_done(value *v)
{
    (void)mp__free(v->text);
    for (size_t i = 0; i < v->count; i++)
        (void)mp__free(v->list[i].text);
    (void)mp__free(v->list);
    *v = (value){0};
}

static int refuse(const mp__option *option, const char *text, const char *want, mp__diag *diag)
{
    return mp__diag_set(diag, MP_EINVAL, "%s: '%.80s' is not %s", option->path, text, want);
}

/* A number and its unit from "<number><unit>" with the factors of @units. */
static bool scaled(const char *text, const char *const *units, const double *factors,
                   double *ret_value)
{
    char *end;
    double number = strtod(text, &end);

    if (end == text || number != number || strchr(text, 'x') || strchr(text, 'X'))
        return false;
    while (*end == ' ')
        end++;
    if (*end == '\0') {
        *ret_value = number;
        return true;
    }
    for (size_t i = 0; units[i]; i++)
        if (strcasecmp(end, units[i]) == 0) {
            *ret_value = number * factors[i];
            return true;
        }
    return false;
}

static bool parse_bytes(const char *text, double *ret_value)
{
    static const char *const units[] = {"B",   "KB",  "MB",  "GB",  "TB",
                                        "KiB", "MiB", "GiB", "TiB", NULL};
    static const double factors[] = {
        1, 1e3, 1e6, 1e9, 1e12, 1024, 1048576, 1073741824, 1099511627776.0};

    return scaled(text, units, factors, ret_value);
}

static bool parse_duration(const char *text, double *ret_value)
{
    int64_t ms;

    if (!mp__duration_ms(mp_str_of(text), &ms))
        return false;
    *ret_value = (double)ms;
    return true;
}

static int check_range(const mp__option *option, double number, const char *text, mp__diag *diag)
{
    if (option->low == 0 && option->high == 0)
        return 0;
    if (number < option->low || number > option->high)
        return mp__diag_set(diag, MP_EINVAL,
                            "%s: '%.80s' is out of range; %.15g to %.15g%s%s are possible",
                            option->path, text, option->low, option->high,
                            option->unit[0] ? " " : "", option->unit);
    return 0;
}

static int parse_number(const mp__option *option, const char *text, value *v, mp__diag *diag)
{
    static const char *const no_units[] = {NULL};
    double number = 0;
    int rc;

    if (option->type == MP__OPTION_BYTES && !parse_bytes(text, &number))
        return refuse(option, text, "a size, as 64MiB or 1GB or 4096", diag);
    if (option->type == MP__OPTION_DURATION && !parse_duration(text, &number))
        return refuse(option, text, "a duration, as 250ms, 5s, 2m, 1h or 7d", diag);
    if ((option->type == MP__OPTION_INT || option->type == MP__OPTION_REAL) &&
        !scaled(text, no_units, NULL, &number))
        return refuse(option, text, "a number", diag);
    rc = check_range(option, number, text, diag);
    if (rc)
        return rc;
    if (number > 9e15 || number < -9e15)
        return refuse(option, text, "a number of this size", diag);
    if (option->type == MP__OPTION_INT && number != (double)(int64_t)number)
        return refuse(option, text, "a whole number", diag);
    v->real = number;
    v->integer = (int64_t)number;
    return 0;
}

static int parse_bool(const mp__option *option, const char *text, value *v, mp__diag *diag)
{
    if (strcmp(text, "true") == 0)
        v->integer = 1;
    else if (strcmp(text, "false") == 0)
        v->integer = 0;
    else
        return refuse(option, text, "true or false", diag);
    return 0;
}

/* The i-th of "a|b|c", or an empty str. */
static mp_str choice_at(const char *choices, size_t i)
{
    while (i-- && choices)
        choices = strchr(choices, '|') ? strchr(choices, '|') + 1 : NULL;
    return choices ? mp_str_new(choices, strcspn(choices, "|")) : mp_str_new("", 0);
}

static int parse_choice(const mp__option *option, const char *text, value *v, mp__diag *diag)
{
    for (size_t i = 0; choice_at(option->choices, i).size; i++)
        if (mp_str_equal(choice_at(option->choices, i), mp_str_of(text))) {
            v->integer = (int64_t)i;
            return 0;
        }
    return mp__diag_set(diag, MP_EINVAL, "%s: '%.80s' is none of %s", option->path, text,
                        option->choices);
}

static int parse_text(const mp__option *option, const char *text, value *v, mp__diag *diag)
{
    char *colon = strrchr(text, ':');

    if (option->type == MP__OPTION_ADDRESS && (!colon || colon == text || !colon[1]))
        return refuse(option, text, "an address, as 127.0.0.1:7480", diag);
    v->text = mp__strdup(text);
    return v->text ? 0 : MP_ENOMEM;
}

static int list_add(value *v, mp_str text)
{
    item *list = mp__realloc_array(v->list, v->count + 1, sizeof(*list));

    if (!list)
        return MP_ENOMEM;
    v->list = list;
    v->list[v->count] = (item){.text = mp__str_dup(text)};
    if (!v->list[v->count].text)
        return MP_ENOMEM;
    v->count++;
    return 0;
}

/* "a, b, c", as the command line and the defaults say lists. */
static int parse_list(const char *text, value *v)
{
    int rc = 0;

    while (*text && rc == 0) {
        size_t size = strcspn(text, ",");
        mp_str word = mp_str_new(text, size);

        while (word.size && word.data[word.size - 1] == ' ')
            word.size--;
        if (word.size)
            rc = list_add(v, word);
        text += size;
        text += strspn(text, ", ");
    }
    return rc;
}

static int value_parse(const mp__option *option, const char *text, value *v, mp__diag *diag)
{
    switch (option->type) {
    case MP__OPTION_BOOL:
        return parse_bool(option, text, v, diag);
    case MP__OPTION_INT:
    case MP__OPTION_REAL:
    case MP__OPTION_BYTES:
    case MP__OPTION_DURATION:
        return parse_number(option, text, v, diag);
    case MP__OPTION_CHOICE:
        return parse_choice(option, text, v, diag);
    case MP__OPTION_LIST:
        return parse_list(text, v);
    case MP__OPTION_STRING:
    case MP__OPTION_ADDRESS:
        break;
    }
    return text[0] || option->type == MP__OPTION_STRING ? parse_text(option, text, v, diag) : 0;
}

/* ---- the set ---- */

mp__options *mp__options_free(mp__options *options)
{
    if (!options)
        return NULL;
    for (size_t i = 0; options->values && i < mp__option_count; i++)
        value_done(&options->values[i]);
    (void)mp__free(options->file);
    (void)mp__free(options->values);
    return mp__free(options);
}

int mp__options_new(mp__options **ret_options)
{
    mp__options *options = mp__calloc(1, sizeof(*options));
    int rc = 0;

    if (!options)
        return MP_ENOMEM;
    options->values = mp__calloc(mp__option_count, sizeof(*options->values));
    if (!options->values)
        rc = MP_ENOMEM;
    for (size_t i = 0; i < mp__option_count && rc == 0; i++)
        rc = value_parse(&mp__option_table[i], mp__option_table[i].standard, &options->values[i],
                         NULL);
    if (rc) {
        (void)mp__options_free(options);
        return rc;
    }
    *ret_options = options;
    return 0;
}

static long find(const char *path)
{
    for (size_t i = 0; i < mp__option_count; i++)
        if (strcmp(mp__option_table[i].path, path) == 0)
            return (long)i;
    return -1;
}

enum { NAMES_MAX = 256, GROUP_MAX = 64 };

/* The group of options that @path may mean, in @group: one with as many dots. NULL: none. */
static const char *near_group(const char *path, char group[GROUP_MAX])
{
    char groups[NAMES_MAX][GROUP_MAX];
    const char *names[NAMES_MAX], *near;
    size_t n = 0, dots = 0;

    for (const char *p = path; *p; p++)
        dots += *p == '.';
    for (size_t i = 0; i < mp__option_count && n < NAMES_MAX; i++) {
        const char *end = mp__option_table[i].path;

        for (size_t k = 0; end && k <= dots; k++)
            end = strchr(end + (k > 0), '.');
        if (!end || end - mp__option_table[i].path >= GROUP_MAX)
            continue;
        (void)snprintf(groups[n], GROUP_MAX, "%.*s", (int)(end - mp__option_table[i].path),
                       mp__option_table[i].path);
        names[n] = groups[n];
        n++;
    }
    near = mp__did_you_mean(path, names, n);
    if (near)
        (void)snprintf(group, GROUP_MAX, "%s", near);
    return near ? group : NULL;
}

static int unknown(const char *path, mp__diag *diag)
{
    const char *names[NAMES_MAX], *near;
    char group[GROUP_MAX];
    size_t n = 0;

    for (; n < mp__option_count && n < NAMES_MAX; n++)
        names[n] = mp__option_table[n].path;
    near = mp__did_you_mean(path, names, n);
    if (!near)
        near = near_group(path, group);
    return mp__diag_set(diag, MP_EINVAL,
                        near ? "there is no option '%.100s'; did you mean '%s'?"
                             : "there is no option '%.100s'%s",
                        path, near ? near : "");
}

int mp__options_set(mp__options *options, const char *path, const char *text, mp__diag *diag)
{
    long i = find(path);
    value v = {.set = true};
    int rc;

    if (i < 0)
        return unknown(path, diag);
    rc = value_parse(&mp__option_table[i], text, &v, diag);
    if (rc) {
        value_done(&v);
        return rc;
    }
    value_done(&options->values[i]);
    options->values[i] = v;
    return 0;
}

int mp__options_set_item(mp__options *options, const char *path, const char *text, bool first,
                         mp__diag *diag)
{
    long i = find(path);

    if (i < 0)
        return unknown(path, diag);
    if (mp__option_table[i].type != MP__OPTION_LIST)
        return mp__diag_set(diag, MP_EINVAL, "%s takes one value, not a list", path);
    if (first) {
        value_done(&options->values[i]);
        options->values[i].set = true;
    }
    return text ? list_add(&options->values[i], mp_str_of(text)) : 0;
}

void mp__options_swap(mp__options *a, mp__options *b)
{
    mp__options was = *a;

    *a = *b;
    *b = was;
}

int mp__options_file(mp__options *options, const char *file)
{
    char *copy = mp__strdup(file);

    if (!copy)
        return MP_ENOMEM;
    (void)mp__free(options->file);
    options->file = copy;
    return 0;
}

void mp__options_place(mp__options *options, const char *path, int line, int column)
{
    long i = find(path);

    assert(i >= 0);
    options->values[i].line = line;
    options->values[i].column = column;
}

void mp__options_place_item(mp__options *options, const char *path, int line, int column)
{
    value *v = &options->values[find(path)];

    assert(v->count);
    v->list[v->count - 1].line = line;
    v->list[v->count - 1].column = column;
}

void mp__options_blame(const mp__options *options, const char *path, mp__diag *diag)
{
    const value *v = &options->values[find(path)];
    const item *row;

    if (!diag || !v->line || !options->file)
        return;
    (void)snprintf(diag->file, sizeof(diag->file), "%s", options->file);
    row = diag->row > 0 && (size_t)diag->row <= v->count ? &v->list[diag->row - 1] : NULL;
    diag->line = row && row->line ? row->line : v->line;
    diag->column = row && row->line ? row->column : v->column;
}

int mp__options_copy(const mp__options *from, mp__options **ret_copy)
{
    mp__options *copy = NULL; /* stays so when there is no memory: new() leaves it untouched */
    int rc = mp__options_new(&copy);

    for (size_t i = 0; i < mp__option_count && rc == 0; i++) {
        const value *v = &from->values[i];
        value *to = &copy->values[i];

        value_done(to);
        to->set = v->set;
        to->line = v->line;
        to->column = v->column;
        to->integer = v->integer;
        to->real = v->real;
        if (v->text && !(to->text = mp__strdup(v->text)))
            rc = MP_ENOMEM;
        for (size_t k = 0; k < v->count && rc == 0; k++) {
            rc = list_add(to, mp_str_of(v->list[k].text));
            if (rc == 0) {
                to->list[k].line = v->list[k].line;
                to->list[k].column = v->list[k].column;
            }
        }
    }
    if (rc == 0 && from->file)
        rc = mp__options_file(copy, from->file);
    if (rc) {
        (void)mp__options_free(copy);
        return rc;
    }
    *ret_copy = copy;
    return 0;
}

/* ---- asking ---- */

static const value *get(const mp__options *options, const char *path)
{
    long i = find(path);

    assert(i >= 0);
    return &options->values[i];
}

bool mp__options_bool(const mp__options *options, const char *path)
{
    return get(options, path)->integer != 0;
}

int64_t mp__options_int(const mp__options *options, const char *path)
{
    return get(options, path)->integer;
}

double mp__options_real(const mp__options *options, const char *path)
{
    return get(options, path)->real;
}

const char *mp__options_text(const mp__options *options, const char *path)
{
    const value *v = get(options, path);
    const mp__option *option = &mp__option_table[find(path)];

    if (option->type == MP__OPTION_CHOICE) {
        static _Thread_local char name[32];
        mp_str choice = choice_at(option->choices, (size_t)v->integer);

        (void)snprintf(name, sizeof(name), "%.*s", (int)choice.size, choice.data);
        return name;
    }
    return v->text ? v->text : "";
}

size_t mp__options_list_count(const mp__options *options, const char *path)
{
    return get(options, path)->count;
}

const char *mp__options_list_at(const mp__options *options, const char *path, size_t i)
{
    const value *v = get(options, path);

    return i < v->count ? v->list[i].text : "";
}

mp_str *mp__options_list_texts(const mp__options *options, const char *path, size_t *ret_count)
{
    const value *v = get(options, path);
    mp_str *texts = mp__calloc(v->count + 1, sizeof(*texts));

    for (size_t i = 0; texts && i < v->count; i++)
        texts[i] = mp_str_of(v->list[i].text);
    *ret_count = v->count;
    return texts;
}

bool mp__options_is_set(const mp__options *options, const char *path)
{
    return get(options, path)->set;
}

int mp__options_print(const mp__options *options, const mp__option *option, mp__buf *out)
{
    const value *v = get(options, option->path);

    switch (option->type) {
    case MP__OPTION_BOOL:
        return mp__buf_printf(out, "%s", v->integer ? "true" : "false");
    case MP__OPTION_INT:
    case MP__OPTION_BYTES:
        return mp__buf_add_i64(out, v->integer);
    case MP__OPTION_REAL:
        return mp__buf_printf(out, "%.15g", v->real);
    case MP__OPTION_DURATION:
        return v->integer % 1000 ? mp__buf_printf(out, "%lldms", (long long)v->integer)
                                 : mp__buf_printf(out, "%llds", (long long)v->integer / 1000);
    case MP__OPTION_CHOICE:
    case MP__OPTION_STRING:
    case MP__OPTION_ADDRESS:
        return mp__buf_printf(out, "%s", mp__options_text(options, option->path));
    case MP__OPTION_LIST:
        break;
    }
    (void)mp__buf_add_char(out, '[');
    for (size_t i = 0; i < v->count; i++)
        (void)mp__buf_printf(out, "%s%s", i ? ", " : "", v->list[i].text);
    return mp__buf_add_char(out, ']');
}

void mp__options_diff(const mp__options *a, const mp__options *b,
                      void (*each)(void *context, const mp__option *option), void *context)
{
    for (size_t i = 0; i < mp__option_count; i++) {
        mp__buf x = MP__BUF_INIT, y = MP__BUF_INIT;

        (void)mp__options_print(a, &mp__option_table[i], &x);
        (void)mp__options_print(b, &mp__option_table[i], &y);
        if (!mp_str_equal(mp__buf_str(&x), mp__buf_str(&y)))
            each(context, &mp__option_table[i]);
        mp__buf_done(&x);
        mp__buf_done(&y);
    }
}

/* ---- mistyped words ---- */

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Edit distance of Damerau (1964), where neighbours that changed places are one mistake, without
 * edits inside of such a pair; three rows, words of at most 63 bytes. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][64], n = strlen(b), m = strlen(a);

    if (m > 63 || n > 63)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= m; i++) {
        const size_t *above = rows[(i - 1) % 3], *two_above = rows[(i + 1) % 3];
        size_t *row = rows[i % 3];

        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);

            best = least_of(best, above[j] + 1);
            best = least_of(best, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = least_of(best, two_above[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[m % 3][n];
}

const char *mp__did_you_mean(const char *word, const char *const *names, size_t count)
{
    const char *best = NULL, *beginning = NULL; /* of one that goes on, or is gone on from */
    size_t least = strlen(word) / 3 > 2 ? strlen(word) / 3 : 2;

    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, names[i]);
        size_t size = strlen(word) < strlen(names[i]) ? strlen(word) : strlen(names[i]);

        if (d <= least && d < strlen(word)) {
            least = d ? d - 1 : 0;
            best = names[i];
        }
        if (!beginning && size > 3 && strncmp(names[i], word, size) == 0)
            beginning = names[i];
    }
    return best ? best : beginning;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The public cases of toml-test: files that are TOML with what they hold, and files that are none.
 * They are where MP_TOML_TESTS says, or where Debian's golang-github-burntsushi-toml-dev has them.
 *
 * Left out is what no key of ours can be (docs/formats.md), which is refused by name: a name that
 * is empty or has a control character. */
#include <ftw.h>
#include <strings.h>
#include <unistd.h>

#include "core/alloc.h"
#include "core/env.h"
#include "format/leaves.h"
#include "mp_test.h"

#define DEBIAN_CASES "/usr/share/gocode/src/github.com/BurntSushi/toml/internal/toml-test/tests"

static struct {
    size_t held, failed, left_out;
} valid, invalid;

static const char *cases(void)
{
    const char *folder = getenv("MP_TOML_TESTS");

    return folder && *folder ? folder : access(DEBIAN_CASES, R_OK) == 0 ? DEBIAN_CASES : NULL;
}

/* ---- whether a leaf is what a case says ---- */

/* Dates may be written in more than one way: with t, z or a blank, and with more digits. */
static void normalize(mp_str value, char *out, size_t capacity)
{
    size_t n = 0;
    bool fraction = false;

    for (size_t i = 0; i < value.size && n + 1 < capacity; i++) {
        char c = value.data[i];

        if (fraction && (c < '0' || c > '9')) {
            while (out[n - 1] == '0')
                n--;
            n -= out[n - 1] == '.';
            fraction = false;
        }
        fraction = fraction || c == '.';
        out[n++] = (char)(c == ' ' || c == 't' ? 'T' : c == 'z' ? 'Z' : c);
    }
    while (fraction && out[n - 1] == '0')
        n--;
    n -= fraction && out[n - 1] == '.';
    out[n] = '\0';
}

static bool is_date(const mp__leaf *leaf, const char *want)
{
    char got[128], wanted[128];

    normalize(leaf->value, got, sizeof(got));
    normalize(mp_str_of(want), wanted, sizeof(wanted));
    return strcmp(got, wanted) == 0;
}

static bool is_float(const mp__leaf *leaf, mp_str media, const char *want)
{
    MP__CLEANUP_FREE char *text = mp__str_dup(leaf->value);
    const char *sign = *want == '+' ? want + 1 : want;

    if (strcasecmp(sign, "nan") == 0 || strcasecmp(sign, "-nan") == 0)
        return mp_str_equal(media, MP_STR("application/toml")) && strstr(text, "nan");
    if (strcasecmp(sign, "inf") == 0 || strcasecmp(sign, "-inf") == 0)
        return mp_str_equal(media, MP_STR("application/toml")) && strstr(text, "inf") &&
               (*sign == '-') == (*text == '-');
    return mp_str_equal(media, MP_STR(MP__MEDIA_JSON)) && strpbrk(text, ".eE") &&
           strtod(text, NULL) == strtod(want, NULL);
}

static bool is_value(const mp__leaf *leaf, const char *type, const char *want, size_t size)
{
    mp_str media = leaf->media_type;

    if (strcmp(type, "string") == 0)
        return mp_str_equal(media, MP_STR(MP__MEDIA_TEXT)) &&
               mp_str_equal(leaf->value, mp_str_new(want, size));
    if (strcmp(type, "float") == 0)
        return is_float(leaf, media, want);
    if (strcmp(type, "integer") == 0 || strcmp(type, "bool") == 0)
        return mp_str_equal(media, MP_STR(MP__MEDIA_JSON)) &&
               mp_str_equal(leaf->value, mp_str_of(want));
    return mp_str_equal(media, MP_STR("application/toml")) && is_date(leaf, want);
}

/* ---- a case ---- */

typedef struct walk {
    const mp__leaves *leaves;
    mp__buf path;
    size_t met;
    bool holds;
} walk;

static void compare(walk *w, const json_t *want);

static void compare_leaf(walk *w, const char *type, const char *want, size_t size)
{
    const mp__leaf *leaf = mp__leaves_find(w->leaves, mp__buf_str(&w->path));

    w->met++;
    if (leaf && is_value(leaf, type, want, size))
        return;
    print_message("# at '%.*s': %.*s is no %s %s\n", (int)w->path.size, w->path.data,
                  leaf ? (int)leaf->value.size : 7, leaf ? leaf->value.data : "nothing", type,
                  want);
    w->holds = false;
}

static void compare_empty(walk *w, const char *text)
{
    const mp__leaf *leaf = mp__leaves_find(w->leaves, mp__buf_str(&w->path));

    if (w->path.size == 0)
        return; /* an empty file has no leaf */
    w->met++;
    if (!leaf || !mp_str_equal(leaf->value, mp_str_of(text)))
        w->holds = false;
}

static bool is_tagged(const json_t *want)
{
    return json_object_size(want) == 2 && json_is_string(json_object_get(want, "type")) &&
           json_is_string(json_object_get(want, "value"));
}

static void compare(walk *w, const json_t *want)
{
    size_t size = w->path.size, i;
    const char *name;
    json_t *inside;

    if (is_tagged(want)) {
        const json_t *value = json_object_get(want, "value");

        compare_leaf(w, json_string_value(json_object_get(want, "type")), json_string_value(value),
                     json_string_length(value));
    } else if (json_is_array(want)) {
        if (json_array_size(want) == 0)
            compare_empty(w, "[]");
        json_array_foreach(want, i, inside)
        {
            (void)mp__path_add_index(&w->path, i);
            compare(w, inside);
            w->path.size = size;
        }
    } else {
        if (json_object_size(want) == 0)
            compare_empty(w, "{}");
        json_object_foreach((json_t *)(uintptr_t)want, name, inside)
        {
            (void)mp__path_add_name(&w->path, mp_str_of(name));
            compare(w, inside);
            w->path.size = size;
        }
    }
}

static bool is_as_its_json(const char *path, const mp__leaves *leaves)
{
    char other[4096];
    walk w = {.leaves = leaves, .holds = true};
    json_t *want;

    (void)snprintf(other, sizeof(other), "%.*s.json", (int)strlen(path) - 5, path);
    want = json_load_file(other, JSON_ALLOW_NUL, NULL);
    if (!want) {
        print_message("# cannot read %s\n", other);
        return false;
    }
    compare(&w, want);
    if (w.met != leaves->count) {
        print_message("# %zu values instead of %zu\n", leaves->count, w.met);
        w.holds = false;
    }
    json_decref(want);
    mp__buf_done(&w.path);
    return w.holds;
}

static bool is_no_key_of_ours(const mp__diag *diag)
{
    return strstr(diag->text, "an empty name") || strstr(diag->text, "control character");
}

static int one(const char *path, const struct stat *stat, int kind, struct FTW *at)
{
    bool is_valid = strstr(path, "/valid/") != NULL;
    MP__CLEANUP_FREE char *text = NULL;
    mp__leaves leaves = {0};
    mp__diag diag = {0};
    size_t size = strlen(path);
    int rc;

    (void)stat;
    (void)at;
    if (kind != FTW_F || size < 5 || strcmp(path + size - 5, ".toml") != 0)
        return 0;
    if (strstr(path, "/string/escape-esc.toml")) { /* \e is of a later TOML than 1.0.0 */
        valid.left_out++;
        return 0;
    }
    assert_int_equal(mp__env_read_file(mp__env_real(), path, 1 << 20, &text, &size), 0);
    rc = mp__format_find("toml")->parse(mp_str_new(text, size), &leaves, &diag);
    if (!is_valid && rc == MP_ESYNTAX && diag.line > 0 && diag.column > 0) {
        invalid.held++;
    } else if (!is_valid) {
        print_message("# %s: is taken, or refused without a place (%d)\n", path, rc);
        invalid.failed++;
    } else if (rc == 0 && is_as_its_json(path, &leaves)) {
        valid.held++;
    } else if (rc && is_no_key_of_ours(&diag)) {
        valid.left_out++;
    } else {
        print_message("# %s: %d:%d: %s\n", path, diag.line, diag.column, diag.text);
        valid.failed++;
    }
    mp__leaves_done(&leaves);
    return 0;
}

static void the_public_cases_hold(void **state)
{
    (void)state;
    assert_int_equal(nftw(cases(), one, 16, FTW_PHYS), 0);
    print_message("# valid: %zu hold, %zu do not, %zu are left out; invalid: %zu are refused, "
                  "%zu are not\n",
                  valid.held, valid.failed, valid.left_out, invalid.held, invalid.failed);
    assert_true(valid.held > 90 && invalid.held > 200);
    assert_true(valid.left_out < 5);
    assert_int_equal(valid.failed + invalid.failed, 0);
}

static const struct CMUnitTest tests[] = {MP_TEST(the_public_cases_hold)};

int main(void)
{
    if (!cases()) {
        (void)puts("1..0 # SKIP no public cases (golang-github-burntsushi-toml-dev, or "
                   "MP_TOML_TESTS)");
        return 0;
    }
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

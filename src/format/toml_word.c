/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers, dates and times of TOML 1.0.0. */
#include "format/toml.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- dates and times (RFC 3339, chapter 5.6) ---- */

typedef struct cursor {
    mp_str word;
    size_t at;
} cursor;

/* @count digits that make at most @max; -1: they do not. */
static int take_number(cursor *c, size_t count, int max)
{
    int value = 0;

    if (c->word.size - c->at < count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(c->word.data[c->at]))
            return -1;
        value = value * 10 + (c->word.data[c->at++] - '0');
    }
    return value <= max ? value : -1;
}

static bool take_one_of(cursor *c, const char *set)
{
    if (c->at >= c->word.size || !c->word.data[c->at] || !strchr(set, c->word.data[c->at]))
        return false;
    c->at++;
    return true;
}

static bool take_date(cursor *c)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_number(c, 4, 9999), month, day;
    bool leap;

    if (year < 0 || !take_one_of(c, "-"))
        return false;
    month = take_number(c, 2, 12);
    if (month < 1 || !take_one_of(c, "-"))
        return false;
    day = take_number(c, 2, 31);
    leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return day >= 1 && day <= days[month - 1] + (month == 2 && leap);
}

static bool take_time(cursor *c)
{
    size_t first;

    if (take_number(c, 2, 23) < 0 || !take_one_of(c, ":") || take_number(c, 2, 59) < 0 ||
        !take_one_of(c, ":") || take_number(c, 2, 60) < 0) /* 60: a leap second */
        return false;
    if (!take_one_of(c, "."))
        return true;
    for (first = c->at; c->at < c->word.size && is_digit(c->word.data[c->at]);)
        c->at++;
    return c->at > first;
}

/* Z or an offset, or nothing: the time is then local. */
static bool take_offset(cursor *c)
{
    if (c->at == c->word.size || take_one_of(c, "Zz"))
        return true;
    return take_one_of(c, "+-") && take_number(c, 2, 23) >= 0 && take_one_of(c, ":") &&
           take_number(c, 2, 59) >= 0;
}

static bool is_moment(mp_str word)
{
    cursor c = {.word = word};

    if (word.size > 2 && word.data[2] == ':')
        return take_time(&c) && c.at == word.size;
    if (!take_date(&c))
        return false;
    if (c.at == word.size)
        return true;
    return take_one_of(&c, "Tt ") && take_time(&c) && take_offset(&c) && c.at == word.size;
}

static void add_moment(mp_str word, mp__buf *out)
{
    for (size_t i = 0; i < word.size; i++) {
        char c = word.data[i];

        (void)mp__buf_add_char(out, c == ' ' || c == 't' ? 'T' : c == 'z' ? 'Z' : c);
    }
}

/* ---- numbers ---- */

/* Digits of @set with single underscores between them, from @at on, appended without the
 * underscores; their number, 0 where they are written otherwise. */
static size_t take_digits(mp_str word, size_t *at, const char *set, mp__buf *out)
{
    size_t count = 0;

    for (;;) {
        char c = *at < word.size ? word.data[*at] : '\0';

        if (c && strchr(set, c)) {
            (void)mp__buf_add_char(out, c);
            count++;
        } else if (c != '_' || count == 0 || word.data[*at - 1] == '_') {
            return count && word.data[*at - 1] == '_' ? 0 : count;
        }
        (*at)++;
    }
}

/* @digits of @base, with a sign or none, as decimal onto @out; false: beyond 64 bits. */
static bool add_integer(const char *digits, int base, mp__buf *out)
{
    long long value;

    errno = 0;
    value = strtoll(digits, NULL, base);
    if (errno == ERANGE)
        return false;
    (void)mp__buf_add_i64(out, value);
    return true;
}

static const char beyond[] = "this number does not fit in 64 bits; quote it as text";

static enum mp__toml_kind based_integer(mp_str word, mp__buf *digits, mp__buf *out,
                                        const char **ret_why)
{
    char letter = word.data[1];
    int base = letter == 'x' ? 16 : letter == 'o' ? 8 : 2;
    size_t at = 2;
    size_t count = take_digits(word, &at,
                               base == 16  ? "0123456789abcdefABCDEF"
                               : base == 8 ? "01234567"
                                           : "01",
                               digits);

    (void)mp__buf_add_char(digits, '\0');
    if (count == 0 || at != word.size) {
        *ret_why = "digits are expected behind 0x, 0o or 0b, with single _ between them";
        return MP__TOML_NONE;
    }
    if (digits->error || !add_integer(digits->data, base, out)) {
        *ret_why = beyond;
        return MP__TOML_NONE;
    }
    return MP__TOML_INTEGER;
}

/* The part behind the integer: .digits, and an exponent. False: it is none. */
static bool take_fraction(mp_str word, size_t *at, mp__buf *digits)
{
    static const char decimal[] = "0123456789";

    if (*at < word.size && word.data[*at] == '.') {
        (void)mp__buf_add_char(digits, '.');
        (*at)++;
        if (take_digits(word, at, decimal, digits) == 0)
            return false;
    }
    if (*at < word.size && (word.data[*at] == 'e' || word.data[*at] == 'E')) {
        (void)mp__buf_add_char(digits, 'e');
        (*at)++;
        if (*at < word.size && (word.data[*at] == '-' || word.data[*at] == '+'))
            (void)mp__buf_add_char(digits, word.data[(*at)++]);
        if (take_digits(word, at, decimal, digits) == 0)
            return false;
    }
    return *at == word.size;
}

static enum mp__toml_kind real(const mp__buf *digits, mp__buf *out, const char **ret_why)
{
    char text[32];
    double value = strtod(digits->data, NULL);

    if (!isfinite(value)) {
        *ret_why = "this number is too large; quote it as text";
        return MP__TOML_NONE;
    }
    (void)mp__buf_add(out, text, mp__real_text(value, text));
    return MP__TOML_REAL;
}

static enum mp__toml_kind decimal(mp_str word, mp__buf *digits, mp__buf *out, const char **ret_why)
{
    size_t at = 0, first, count;
    bool whole;

    if (word.data[0] == '-' || word.data[0] == '+')
        (void)mp__buf_add_char(digits, word.data[at++]);
    first = at;
    count = take_digits(word, &at, "0123456789", digits);
    whole = at == word.size;
    *ret_why = "a value is expected here: a number, a date, true, false, a text in quotes, [ or {";
    if (count == 0 || (!whole && !take_fraction(word, &at, digits)))
        return MP__TOML_NONE;
    if (count > 1 && word.data[first] == '0') {
        *ret_why = "a number does not begin with 0; quote it if it is a text";
        return MP__TOML_NONE;
    }
    (void)mp__buf_add_char(digits, '\0');
    if (digits->error || (whole && !add_integer(digits->data, 10, out))) {
        *ret_why = beyond;
        return MP__TOML_NONE;
    }
    return whole ? MP__TOML_INTEGER : real(digits, out, ret_why);
}

enum mp__toml_kind mp__toml_word(mp_str word, mp__buf *out, const char **ret_why)
{
    mp__buf digits = MP__BUF_INIT;
    mp_str unsigned_word = word;
    enum mp__toml_kind kind;

    *ret_why = "a value is expected here";
    if (word.size == 0)
        return MP__TOML_NONE;
    if (word.data[0] == '-' || word.data[0] == '+')
        unsigned_word = mp_str_new(word.data + 1, word.size - 1);
    if (mp_str_equal(unsigned_word, MP_STR("inf")) || mp_str_equal(unsigned_word, MP_STR("nan"))) {
        if (word.data[0] == '-' &&
            unsigned_word.data[0] == 'i') /* a nan has no sign worth keeping */
            (void)mp__buf_add_char(out, '-');
        (void)mp__buf_add_str(out, unsigned_word);
        return MP__TOML_OWN;
    }
    if (word.size > 4 && (word.data[4] == '-' || word.data[2] == ':') && is_digit(word.data[0])) {
        *ret_why =
            "a date is 1979-05-27, a time 07:32:00, both together 1979-05-27T07:32:00Z; each "
            "part in its range";
        if (is_moment(word)) {
            add_moment(word, out);
            return MP__TOML_OWN;
        }
        if (word.data[2] == ':' || memchr(word.data + 5, '-', word.size - 5))
            return MP__TOML_NONE;
    }
    if (word.size > 1 && word.data[0] == '0' &&
        (word.data[1] == 'x' || word.data[1] == 'o' || word.data[1] == 'b'))
        kind = based_integer(word, &digits, out, ret_why);
    else
        kind = decimal(word, &digits, out, ret_why);
    if (digits.error && !out->error)
        out->error = digits.error; /* out of memory: the word was not looked at */
    mp__buf_done(&digits);
    return kind;
}

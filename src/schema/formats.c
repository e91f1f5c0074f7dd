/* SPDX-License-Identifier: Apache-2.0 */
/* "format", checked as an assertion. Each function cites what it follows; all of them look at the
 * text once, from left to right. */
#include <arpa/inet.h>

#include "schema/node.h"

/* What is left to be read. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool take(cursor *c, char want)
{
    if (c->at == c->end || *c->at != want)
        return false;
    c->at++;
    return true;
}

/* Exactly @count digits, as a number, or -1. */
static int take_number(cursor *c, int count)
{
    int value = 0;

    for (; count; count--) {
        if (c->at == c->end || !is_digit(*c->at))
            return -1;
        value = value * 10 + (*c->at++ - '0');
    }
    return value;
}

/* ---- dates and times: RFC 3339 ---- */

static bool take_date(cursor *c)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_number(c, 4), month, day, most;

    if (year < 0 || !take(c, '-') || (month = take_number(c, 2)) < 1 || month > 12 ||
        !take(c, '-') || (day = take_number(c, 2)) < 1)
        return false;
    most = days[month - 1];
    if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
        most = 29;
    return day <= most;
}

/* "Z", "+01:00": minutes east. */
static bool take_offset(cursor *c, int *ret_minutes)
{
    bool west = false;
    int hour, minute;

    *ret_minutes = 0;
    if (take(c, 'Z') || take(c, 'z'))
        return true;
    if (!take(c, '+')) {
        if (!take(c, '-'))
            return false;
        west = true;
    }
    hour = take_number(c, 2);
    if (hour < 0 || hour > 23 || !take(c, ':') || (minute = take_number(c, 2)) < 0 || minute > 59)
        return false;
    *ret_minutes = (west ? -1 : 1) * (hour * 60 + minute);
    return true;
}

static bool take_time(cursor *c)
{
    int hour = take_number(c, 2), minute, second, east;

    if (hour < 0 || hour > 23 || !take(c, ':') || (minute = take_number(c, 2)) < 0 || minute > 59 ||
        !take(c, ':') || (second = take_number(c, 2)) < 0 || second > 60)
        return false;
    if (take(c, '.')) {
        if (c->at == c->end || !is_digit(*c->at))
            return false;
        while (c->at < c->end && is_digit(*c->at))
            c->at++;
    }
    if (!take_offset(c, &east))
        return false;
    /* a leap second is the last of a day in UTC (RFC 3339, appendix D) */
    return second < 60 || ((hour * 60 + minute - east + 2 * 1440) % 1440) == 1439;
}

static cursor cursor_of(mp_str text)
{
    const char *data = text.data ? text.data : "";

    return (cursor){data, data + text.size};
}

static bool is_date(mp_str text)
{
    cursor c = cursor_of(text);

    return take_date(&c) && c.at == c.end;
}

static bool is_time(mp_str text)
{
    cursor c = cursor_of(text);

    return take_time(&c) && c.at == c.end;
}

static bool is_date_time(mp_str text)
{
    cursor c = cursor_of(text);

    return take_date(&c) && (take(&c, 'T') || take(&c, 't')) && take_time(&c) && c.at == c.end;
}

/* Numbers with the designators of @order, each at most once, in this order without a gap. Returns
 * how many, or -1. */
static int take_designators(cursor *c, const char *order)
{
    int count = 0;
    const char *next = NULL;

    while (c->at < c->end && is_digit(*c->at)) {
        const char *found;

        while (c->at < c->end && is_digit(*c->at))
            c->at++;
        if (c->at == c->end)
            return -1;
        found = strchr(order, *c->at);
        if (!found || *c->at == '\0' || (next && found != next))
            return -1;
        next = found + 1;
        c->at++;
        count++;
    }
    return count;
}

/* RFC 3339, appendix A: P1W, or P1Y2M3DT4H5M6S where a unit left out ends its part. */
static bool is_duration(mp_str text)
{
    cursor c = cursor_of(text), weeks;
    int days, hours = 0;

    if (!take(&c, 'P'))
        return false;
    weeks = c;
    if (take_designators(&weeks, "W") == 1 && weeks.at == weeks.end)
        return true;
    days = take_designators(&c, "YMD");
    if (days >= 0 && take(&c, 'T')) {
        hours = take_designators(&c, "HMS");
        if (hours == 0)
            return false;
    }
    return days >= 0 && hours >= 0 && days + hours > 0 && c.at == c.end;
}

/* ---- names and addresses of hosts ---- */

/* RFC 1123, 2.1, and the length of RFC 1035. */
static bool is_hostname(mp_str text)
{
    size_t label = 0;

    if (text.size == 0 || text.size > 253)
        return false;
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];
        bool ends = i + 1 == text.size || text.data[i + 1] == '.';

        if (c == '.') {
            if (label == 0)
                return false;
            label = 0;
            continue;
        }
        if (!is_letter(c) && !is_digit(c) && (c != '-' || label == 0 || ends))
            return false;
        if (++label > 63)
            return false;
    }
    return label > 0;
}

static bool is_address(int family, mp_str text)
{
    unsigned char binary[16];
    char copy[64];

    if (text.size >= sizeof(copy) || memchr(text.data ? text.data : "", '\0', text.size))
        return false;
    memcpy(copy, text.data ? text.data : "", text.size);
    copy[text.size] = '\0';
    return inet_pton(family, copy, binary) == 1;
}

static bool is_ipv4(mp_str text)
{
    return is_address(AF_INET, text); /* dotted quad, no leading zeros: glibc's inet_pton */
}

static bool is_ipv6(mp_str text)
{
    return is_address(AF_INET6, text);
}

static bool is_in(char c, const char *set)
{
    return c != '\0' && strchr(set, c);
}

/* The local part of RFC 5321: a dot-string or a quoted string. */
static bool is_local_part(mp_str text)
{
    bool dot = true; /* none at the beginning, none twice, none at the end */

    if (text.size == 0 || text.size > 64)
        return false;
    if (text.size >= 2 && text.data[0] == '"' && text.data[text.size - 1] == '"') {
        for (size_t i = 1; i + 1 < text.size; i++) {
            if ((unsigned char)text.data[i] < 0x20 || text.data[i] == '"')
                return false;
            if (text.data[i] == '\\' && ++i + 1 >= text.size)
                return false;
        }
        return true;
    }
    for (size_t i = 0; i < text.size; i++) {
        char c = text.data[i];

        if (c == '.' && dot)
            return false;
        if (c != '.' && !is_letter(c) && !is_digit(c) && !is_in(c, "!#$%&'*+-/=?^_`{|}~"))
            return false;
        dot = c == '.';
    }
    return !dot;
}

static bool is_email(mp_str text)
{
    size_t at = text.size;
    mp_str domain;

    while (at && text.data[at - 1] != '@')
        at--;
    if (at == 0 || !is_local_part(mp_str_new(text.data, at - 1)))
        return false;
    domain = mp_str_new(text.data + at, text.size - at);
    if (domain.size > 2 && domain.data[0] == '[' && domain.data[domain.size - 1] == ']') {
        domain = mp_str_new(domain.data + 1, domain.size - 2);
        if (domain.size > 5 && strncasecmp(domain.data, "IPv6:", 5) == 0)
            return is_ipv6(mp_str_new(domain.data + 5, domain.size - 5));
        return is_ipv4(domain);
    }
    return is_hostname(domain);
}

/* ---- URIs: RFC 3986 ---- */

/* Characters of @set, the unreserved ones and %XX. */
static bool take_characters(cursor *c, const char *set)
{
    while (c->at < c->end) {
        if (*c->at == '%') {
            if (c->end - c->at < 3 || !is_hex(c->at[1]) || !is_hex(c->at[2]))
                return false;
            c->at += 3;
        } else if (is_letter(*c->at) || is_digit(*c->at) || is_in(*c->at, "-._~") ||
                   is_in(*c->at, set)) {
            c->at++;
        } else {
            break;
        }
    }
    return true;
}

static bool take_port(cursor *c)
{
    if (take(c, ':'))
        while (c->at < c->end && is_digit(*c->at))
            c->at++;
    return true;
}

/* [ userinfo "@" ] host [ ":" port ] */
static bool take_authority(cursor *c)
{
    cursor user = *c;
    const char *close;

    if (!take_characters(&user, "!$&'()*+,;=:"))
        return false;
    if (take(&user, '@'))
        *c = user;
    if (take(c, '[')) {
        close = memchr(c->at, ']', (size_t)(c->end - c->at));
        if (!close || !is_ipv6(mp_str_new(c->at, (size_t)(close - c->at))))
            return false;
        c->at = close + 1;
    } else if (!take_characters(c, "!$&'()*+,;=")) {
        return false;
    }
    return take_port(c) && (c->at == c->end || is_in(*c->at, "/?#"));
}

static bool take_scheme(cursor *c)
{
    cursor s = *c;

    if (s.at == s.end || !is_letter(*s.at))
        return false;
    while (s.at < s.end && (is_letter(*s.at) || is_digit(*s.at) || is_in(*s.at, "+-.")))
        s.at++;
    if (!take(&s, ':'))
        return false;
    *c = s;
    return true;
}

static bool is_uri_with(mp_str text, bool relative)
{
    cursor c = cursor_of(text);

    if (!take_scheme(&c) && !relative)
        return false;
    if (c.end - c.at >= 2 && c.at[0] == '/' && c.at[1] == '/') {
        c.at += 2;
        if (!take_authority(&c))
            return false;
    }
    if (!take_characters(&c, "!$&'()*+,;=:@/"))
        return false;
    if (take(&c, '?') && !take_characters(&c, "!$&'()*+,;=:@/?"))
        return false;
    if (take(&c, '#') && !take_characters(&c, "!$&'()*+,;=:@/?"))
        return false;
    return c.at == c.end;
}

static bool is_uri(mp_str text)
{
    return is_uri_with(text, false);
}

static bool is_uri_reference(mp_str text)
{
    return is_uri_with(text, true);
}

/* ---- the rest ---- */

/* RFC 9562, 4. */
static bool is_uuid(mp_str text)
{
    if (text.size != 36)
        return false;
    for (size_t i = 0; i < 36; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23 ? text.data[i] != '-' : !is_hex(text.data[i]))
            return false;
    return true;
}

static bool is_regex(mp_str text)
{
    mp__pattern *pattern = NULL;
    int rc = mp__pattern_new(text, &pattern, NULL);

    (void)mp__pattern_free(pattern);
    return rc == 0;
}

/* draft-bhutton-relative-json-pointer: digits, perhaps +N or -N, then a pointer or '#'. */
static bool is_relative_json_pointer(mp_str text)
{
    size_t i = 0;

    while (i < text.size && is_digit(text.data[i]))
        i++;
    if (i == 0 || (i > 1 && text.data[0] == '0'))
        return false;
    if (i < text.size && (text.data[i] == '+' || text.data[i] == '-')) {
        size_t first = ++i;

        while (i < text.size && is_digit(text.data[i]))
            i++;
        if (i == first || text.data[first] == '0')
            return false;
    }
    if (i + 1 == text.size && text.data[i] == '#')
        return true;
    return mp__pointer_valid(mp_str_new(text.data + i, text.size - i));
}

static const mp__format_check formats[] = {
    {"date", "a date as 2026-01-31", is_date},
    {"date-time", "a date and time as 2026-01-31T12:30:00Z", is_date_time},
    {"duration", "a duration as P1DT12H", is_duration},
    {"email", "an e-mail address", is_email},
    {"hostname", "a host name", is_hostname},
    {"ipv4", "an IPv4 address", is_ipv4},
    {"ipv6", "an IPv6 address", is_ipv6},
    {"json-pointer", "a JSON Pointer as /a/0", mp__pointer_valid},
    {"regex", "a regular expression", is_regex},
    {"relative-json-pointer", "a relative JSON Pointer as 1/a", is_relative_json_pointer},
    {"time", "a time as 12:30:00Z, with an offset", is_time},
    {"uri", "a URI with its scheme, as https://example.com/", is_uri},
    {"uri-reference", "a URI or a relative reference", is_uri_reference},
    {"uuid", "a UUID as 2eb8aa08-aa98-11ea-b4aa-73b441d16380", is_uuid},
};

const mp__format_check *mp__format_check_find(mp_str name)
{
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++)
        if (mp_str_equal(mp_str_of(formats[i].name), name))
            return &formats[i];
    return NULL;
}

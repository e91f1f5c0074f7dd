/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "cache/cache.h"
#include "shared/internal.h"

enum { PORT_STANDARD = 6379, VALUE_MAX = 4 << 20 };

/* ---- addresses ---- */

static int bad_url(mp__diag *diag, const char *what)
{
    return mp__diag_set(diag, MP_EINVAL,
                        "cache.l4_url: %s; it is redis://[[user]:password@]host[:port][/database]",
                        what);
}

/* Take what stands before @end into @text. */
static bool take(const char *from, const char *end, char *text, size_t capacity)
{
    size_t size = (size_t)(end - from);

    if (size >= capacity)
        return false;
    memcpy(text, from, size);
    text[size] = '\0';
    return true;
}

static int hex(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;

    return at ? (int)(at - digits) : -1;
}

/* Put %XX in place of what it stands for (RFC 3986), as other programs read such addresses. */
static bool decode(char *text)
{
    for (const char *from = text; *from; from++) {
        int high, low;

        *text = *from;
        if (*from == '%') {
            high = hex(from[1]);
            low = high < 0 ? -1 : hex(from[2]);
            if (low < 0 || high + low == 0)
                return false;
            *text = (char)(high * 16 + low);
            from += 2;
        }
        text++;
    }
    *text = '\0';
    return true;
}

static int take_login(const char *from, const char *end, mp__shared_address *address,
                      mp__diag *diag)
{
    const char *colon = memchr(from, ':', (size_t)(end - from));

    if (!colon || colon + 1 == end || !take(from, colon, address->user, sizeof(address->user)) ||
        !take(colon + 1, end, address->password, sizeof(address->password)))
        return bad_url(diag, "before the @ stand user and password, or :password alone");
    if (!decode(address->user) || !decode(address->password))
        return bad_url(diag, "a % in user or password is written as %25");
    return 0;
}

int mp__shared_address_parse(const char *url, mp__shared_address *ret_address, mp__diag *diag)
{
    mp__shared_address address = {.port = PORT_STANDARD};
    const char *at, *slash, *end;
    char place[300];
    int rc = 0;

    if (strncmp(url, "redis://", 8) != 0)
        return bad_url(diag, "it does not begin with redis://");
    url += 8;
    at = strrchr(url, '@');
    if (at) {
        rc = take_login(url, at, &address, diag);
        url = at + 1;
    }
    if (rc)
        return rc;
    slash = strchr(url, '/');
    end = slash ? slash : url + strlen(url);
    if (end == url || !take(url, end, place, sizeof(place) - 8))
        return bad_url(diag, "there is no host");
    if (place[strlen(place) - 1] == ']' || !strchr(place, ':'))
        (void)snprintf(place + strlen(place), 8, ":%d", PORT_STANDARD);
    if (slash && slash[1]) {
        char *rest;
        unsigned long number = strtoul(slash + 1, &rest, 10);

        if (*rest || slash[1] == '-' || slash[1] == '+' || number > 65535)
            return bad_url(diag, "the database is a number");
        address.database = (unsigned)number;
    }
    rc = mp__address_parse(place, address.host, sizeof(address.host), &address.port, diag);
    if (rc == 0 && address.port == 0)
        rc = bad_url(diag, "the port is a number from 1 to 65535");
    if (rc == 0)
        *ret_address = address;
    return rc;
}

int mp__shared_url_check(const char *url, mp__diag *diag)
{
    mp__shared_address address;
    int rc = mp__shared_address_parse(url, &address, diag);

    explicit_bzero(&address, sizeof(address));
    return rc;
}

/* ---- keys and values ---- */

void mp__shared_name_set(mp__shared_name *name, const char *scope)
{
    (void)snprintf(name->scope, sizeof(name->scope), "%s", scope);
    name->secret.k0 = mp__checksum(1, name->scope, strlen(name->scope));
    name->secret.k1 = mp__checksum(2, name->scope, strlen(name->scope));
}

int mp__shared_key(const mp__shared_name *name, mp_str address, mp__buf *out)
{
    int rc = mp__buf_printf(out, "mp:%s:", name->scope);

    return rc ? rc : mp__buf_add(out, address.data, address.size);
}

int mp__shared_value(const mp__shared_name *name, const mp__record *record, mp__buf *out)
{
    size_t size = mp__cache_pack_size(record);
    int rc;

    if (size == 0 || size > VALUE_MAX)
        return MP_ELIMIT;
    rc = mp__buf_printf(out, "%0*" PRIu64, MP__SHARED_REVISION_DIGITS, record->revision);
    if (rc == 0)
        rc = mp__buf_reserve(out, size);
    if (rc)
        return rc;
    mp__cache_pack(record, name->secret, (unsigned char *)out->data + out->size);
    out->size += size;
    return 0;
}

int mp__shared_value_read(const mp__shared_name *name, mp_str address, mp_str value,
                          mp__record *ret_record)
{
    char digits[MP__SHARED_REVISION_DIGITS + 1];
    mp__record record;

    if (value.size <= MP__SHARED_REVISION_DIGITS ||
        mp__cache_unpack((const unsigned char *)value.data + MP__SHARED_REVISION_DIGITS,
                         value.size - MP__SHARED_REVISION_DIGITS, name->secret, &record) != 0)
        return MP_ECORRUPT;
    (void)snprintf(digits, sizeof(digits), "%0*" PRIu64, MP__SHARED_REVISION_DIGITS,
                   record.revision);
    if (memcmp(digits, value.data, MP__SHARED_REVISION_DIGITS) != 0 ||
        !mp_str_equal(record.address, address))
        return MP_ECORRUPT;
    *ret_record = record;
    return 0;
}

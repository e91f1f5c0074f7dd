/* SPDX-License-Identifier: Apache-2.0 */
/* Pages of other sites: who reaches a loopback address may read and write, and a browser reaches it
 * for every page it shows.
 *
 * A page cannot read what another site answers, and its writes carry its Origin. But the name that
 * it came by may be made to lead here (DNS rebinding): then this server is its own site, and Origin
 * and Host agree. So a browser must call it by a name that no stranger can give out: an address, a
 * name without a dot, one below .localhost, or one of http.hosts. Programs are not asked. */
#include <strings.h>

#include "server/http/connection.h"
#include "server/http/handlers.h"

bool mp__http_is_cross_site(const mp__http_request *r)
{
    mp_str origin = mp__http_header_find(r, "origin"), host;
    const char *slashes;

    if (!origin.data)
        return false;
    slashes = memmem(origin.data, origin.size, "://", 3);
    if (!slashes)
        return true; /* "null" */
    slashes += 3;
    host = mp__http_header_find(r, "host");
    return !mp_str_equal(host, mp_str_new(slashes, (size_t)(origin.data + origin.size - slashes)));
}

/* What no page can leave out of what it lets a browser send, all of it together. */
static bool is_of_browser(const mp__http_request *r)
{
    static const char *const signs[] = {"accept-language", "origin", "referer", "sec-fetch-site"};
    mp_str agent;

    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++)
        if (mp__http_header_find(r, signs[i]).data)
            return true;
    agent = mp__http_header_find(r, "user-agent");
    return agent.size >= 8 && memcmp(agent.data, "Mozilla/", 8) == 0;
}

/* The name in a Host header, without the port and the dot that may end it. */
static mp_str name_of(mp_str host)
{
    const char *colon = memchr(host.data, ':', host.size);

    if (colon)
        host.size = (size_t)(colon - host.data);
    if (host.size && host.data[host.size - 1] == '.')
        host.size--;
    return host;
}

static bool is_same(mp_str a, mp_str b)
{
    return a.size == b.size && strncasecmp(a.data, b.data, a.size) == 0;
}

/* Digits and dots: of an IPv4 address, since no name ends with a part of digits alone. */
static bool is_address(mp_str name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] != '.' && (name.data[i] < '0' || name.data[i] > '9'))
            return false;
    return true;
}

static bool is_ours(const mp__server *server, mp_str name)
{
    mp_str below = MP_STR(".localhost");
    size_t count = mp__options_list_count(server->options, "http.hosts");

    if (name.size > below.size &&
        is_same(mp_str_new(name.data + name.size - below.size, below.size), below))
        return true;
    for (size_t i = 0; i < count; i++)
        if (is_same(name,
                    name_of(mp_str_of(mp__options_list_at(server->options, "http.hosts", i)))))
            return true;
    return false;
}

bool mp__http_is_rebound(const mp__server *server, const mp__http_request *r)
{
    mp_str host = mp__http_header_find(r, "host"), name;

    if (host.size == 0 || host.data[0] == '[' || !memchr(host.data, '.', host.size))
        return false;
    name = name_of(host);
    return name.size && memchr(name.data, '.', name.size) && !is_address(name) &&
           !is_ours(server, name) && is_of_browser(r);
}

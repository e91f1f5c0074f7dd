/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of what can be asked over HTTP. The OpenAPI document is checked against it. */
#include <assert.h>
#include <stdio.h>

#include "server/http/handlers.h"

const mp__route mp__routes[] = {
    {"GET", "/", mp__http_root, "What there is; for browsers a page with the state"},
    {"GET", "/healthz", mp__http_health, "The process lives"},
    {"GET", "/readyz", mp__http_ready, "Reads can be answered"},
    {"GET", "/metrics", mp__http_metrics, "Figures for Prometheus"},
    {"GET", "/v1/config/", mp__http_namespaces, "Namespaces"},
    {"GET", "/v1/config/{namespace}/", mp__http_list, "Keys of a namespace"},
    {"GET", "/v1/config/{namespace}/{key...}", mp__http_config_get, "One value"},
    {"PUT", "/v1/config/{namespace}/{key...}", mp__http_config_put, "Write one value"},
    {"PATCH", "/v1/config/{namespace}/{key...}", mp__http_config_patch, "Change a JSON value"},
    {"DELETE", "/v1/config/{namespace}/{key...}", mp__http_config_delete, "Delete one value"},
    {"GET", "/v1/environments", mp__http_environments, "Environments"},
    {"POST", "/v1/batch-get", mp__http_batch_get, "Many values"},
    {"POST", "/v1/txn", mp__http_txn, "Many changes, all or nothing"},
    {"GET", "/v1/diff/{namespace}/", mp__http_diff_prefix, "What differs in a namespace"},
    {"GET", "/v1/diff/{namespace}/{key...}", mp__http_diff_key, "What differs in one value"},
    {"GET", "/v1/export/{namespace}", mp__http_export, "A namespace as a file"},
    {"POST", "/v1/import/{namespace}", mp__http_import, "A file into a namespace"},
    {"GET", "/v1/history/{namespace}/{key...}", mp__http_history, "Revisions of one key"},
    {"POST", "/v1/rollback/{namespace}/{key...}", mp__http_rollback, "Back to an old revision"},
    {"GET", "/v1/explain/{namespace}/{key...}", mp__http_explain, "Why a read answers so"},
    {"GET", "/v1/explain-cache", mp__http_explain_cache, "What another size or policy would hit"},
    {"GET", "/v1/pins", mp__http_pins, "What stays in memory whatever comes"},
    {"PUT", "/v1/pins/{namespace}/{key...}", mp__http_pin, "Keep a key in memory"},
    {"DELETE", "/v1/pins/{namespace}/{key...}", mp__http_unpin, "Take a pin away"},
    {"GET", "/v1/preload", mp__http_preload_get, "How far the preload is"},
    {"POST", "/v1/preload", mp__http_preload_post, "Bring keys into memory"},
    {"GET", "/v1/watch", mp__http_watch, "Changes as they happen"},
    {"GET", "/v1/consumers", mp__http_consumers, "Who watches, and how far each was told"},
    {"GET", "/v1/status", mp__http_status, "State as JSON"},
    {"GET", "/v1/openapi.json", mp__http_openapi, "This interface, as OpenAPI 3.1"},
};
const size_t mp__route_count = sizeof(mp__routes) / sizeof(mp__routes[0]);

/* Whether @path is of @pattern, and what its braces stand for. */
static bool match(const char *pattern, mp_str path, mp_str *values)
{
    const char *p = path.data, *end = p + path.size;
    int n = 0;

    while (*pattern) {
        if (*pattern == '{') {
            const char *close = strchr(pattern, '}'), *stop = end;
            bool rest;

            assert(close); /* the patterns are our own */
            rest = close[-1] == '.';
            if (!rest) {
                stop = memchr(p, '/', (size_t)(end - p));
                stop = stop ? stop : end;
            }
            if (stop == p)
                return false;
            values[n++] = mp_str_new(p, (size_t)(stop - p));
            p = stop;
            pattern = close + 1;
        } else if (p < end && *p == *pattern) {
            p++;
            pattern++;
        } else {
            return p == end && pattern[0] == '/' && pattern[1] == '\0' && path.size > 1;
        }
    }
    return p == end;
}

static bool is_method(const mp__route *route, mp_str method)
{
    return mp_str_equal(method, mp_str_of(route->method)) ||
           (mp_str_equal(method, MP_STR("HEAD")) && strcmp(route->method, "GET") == 0);
}

static void allow(const mp__route *route, char *text, size_t capacity)
{
    size_t used = strlen(text);

    (void)snprintf(text + used, capacity - used, "%s%s%s", used ? ", " : "", route->method,
                   strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
}

const mp__route *mp__route_find(mp_str method, mp_str path, mp_str ret_values[MP__ROUTE_VALUES_MAX],
                                char *ret_allowed, size_t allowed_capacity)
{
    ret_allowed[0] = '\0';
    for (size_t i = 0; i < mp__route_count; i++) {
        if (!match(mp__routes[i].pattern, path, ret_values))
            continue;
        if (is_method(&mp__routes[i], method))
            return &mp__routes[i];
        allow(&mp__routes[i], ret_allowed, allowed_capacity);
    }
    return NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* GET /: for browsers a page with the present state, for all others the list of paths.
 *
 * The page is page.html, made part of the program. What stands in it as {{a.b}} is the member of
 * the status that is called so, as {{a.b|kind}} put for people; {{environment}}, {{events}} and
 * {{paths}} are ours. So it says the basics without its script, which then keeps them true. */
#include <inttypes.h>
#include <stdio.h>

#include "server/http/collect.h"

/* page.html and its Content-Security-Policy: scripts/embed.py. */
extern const char mp__page_html[], mp__page_html_policy[];
extern const size_t mp__page_html_size;

enum {
    EVENTS_SHOWN = 20,
    PAGE_NS = 100 * 1000 * 1000, /* a page is given to others who ask so soon */
};

static void add_escaped(mp__buf *out, mp_str text)
{
    for (size_t i = 0; i < text.size; i++)
        switch (text.data[i]) {
        case '&':
            (void)mp__buf_add_str(out, MP_STR("&amp;"));
            break;
        case '<':
            (void)mp__buf_add_str(out, MP_STR("&lt;"));
            break;
        case '>':
            (void)mp__buf_add_str(out, MP_STR("&gt;"));
            break;
        case '"':
            (void)mp__buf_add_str(out, MP_STR("&quot;"));
            break;
        case '\'':
            (void)mp__buf_add_str(out, MP_STR("&#39;"));
            break;
        default:
            (void)mp__buf_add_char(out, text.data[i]);
        }
}

/* ---- values of the status ---- */

static void add_span(mp__buf *out, int64_t seconds)
{
    if (seconds < 120)
        (void)mp__buf_printf(out, "%" PRId64 " s", seconds);
    else if (seconds < 2 * 3600)
        (void)mp__buf_printf(out, "%" PRId64 " min", seconds / 60);
    else if (seconds < 2 * 86400)
        (void)mp__buf_printf(out, "%" PRId64 " h", seconds / 3600);
    else
        (void)mp__buf_printf(out, "%" PRId64 " days", seconds / 86400);
}

/* Of a tier. */
static void add_ratio(mp__buf *out, const json_t *tier)
{
    json_int_t reads = json_integer_value(json_object_get(tier, "hits")) +
                       json_integer_value(json_object_get(tier, "misses"));

    if (reads)
        (void)mp__buf_printf(out, "%.1f %%",
                             100 * json_number_value(json_object_get(tier, "hit_ratio")));
    else
        (void)mp__buf_add_str(out, MP_STR("\xe2\x80\x93"));
}

/* The member of @status at "a.b.c"; NULL: there is none. */
static const json_t *member_at(const json_t *status, mp_str path)
{
    const char *p = path.data, *end = p + path.size;

    while (status && p < end) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t size = (size_t)((dot ? dot : end) - p);

        status = json_object_getn(status, p, size);
        p += size + (dot != NULL);
    }
    return status;
}

static void add_member(mp__buf *out, const json_t *status, mp_str name)
{
    const char *bar = memchr(name.data, '|', name.size);
    mp_str path = bar ? mp_str_new(name.data, (size_t)(bar - name.data)) : name;
    mp_str kind = bar ? mp_str_new(bar + 1, name.size - path.size - 1) : mp_str_new("", 0);
    const json_t *value = member_at(status, path);
    int64_t number = json_integer_value(value);

    if (mp_str_equal(kind, MP_STR("ratio")))
        add_ratio(out, value);
    else if (mp_str_equal(kind, MP_STR("age")) && number == 0)
        (void)mp__buf_add_str(out, MP_STR("fresh"));
    else if (kind.size)
        add_span(out, mp_str_equal(kind, MP_STR("age")) ? number / 1000 : number);
    else if (json_is_string(value))
        add_escaped(out, mp__http_json_text(value));
    else
        (void)mp__buf_printf(out, "%" PRId64, number);
}

/* ---- rows ---- */

static void add_row(mp__buf *out, mp_str first, mp_str second, mp_str third)
{
    (void)mp__buf_add_str(out, MP_STR("<tr><td>"));
    add_escaped(out, first);
    (void)mp__buf_add_str(out, MP_STR("</td><td>"));
    add_escaped(out, second);
    if (third.size) {
        (void)mp__buf_add_str(out, MP_STR(": "));
        add_escaped(out, third);
    }
    (void)mp__buf_add_str(out, MP_STR("</td></tr>\n"));
}

/* The last events, the newest first. */
static void add_events(mp__buf *out, const json_t *events)
{
    size_t count = json_array_size(events);

    for (size_t shown = 0; shown < EVENTS_SHOWN && shown < count; shown++) {
        const json_t *event = json_array_get(events, count - 1 - shown);
        char date[MP__HTTP_DATE_SIZE];

        mp__http_date(json_integer_value(json_object_get(event, "ms")) / 1000, date);
        add_row(out, mp_str_of(date), mp__http_json_text(json_object_get(event, "event")),
                mp__http_json_text(json_object_get(event, "text")));
    }
}

static void add_paths(mp__buf *out)
{
    for (size_t i = 0; i < mp__route_count; i++) {
        char path[96];

        (void)snprintf(path, sizeof(path), "%s %s", mp__routes[i].method, mp__routes[i].pattern);
        add_row(out, mp_str_of(path), mp_str_of(mp__routes[i].summary), mp_str_new("", 0));
    }
}

/* ---- the page ---- */

static void fill_in(const mp__exchange *x, const json_t *status, mp_str name, mp__buf *out)
{
    if (mp_str_equal(name, MP_STR("paths")))
        add_paths(out);
    else if (mp_str_equal(name, MP_STR("events")))
        add_events(out, json_object_get(status, "events"));
    else if (mp_str_equal(name, MP_STR("environment")))
        add_escaped(out, mp__manager_environment(x->worker->server->manager, 0));
    else
        add_member(out, status, name);
}

static void add_page(const mp__exchange *x, const json_t *status, mp__buf *out)
{
    const char *p = mp__page_html, *end = p + mp__page_html_size;

    while (p < end) {
        const char *open = memmem(p, (size_t)(end - p), "{{", 2);
        const char *close = open ? memmem(open, (size_t)(end - open), "}}", 2) : NULL;

        if (!close) {
            (void)mp__buf_add(out, p, (size_t)(end - p));
            return;
        }
        (void)mp__buf_add(out, p, (size_t)(open - p));
        fill_in(x, status, mp_str_new(open + 2, (size_t)(close - open - 2)), out);
        p = close + 2;
    }
}

/* The page of now, or of a moment ago: it is much work for the loop, and says by itself when its
 * script has made it true. False: no memory. */
static bool make_page(const mp__exchange *x)
{
    mp__worker_loop *worker = x->worker;
    mp__buf said = MP__BUF_INIT;
    json_t *status = NULL;

    if (worker->page.size && worker->tick_ns - worker->page_ns < PAGE_NS)
        return true;
    mp__buf_reset(&worker->page);
    if (mp__manager_status(worker->server->manager, NULL, &said) == 0)
        status = json_loadb(said.data, said.size, 0, NULL);
    if (status)
        add_page(x, status, &worker->page);
    if (!status || worker->page.error)
        mp__buf_done(&worker->page);
    json_decref(status);
    mp__buf_done(&said);
    worker->page_ns = worker->tick_ns;
    return worker->page.size > 0;
}

void mp__http_page_scan(mp__worker_loop *worker)
{
    if (worker->page.capacity && worker->tick_ns - worker->page_ns >= PAGE_NS)
        mp__buf_done(&worker->page);
}

static void answer_page(mp__exchange *x)
{
    if (!make_page(x)) {
        mp__answer_no_memory(x);
        return;
    }
    mp__answer_begin(x, 200);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_header(x, "Content-Security-Policy", mp_str_of(mp__page_html_policy));
    mp__answer_header(x, "Referrer-Policy", MP_STR("no-referrer"));
    mp__answer_header(x, "X-Content-Type-Options", MP_STR("nosniff"));
    mp__answer_header(x, "Vary", MP_STR("Accept"));
    mp__answer_end(x, MP_STR("text/html; charset=utf-8"), mp__buf_str(&x->worker->page));
}

static int print_list(mp__buf *out)
{
    (void)mp__buf_add_str(out, MP_STR("MarketPrism\n\n"));
    for (size_t i = 0; i < mp__route_count; i++)
        (void)mp__buf_printf(out, "%-6s %-32s %s\n", mp__routes[i].method, mp__routes[i].pattern,
                             mp__routes[i].summary);
    return out->error;
}

static void answer_list(mp__exchange *x)
{
    mp__fixed *list = &x->worker->server->paths;

    if (!mp__http_fixed(x, list, print_list))
        return;
    mp__answer_begin(x, 200);
    mp__answer_header(x, "Cache-Control", MP_STR("no-store"));
    mp__answer_header(x, "Vary", MP_STR("Accept"));
    mp__answer_end(x, MP_STR("text/plain; charset=utf-8"), mp__buf_str(&list->text));
}

void mp__http_root(mp__exchange *x)
{
    mp_str accept;
    int html;

    if (!mp__http_parameters(x, NULL, 0) || !mp__http_list_of(x, "accept", &accept))
        return;
    html = accept.size ? mp__http_weight(accept, "text/html") : 0;
    if (html > 0 && html > mp__http_weight(accept, "text/plain"))
        answer_page(x);
    else
        answer_list(x);
}

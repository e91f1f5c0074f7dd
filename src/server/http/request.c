/* SPDX-License-Identifier: Apache-2.0 */
/* What handlers ask of a request: query parameters, addresses, numbers, durations, conditions. */
#include <assert.h>
#include <stdio.h>
#include <strings.h>

#include "core/option.h"
#include "server/http/collect.h"

enum { PARAMETERS_MAX = 24 };

/* ---- query parameters ---- */

static int hex(char c)
{
    c = (char)(c | 0x20);
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decode [@p, @end) to @to; its size, or -1 when a %XX is none. */
static int64_t decode(const char *p, const char *end, char *to)
{
    char *start = to;

    for (; p < end; p++) {
        if (*p != '%') {
            *to++ = *p == '+' ? ' ' : *p;
            continue;
        }
        if (end - p < 3 || hex(p[1]) < 0 || hex(p[2]) < 0)
            return -1;
        *to++ = (char)(hex(p[1]) * 16 + hex(p[2]));
        p += 2;
    }
    return to - start;
}

static mp__parameter *find(mp__parameter *parameters, size_t count, mp_str name)
{
    for (size_t i = 0; i < count; i++)
        if (mp_str_equal(name, mp_str_of(parameters[i].name)))
            return &parameters[i];
    return NULL;
}

/* "it takes env, region, instance", or that it takes none. */
static void list_known(const mp__parameter *parameters, size_t count, char *out, size_t capacity)
{
    size_t used = (size_t)snprintf(out, capacity, count ? "it takes" : "it takes none");

    for (size_t i = 0; i < count && used < capacity; i++)
        used += (size_t)snprintf(out + used, capacity - used, "%s %s", i ? "," : "",
                                 parameters[i].name);
}

static void unknown(mp__exchange *x, const mp__parameter *parameters, size_t count, mp_str name)
{
    const char *names[PARAMETERS_MAX], *meant;
    char word[64], known[400], detail[200];
    size_t size = name.size < sizeof(word) - 1 ? name.size : sizeof(word) - 1;

    for (size_t i = 0; i < count; i++)
        names[i] = parameters[i].name;
    memcpy(word, name.data, size);
    word[size] = '\0';
    meant = count ? mp__did_you_mean(word, names, count) : NULL;
    (void)snprintf(detail, sizeof(detail), "this path has no parameter '%s'%s%s%s", word,
                   meant ? "; did you mean '" : "", meant ? meant : "", meant ? "'?" : "");
    list_known(parameters, count, known, sizeof(known));
    mp__answer_problem(
        x, &(mp__problem){.status = 400, .type = "invalid", .detail = detail, .remedy = known});
}

/* One name=value of the query into its parameter; false: answered. */
static bool take_parameter(mp__exchange *x, mp__parameter *parameters, size_t count, const char *p,
                           const char *stop, char **more)
{
    const char *equals = memchr(p, '=', (size_t)(stop - p));
    const char *name_end = equals ? equals : stop;
    mp__parameter *parameter;
    int64_t size = decode(p, name_end, *more);

    parameter = size < 0 ? NULL : find(parameters, count, mp_str_new(*more, (size_t)size));
    if (!parameter) {
        unknown(x, parameters, count, mp_str_new(p, (size_t)(name_end - p)));
        return false;
    }
    if (parameter->value.data) {
        mp__answer_invalid(x, "the parameter '%s' is there twice", parameter->name);
        return false;
    }
    size = decode(equals ? equals + 1 : stop, stop, *more);
    if (size < 0) {
        mp__answer_invalid(x, "the parameter '%s' has a bad percent-encoding", parameter->name);
        return false;
    }
    parameter->value = mp_str_new(*more, (size_t)size);
    *more += size;
    return true;
}

bool mp__http_parameters(mp__exchange *x, mp__parameter *parameters, size_t count)
{
    mp_str query = x->request.query;
    const char *p = query.data, *end, *stop;
    char *memory;

    assert(count <= PARAMETERS_MAX);
    if (query.size == 0) /* then it may be nowhere */
        return true;
    end = p + query.size;
    memory = mp__exchange_memory(x, 2 * query.size + 1); /* a name is decoded behind the values */
    if (!memory) {
        mp__answer_no_memory(x);
        return false;
    }
    for (; p < end; p = stop + 1) {
        stop = memchr(p, '&', (size_t)(end - p));
        stop = stop ? stop : end;
        if (stop != p && !take_parameter(x, parameters, count, p, stop, &memory))
            return false;
    }
    return true;
}

/* ---- numbers and durations ---- */

bool mp__http_number_of(mp__exchange *x, const mp__parameter *parameter, uint64_t low,
                        uint64_t high, uint64_t *ret_value)
{
    uint64_t value;

    if (!parameter->value.data)
        return true;
    if (mp__digits_u64(parameter->value, &value) && value >= low && value <= high) {
        *ret_value = value;
        return true;
    }
    mp__answer_invalid(x, "%s is a whole number from %llu to %llu", parameter->name,
                       (unsigned long long)low, (unsigned long long)high);
    return false;
}

bool mp__http_duration_of(mp__exchange *x, const mp__parameter *parameter, int64_t *ret_ms)
{
    if (!parameter->value.data || mp__duration_ms(parameter->value, ret_ms))
        return true;
    mp__answer_invalid(x,
                       "%s is a duration such as 500ms, 30s, 5m, 1h or 7d; a plain number is "
                       "seconds",
                       parameter->name);
    return false;
}

bool mp__http_ttl_of(mp__exchange *x, const mp__parameter *parameter, int64_t *ret_ms)
{
    int64_t ms = 0;

    if (!mp__http_duration_of(x, parameter, &ms))
        return false;
    if (parameter->value.data && ms == 0) {
        mp__answer_invalid(x, "%s is longer than nothing; leave it out for a value that stays",
                           parameter->name);
        return false;
    }
    *ret_ms = ms;
    return true;
}

bool mp__http_flag_of(mp__exchange *x, const mp__parameter *parameter, bool *ret_value)
{
    mp_str v = parameter->value;

    if (!v.data)
        return true;
    if (v.size == 0 || mp_str_equal(v, MP_STR("true")) || mp_str_equal(v, MP_STR("1"))) {
        *ret_value = true;
        return true;
    }
    if (mp_str_equal(v, MP_STR("false")) || mp_str_equal(v, MP_STR("0"))) {
        *ret_value = false;
        return true;
    }
    mp__answer_invalid(x, "%s is true or false", parameter->name);
    return false;
}

/* ---- addresses ---- */

bool mp__http_scope(mp__exchange *x, const mp__parameter *place, char out[MP__SCOPE_MAX],
                    mp_str *ret_scope)
{
    mp__diag diag = {0};
    mp_str environment = place[MP__PLACE_ENV].value;
    int size;

    if (environment.data && environment.size == 0) { /* as a script's unset variable leaves it */
        mp__answer_invalid(x, "%s is empty; leave it out for the first environment",
                           place[MP__PLACE_ENV].name);
        return false;
    }
    if (!environment.data)
        environment = mp__manager_environment(x->worker->server->manager, 0);
    size = mp__scope_build(environment, place[MP__PLACE_REGION].value,
                           place[MP__PLACE_INSTANCE].value, out, &diag);
    if (size < 0) {
        mp__answer_invalid(x, "%s", diag.text);
        return false;
    }
    *ret_scope = mp_str_new(out, (size_t)size);
    return true;
}

bool mp__http_address(mp__exchange *x, mp_str scope, mp_str namespace_, mp_str key,
                      char out[MP__ADDRESS_MAX], mp_str *ret_address)
{
    mp__diag diag = {0};
    int size = mp__address_join(scope, namespace_, key, out, &diag);

    if (size < 0) {
        mp__answer_invalid(x, "%s", diag.text);
        return false;
    }
    *ret_address = mp_str_new(out, (size_t)size);
    return true;
}

/* ---- header values: comma-separated lists ---- */

bool mp__http_list_next(mp_str *list, mp_str *ret_item)
{
    const char *p = list->data, *end = p + list->size, *start;
    bool quoted = false;

    while (p < end && (*p == ' ' || *p == '\t' || *p == ','))
        p++;
    start = p;
    while (p < end && (quoted || *p != ',')) {
        quoted ^= *p == '"';
        p++;
    }
    *list = mp_str_new(p, (size_t)(end - p));
    while (p > start && (p[-1] == ' ' || p[-1] == '\t'))
        p--;
    *ret_item = mp_str_new(start, (size_t)(p - start));
    return p > start;
}

/* ---- entity tags ---- */

void mp__etag_make(uint64_t revision, mp_str value, mp__etag *ret_etag)
{
    uint64_t hash = mp__checksum(revision, value.data, value.size);

    ret_etag->text[0] = '"';
    for (int i = 0; i < 16; i++)
        ret_etag->text[1 + i] = "0123456789abcdef"[(hash >> (60 - 4 * i)) & 15];
    ret_etag->text[17] = '"';
}

/* The same value in another coding has another strong tag: "hash-gz" (RFC 9110 section 8.8.3). */
static mp_str without_coding(mp_str tag)
{
    static const char ending[] = "-gz\"";
    size_t n = sizeof(ending) - 1;

    return tag.size > n && memcmp(tag.data + tag.size - n, ending, n) == 0
               ? mp_str_new(tag.data, tag.size - n)
           : tag.size ? mp_str_new(tag.data, tag.size - 1)
                      : tag;
}

bool mp__etag_matches(mp_str list, const mp__etag *etag, bool weak)
{
    mp_str item;

    while (mp__http_list_next(&list, &item)) {
        if (item.size == 1 && item.data[0] == '*')
            return etag != NULL;
        if (item.size > 2 && item.data[0] == 'W' && item.data[1] == '/') {
            if (!weak)
                continue; /* a weak tag never matches strongly: section 8.8.3.2 */
            item = mp_str_new(item.data + 2, item.size - 2);
        }
        if (etag && mp_str_equal(without_coding(item), mp_str_new(etag->text, MP__ETAG_SIZE - 1)))
            return true;
    }
    return false;
}

/* The size of the entity tag that @list begins with, 0 when there is none. */
static size_t tag_size(mp_str list)
{
    size_t i = list.size > 2 && list.data[0] == 'W' && list.data[1] == '/' ? 2 : 0;

    if (i >= list.size || list.data[i] != '"')
        return 0;
    for (i++; i < list.size; i++) {
        unsigned char c = (unsigned char)list.data[i];

        if (c == '"')
            return i + 1;
        if (c <= 0x20 || c == 0x7f)
            return 0;
    }
    return 0;
}

bool mp__etags_are_sound(mp_str list)
{
    size_t count = 0, size = 0;
    bool apart = true;

    if (mp_str_equal(list, MP_STR("*")))
        return true;
    for (size_t i = 0; i < list.size; i += size) {
        char c = list.data[i];

        size = 1;
        if (c == ',') {
            apart = true;
        } else if (c != ' ' && c != '\t') {
            size = apart ? tag_size(mp_str_new(list.data + i, list.size - i)) : 0;
            if (size == 0)
                return false;
            apart = false;
            count++;
        }
    }
    return count > 0;
}

static bool join_lines(mp__exchange *x, const char *name, mp_str *list)
{
    size_t size = 0, at = 0;
    char *joined;
    mp_str line;

    while ((line = mp__http_header_next(&x->request, name, &at)).data)
        size += line.size + 1;
    joined = mp__exchange_memory(x, size + 1);
    if (!joined) {
        mp__answer_no_memory(x);
        return false;
    }
    for (size = at = 0; (line = mp__http_header_next(&x->request, name, &at)).data;) {
        if (size)
            joined[size++] = ',';
        memcpy(joined + size, line.data, line.size);
        size += line.size;
    }
    *list = mp_str_new(joined, size);
    return true;
}

bool mp__http_list_of(mp__exchange *x, const char *name, mp_str *ret_list)
{
    size_t at = 0;
    mp_str list = mp__http_header_next(&x->request, name, &at);

    *ret_list = list;
    return !list.data || !mp__http_header_next(&x->request, name, &at).data ||
           join_lines(x, name, ret_list);
}

bool mp__http_etags_of(mp__exchange *x, const char *name, mp_str *ret_list)
{
    char detail[80];

    if (!mp__http_list_of(x, name, ret_list))
        return false;
    if (!ret_list->data || mp__etags_are_sound(*ret_list))
        return true;
    (void)snprintf(detail, sizeof(detail), "%s is neither * nor a list of entity tags", name);
    mp__answer_problem(x, &(mp__problem){.status = 400,
                                         .type = "invalid",
                                         .detail = detail,
                                         .remedy = "send the ETag of an answer as it came, with "
                                                   "its quotes, several with commas between "
                                                   "them, or * alone"});
    return false;
}

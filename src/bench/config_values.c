/* SPDX-License-Identifier: Apache-2.0 */
#include "bench/config_values.h"

#include <stdio.h>
#include <string.h>

#include "bench/workload.h"
#include "core/alloc.h"
#include "core/env.h"
#include "format/format.h"

enum { TEXT = 2048, FILE_MAX = 1 << 20 };

static int add(mp__config_values *v, const char *address, const char *value, size_t size)
{
    mp__config_value *one;

    if (mp__grow(&v->values, v->count, &v->room, sizeof(*v->values)) != 0)
        return MP_ENOMEM;
    one = &v->values[v->count];
    one->address = mp__strdup(address);
    one->value = mp__str_dup(mp_str_new(value, size));
    one->address_size = strlen(address);
    one->size = size;
    if (!one->address || !one->value) {
        (void)mp__free(one->address);
        (void)mp__free(one->value);
        return MP_ENOMEM;
    }
    v->count++;
    return 0;
}

void mp__config_values_done(mp__config_values *values)
{
    for (size_t i = 0; i < values->count; i++) {
        (void)mp__free(values->values[i].address);
        (void)mp__free(values->values[i].value);
    }
    values->values = mp__free(values->values);
    values->count = values->room = 0;
}

/* ---- made ones ---- */

static unsigned pick(uint64_t *random, unsigned below)
{
    return (unsigned)(mp__workload_random(random) % below);
}

static const char *one_of(uint64_t *random, const char *const *words, unsigned count)
{
    return words[pick(random, count)];
}

static const char *const regions[] = {"ap-southeast", "eu-central", "us-east", "us-west"};
static const char *const coins[] = {"BTC", "ETH", "SOL", "XRP", "ADA", "LINK", "AVAX", "DOT"};
static const char *const bools[] = {"true", "false"};
static const char *const severities[] = {"info", "warning", "error", "critical"};

static int exchange(char *text, size_t i, uint64_t *r)
{
    return snprintf(
        text, TEXT,
        "{\"name\":\"venue-%zu\",\"enabled\":%s,\"asset_class\":\"crypto\",\"endpoints\":{\"rest\":"
        "\"https://egress.%s.prism.example/venue-%zu/api/v%u\",\"stream\":\"wss://egress.%s.prism."
        "example/venue-%zu/stream\"},\"symbols\":[\"%sUSDT\",\"%sUSDT\",\"%sUSD\"],\"limits\":{"
        "\"request_weight_per_min\":%u,\"connections_per_ip\":%u,\"messages_in_per_s\":%u},"
        "\"fees\":{\"maker_bps\":%u.%u,\"taker_bps\":%u,\"tier\":\"vip%u\",\"currency\":\"%s\"},"
        "\"heartbeat_ms\":%u,\"stale_after_ms\":%u,\"reconnect\":{\"min_ms\":%u,\"max_ms\":%u,"
        "\"jitter\":0.%u}}",
        i, one_of(r, bools, 2), one_of(r, regions, 4), i, pick(r, 4) + 1, one_of(r, regions, 4), i,
        one_of(r, coins, 8), one_of(r, coins, 8), one_of(r, coins, 8), pick(r, 90) * 100,
        pick(r, 500), pick(r, 20), pick(r, 20), pick(r, 10), pick(r, 20), pick(r, 9),
        one_of(r, coins, 8), pick(r, 60) * 1000, pick(r, 50) * 100, pick(r, 10) * 100,
        pick(r, 60) * 1000, pick(r, 9) + 1);
}

static int collector(char *text, size_t i, uint64_t *r)
{
    return snprintf(
        text, TEXT,
        "{\"kind\":\"collector\",\"venue\":\"venue-%u\",\"shard\":%zu,\"channels\":[\"trades\","
        "\"book_l2\",\"ticker\"],\"batch\":{\"max_rows\":%u,\"max_wait_ms\":%u,\"compress\":"
        "\"zstd\"},\"sink\":{\"topic\":\"md.raw.%s.%zu\",\"partitions\":%u,\"acks\":\"all\"},"
        "\"backfill\":{\"enabled\":%s,\"window\":\"%uh\"},\"resources\":{\"cpu\":\"%um\","
        "\"memory\":\"%uMi\"}}",
        pick(r, 400), i, pick(r, 50) * 100, pick(r, 40) * 25, one_of(r, regions, 4), i,
        pick(r, 64) + 1, one_of(r, bools, 2), pick(r, 48), pick(r, 40) * 100, pick(r, 64) * 64);
}

static int alert(char *text, size_t i, uint64_t *r)
{
    return snprintf(
        text, TEXT,
        "{\"alert\":\"feed_%zu_late\",\"expr\":\"max_over_time(feed_lag_seconds{venue=\\\"venue-%u"
        "\\\"}[%um]) > %u\",\"for\":\"%um\",\"severity\":\"%s\",\"labels\":{\"team\":\"market-data"
        "\",\"region\":\"%s\"},\"annotations\":{\"summary\":\"the feed of venue-%u is late\","
        "\"runbook\":\"https://runbooks.prism.example/feeds/late#%zu\"},\"notify\":[\"pager\","
        "\"mail:oncall-%u@prism.example\"]}",
        i, pick(r, 400), pick(r, 15) + 1, pick(r, 60), pick(r, 30), one_of(r, severities, 4),
        one_of(r, regions, 4), pick(r, 400), i, pick(r, 12));
}

static int storage(char *text, size_t i, uint64_t *r)
{
    return snprintf(
        text, TEXT,
        "{\"bucket\":\"md-archive-%zu\",\"engine\":\"parquet\",\"path\":\"s3://md-archive-%zu/%s/\""
        ",\"retention_days\":%u,\"tiering\":{\"warm_after_days\":%u,\"cold_after_days\":%u},"
        "\"compaction\":{\"schedule\":\"%u %u * * *\",\"target_mb\":%u},\"encryption\":{\"kms_key"
        "\":\"arn:aws:kms:%s:%u:key/md\"}}",
        i, i, one_of(r, regions, 4), pick(r, 3650), pick(r, 30), pick(r, 365), pick(r, 60),
        pick(r, 24), pick(r, 16) * 64, one_of(r, regions, 4), pick(r, 100000000));
}

static int feature(char *text, size_t i, uint64_t *r)
{
    return snprintf(
        text, TEXT,
        "{\"flag\":\"new-matching-%zu\",\"enabled\":%s,\"rollout\":{\"percent\":%u,\"salt\":\"%08x"
        "\",\"by\":\"account_id\"},\"variants\":{\"control\":%u,\"treatment\":%u},\"owner\":"
        "\"team-%u@prism.example\",\"expires\":\"2026-%02u-%02uT00:00:00Z\"}",
        i, one_of(r, bools, 2), pick(r, 101), pick(r, 0xffffffff), pick(r, 100), pick(r, 100),
        pick(r, 12), pick(r, 12) + 1, pick(r, 28) + 1);
}

int mp__config_values_make(mp__config_values *values, size_t count)
{
    static const struct {
        const char *name;
        int (*make)(char *text, size_t i, uint64_t *random);
    } schemas[] = {{"exchanges", exchange},
                   {"collectors", collector},
                   {"alerts", alert},
                   {"storage", storage},
                   {"features", feature}};
    char address[64], text[TEXT];
    uint64_t random = 7;
    int rc = 0;

    *values = (mp__config_values){.known = count / 2};
    for (size_t i = 0; i < count && rc == 0; i++) {
        size_t schema = i % (sizeof(schemas) / sizeof(schemas[0]));
        int size = schemas[schema].make(text, i, &random);

        (void)snprintf(address, sizeof(address), "production/%s/item-%zu", schemas[schema].name, i);
        rc = add(values, address, text, (size_t)size);
    }
    if (rc)
        mp__config_values_done(values);
    return rc;
}

/* ---- those of examples/config ---- */

typedef struct reading {
    mp__config_values *values;
    const char *folder, *environment;
    enum mp__config_cut cut;
} reading;

static bool begins_block(const char *line)
{
    return line[0] != ' ' && line[0] != '#' && line[0] != '\n' && line[0] != '\0' &&
           line[0] != '}' && line[0] != ']';
}

/* Cut @text where a line begins that is not indented. */
static int add_blocks(reading *r, const char *name, const char *text)
{
    const char *begin = NULL, *line = text;
    char address[256];
    size_t number = 0;
    int rc = 0;

    while (rc == 0) {
        const char *end = strchr(line, '\n');
        bool at_end = *line == '\0';

        if (at_end || begins_block(line)) {
            if (begin && (size_t)(line - begin) >= 64) {
                (void)snprintf(address, sizeof(address), "%s/%s/block.%zu", r->environment, name,
                               number++);
                rc = add(r->values, address, begin, (size_t)(line - begin));
            }
            begin = line;
        }
        if (at_end)
            break;
        line = end ? end + 1 : line + strlen(line);
    }
    return rc;
}

static int add_leaves(reading *r, const char *name, const mp__leaves *leaves)
{
    const char *dot = strchr(name, '.');
    char address[1024];
    int rc = 0;

    for (size_t i = 0; i < leaves->count && rc == 0; i++) {
        const mp__leaf *leaf = &leaves->items[i];

        (void)snprintf(address, sizeof(address), "%s/%.*s/%.*s", r->environment, (int)(dot - name),
                       name, (int)leaf->key.size, leaf->key.data);
        rc = add(r->values, address, leaf->value.data, leaf->value.size);
    }
    return rc;
}

static int add_document(reading *r, const char *name, const mp__leaves *leaves)
{
    char address[1024];
    mp__buf json = {0};
    int rc = mp__format_find("json")->print(leaves, &json, NULL);

    (void)snprintf(address, sizeof(address), "%s/documents/%s", r->environment, name);
    if (rc == 0)
        rc = add(r->values, address, json.data, json.size);
    mp__buf_done(&json);
    return rc;
}

static int add_parsed(reading *r, const char *name, const char *text)
{
    const mp__format *format = mp__format_of_path(name);
    mp__leaves leaves;
    int rc = format ? format->parse(mp_str_of(text), &leaves, NULL) : 0;

    if (!format || rc)
        return rc;
    rc =
        r->cut == MP__CONFIG_LEAVES ? add_leaves(r, name, &leaves) : add_document(r, name, &leaves);
    mp__leaves_done(&leaves);
    return rc;
}

static int read_one(void *context, const char *name)
{
    reading *r = context;
    char path[512], *text;
    size_t size;
    int rc;

    (void)snprintf(path, sizeof(path), "%s/%s/%s", r->folder, r->environment, name);
    rc = mp__env_read_file(mp__env_real(), path, FILE_MAX, &text, &size);
    if (rc)
        return rc;
    rc = r->cut == MP__CONFIG_BLOCKS ? add_blocks(r, name, text) : add_parsed(r, name, text);
    (void)mp__free(text);
    return rc;
}

int mp__config_values_read(mp__config_values *values, const char *folder, enum mp__config_cut cut)
{
    static const char *const environments[] = {"development", "staging", "production"};
    char path[512];
    int rc = 0;

    *values = (mp__config_values){.known = 0};
    for (size_t i = 0; i < 3 && rc == 0; i++) {
        reading r = {values, folder, environments[i], cut};

        values->known = values->count;
        (void)snprintf(path, sizeof(path), "%s/%s", folder, environments[i]);
        rc = mp__env_list(mp__env_real(), path, read_one, &r);
    }
    if (rc)
        mp__config_values_done(values);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* deploy/grafana/marketprism.json: a panel for every metric of the tables, in rows by what it is
 * about. The format is Grafana's dashboard model (schema 37, of Grafana 9 and later). */
#include <stdio.h>
#include <string.h>

#include "cli/pages.h"
#include "core/json.h"
#include "monitor/monitor.h"
#include "server/server.h"

enum { COLUMNS = 3, WIDTH = 24 / COLUMNS, HEIGHT = 7 };

/* Rows, each with what its metrics' names begin with; the last one takes the rest. */
static const struct {
    const char *title, *prefixes[6];
} rows[] = {
    {"Origin", {"origin_", "ready", "flight", "refreshes_"}},
    {"Memory", {"l1_", "l2_"}},
    {"Disk", {"l3_"}},
    {"Clients", {"resp_", "http_", "connections_", "protocol_", "received_", "sent_"}},
    {"Reads and writes", {""}},
};
enum { ROWS = sizeof(rows) / sizeof(rows[0]) };

typedef struct dashboard {
    mp__buf *out;
    int id, x, y;
} dashboard;

static int row_of(const char *name)
{
    for (int row = 0; row < ROWS; row++)
        for (size_t i = 0; i < 6 && rows[row].prefixes[i]; i++)
            if (strncmp(name, rows[row].prefixes[i], strlen(rows[row].prefixes[i])) == 0)
                return row;
    return ROWS - 1;
}

static void add_position(dashboard *d, int width, int height)
{
    mp__json_key(d->out, "gridPos");
    mp__json_begin(d->out, '{');
    mp__json_add_i64(d->out, "x", d->x);
    mp__json_add_i64(d->out, "y", d->y);
    mp__json_add_i64(d->out, "w", width);
    mp__json_add_i64(d->out, "h", height);
    mp__json_end(d->out, '}');
}

static void add_source(mp__buf *out)
{
    mp__json_key(out, "datasource");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "type", "prometheus");
    mp__json_add_text(out, "uid", "${source}");
    mp__json_end(out, '}');
}

/* "{{instance}} {{operation}} {{tier}}" */
static void add_legend(mp__buf *out, const mp__metric *m, const char *more)
{
    char text[160] = "{{instance}}";
    size_t used = strlen(text);

    for (const char *label = m->labels; *label;) {
        size_t size = strcspn(label, ",");

        used += (size_t)snprintf(text + used, sizeof(text) - used, " {{%.*s}}", (int)size, label);
        label += size + (label[size] == ',');
    }
    (void)snprintf(text + used, sizeof(text) - used, "%s", more);
    mp__json_add_text(out, "legendFormat", text);
}

static void add_target(mp__buf *out, const char *id, const char *query, const mp__metric *m,
                       const char *more)
{
    mp__json_begin(out, '{');
    mp__json_add_text(out, "refId", id);
    mp__json_add_text(out, "expr", query);
    add_legend(out, m, more);
    add_source(out);
    mp__json_end(out, '}');
}

static void add_targets(mp__buf *out, const mp__metric *m)
{
    static const char *const quantiles[][3] = {
        {"A", "0.5", " median"}, {"B", "0.99", " 99 %"}, {"C", "0.999", " 99.9 %"}};
    static const char where[] = "{instance=~\"$instance\"}";
    char query[400];

    if (m->kind == MP__METRIC_HISTOGRAM) {
        for (size_t i = 0; i < 3; i++) {
            (void)snprintf(query, sizeof(query),
                           "histogram_quantile(%s, sum by (le, instance%s%s) "
                           "(rate(marketprism_%s_bucket%s[$__rate_interval])))",
                           quantiles[i][1], m->labels[0] ? ", " : "", m->labels, m->name, where);
            add_target(out, quantiles[i][0], query, m, quantiles[i][2]);
        }
        return;
    }
    if (m->kind == MP__METRIC_COUNTER)
        (void)snprintf(query, sizeof(query), "rate(marketprism_%s%s[$__rate_interval])", m->name,
                       where);
    else
        (void)snprintf(query, sizeof(query), "marketprism_%s%s", m->name, where);
    add_target(out, "A", query, m, "");
}

static const char *unit_of(const mp__metric *m)
{
    bool is_rate = m->kind == MP__METRIC_COUNTER;

    if (strcmp(m->unit, "seconds") == 0)
        return "s";
    if (strcmp(m->unit, "bytes") == 0)
        return is_rate ? "Bps" : "bytes";
    if (strcmp(m->unit, "ratio") == 0)
        return "percentunit";
    return is_rate ? "cps" : "short";
}

static void add_unit(mp__buf *out, const mp__metric *m)
{
    mp__json_key(out, "fieldConfig");
    mp__json_begin(out, '{');
    mp__json_key(out, "defaults");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "unit", unit_of(m));
    mp__json_add_i64(out, "min", 0);
    mp__json_end(out, '}');
    mp__json_key(out, "overrides");
    mp__json_begin(out, '[');
    mp__json_end(out, ']');
    mp__json_end(out, '}');
}

static void add_panel(dashboard *d, const mp__metric *m)
{
    mp__json_begin(d->out, '{');
    mp__json_add_i64(d->out, "id", ++d->id);
    mp__json_add_text(d->out, "type", "timeseries");
    mp__json_add_text(d->out, "title", m->name);
    mp__json_add_text(d->out, "description", m->help);
    add_source(d->out);
    add_position(d, WIDTH, HEIGHT);
    add_unit(d->out, m);
    mp__json_key(d->out, "targets");
    mp__json_begin(d->out, '[');
    add_targets(d->out, m);
    mp__json_end(d->out, ']');
    mp__json_end(d->out, '}');
    d->x = (d->x + WIDTH) % 24;
    if (d->x == 0)
        d->y += HEIGHT;
}

static void add_table(dashboard *d, int row, const mp__metric *metrics, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (row_of(metrics[i].name) == row)
            add_panel(d, &metrics[i]);
}

static void add_row(dashboard *d, int row)
{
    mp__json_begin(d->out, '{');
    mp__json_add_i64(d->out, "id", ++d->id);
    mp__json_add_text(d->out, "type", "row");
    mp__json_add_text(d->out, "title", rows[row].title);
    mp__json_add_bool(d->out, "collapsed", false);
    add_position(d, 24, 1);
    mp__json_key(d->out, "panels");
    mp__json_begin(d->out, '[');
    mp__json_end(d->out, ']');
    mp__json_end(d->out, '}');
    d->y++;
    add_table(d, row, mp__monitor_metrics, mp__monitor_metric_count);
    add_table(d, row, mp__server_metrics, mp__server_metric_count);
    if (d->x) { /* the next row begins on the left */
        d->x = 0;
        d->y += HEIGHT;
    }
}

/* Where the data are, and of which daemons: chosen at the head of the dashboard. */
static void add_variables(mp__buf *out)
{
    mp__json_key(out, "templating");
    mp__json_begin(out, '{');
    mp__json_key(out, "list");
    mp__json_begin(out, '[');
    mp__json_begin(out, '{');
    mp__json_add_text(out, "name", "source");
    mp__json_add_text(out, "label", "Data source");
    mp__json_add_text(out, "type", "datasource");
    mp__json_add_text(out, "query", "prometheus");
    mp__json_end(out, '}');
    mp__json_begin(out, '{');
    mp__json_add_text(out, "name", "instance");
    mp__json_add_text(out, "label", "Daemon");
    mp__json_add_text(out, "type", "query");
    add_source(out);
    mp__json_add_text(out, "query", "label_values(marketprism_ready, instance)");
    mp__json_add_i64(out, "refresh", 2); /* when the span of time changes */
    mp__json_add_bool(out, "multi", true);
    mp__json_add_bool(out, "includeAll", true);
    mp__json_end(out, '}');
    mp__json_end(out, ']');
    mp__json_end(out, '}');
}

int mp__cli_grafana(mp__buf *out)
{
    dashboard d = {.out = out};

    mp__json_begin(out, '{');
    mp__json_add_text(out, "title", "MarketPrism");
    mp__json_add_text(out, "uid", "marketprism");
    mp__json_add_text(out, "description", "Every metric of MarketPrism. Made by make docs.");
    mp__json_add_i64(out, "schemaVersion", 37);
    mp__json_add_text(out, "refresh", "30s");
    mp__json_key(out, "time");
    mp__json_begin(out, '{');
    mp__json_add_text(out, "from", "now-3h");
    mp__json_add_text(out, "to", "now");
    mp__json_end(out, '}');
    add_variables(out);
    mp__json_key(out, "panels");
    mp__json_begin(out, '[');
    add_row(&d, ROWS - 1); /* what is asked of it comes first */
    for (int row = 0; row < ROWS - 1; row++)
        add_row(&d, row);
    mp__json_end(out, ']');
    mp__json_end(out, '}');
    (void)mp__buf_add_char(out, '\n');
    return out->error;
}

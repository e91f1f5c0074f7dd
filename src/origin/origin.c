/* SPDX-License-Identifier: Apache-2.0 */
/* The one list of kinds of origin, the states that all of them share, and the way to each. */
#include "origin/origin.h"

#include <stdio.h>

#include "core/option.h"
#include "origin/file.h"
#include "origin/sqlite.h"

static const mp__origin_ops *const kinds[] = {
    &mp__sqlite_ops,
    &mp__file_ops,
};
enum { KINDS = sizeof(kinds) / sizeof(kinds[0]) };

static const char *const state_names[] = {
    [MP__ORIGIN_OPENING] = "opening",   [MP__ORIGIN_LIVE] = "live",
    [MP__ORIGIN_DEGRADED] = "degraded", [MP__ORIGIN_DOWN] = "down",
    [MP__ORIGIN_LOST] = "lost",
};

static const mp__state_move state_moves[] = {
    {MP__ORIGIN_OPENING, MP__ORIGIN_LIVE},  {MP__ORIGIN_OPENING, MP__ORIGIN_DEGRADED},
    {MP__ORIGIN_OPENING, MP__ORIGIN_DOWN},  {MP__ORIGIN_OPENING, MP__ORIGIN_LOST},
    {MP__ORIGIN_LIVE, MP__ORIGIN_DEGRADED}, {MP__ORIGIN_LIVE, MP__ORIGIN_DOWN},
    {MP__ORIGIN_LIVE, MP__ORIGIN_LOST},     {MP__ORIGIN_DEGRADED, MP__ORIGIN_LIVE},
    {MP__ORIGIN_DEGRADED, MP__ORIGIN_DOWN}, {MP__ORIGIN_DEGRADED, MP__ORIGIN_LOST},
    {MP__ORIGIN_DOWN, MP__ORIGIN_LIVE},     {MP__ORIGIN_DOWN, MP__ORIGIN_DEGRADED},
    {MP__ORIGIN_DOWN, MP__ORIGIN_LOST},     {MP__ORIGIN_LOST, MP__ORIGIN_LIVE},
    {MP__ORIGIN_LOST, MP__ORIGIN_DEGRADED}, {MP__ORIGIN_LOST, MP__ORIGIN_DOWN},
};

const mp__state_table mp__origin_states = {
    "origin",
    state_names,
    sizeof(state_names) / sizeof(state_names[0]),
    state_moves,
    sizeof(state_moves) / sizeof(state_moves[0]),
};

int mp__origin_open(const char *kind, const mp__origin_options *options, mp__origin **ret_origin,
                    mp__diag *diag)
{
    const char *names[KINDS], *meant;
    char known[128] = "";
    size_t used = 0;

    for (size_t i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i]->name, kind) == 0)
            return kinds[i]->open(options, ret_origin, diag);
        names[i] = kinds[i]->name;
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", i ? ", " : "",
                                 kinds[i]->name);
    }
    meant = mp__did_you_mean(kind, names, KINDS);
    if (meant)
        return mp__diag_set(diag, MP_EINVAL,
                            "there is no kind of origin called '%s'; did you mean '%s'?", kind,
                            meant);
    return mp__diag_set(diag, MP_EINVAL, "there is no kind of origin called '%s'; there is: %s",
                        kind, known);
}

mp__origin *mp__origin_close(mp__origin *origin)
{
    return origin ? origin->ops->close(origin) : NULL;
}

void mp__origin_fetch(mp__origin *origin, mp__fetch *fetch)
{
    fetch->origin = origin;
    origin->ops->fetch(origin, fetch);
}

void mp__origin_write(mp__origin *origin, mp__write *write)
{
    write->origin = origin;
    origin->ops->write(origin, write);
}

void mp__origin_list(mp__origin *origin, mp__list *list)
{
    list->origin = origin;
    origin->ops->list(origin, list);
}

void mp__origin_history(mp__origin *origin, mp__history *history)
{
    history->origin = origin;
    origin->ops->history(origin, history);
}

void mp__origin_count(mp__origin *origin, mp__count *count)
{
    count->origin = origin;
    origin->ops->count(origin, count);
}

void mp__origin_changed(mp__origin *origin, mp__changed *changed)
{
    changed->origin = origin;
    if (origin->ops->changed)
        origin->ops->changed(origin, changed);
    else
        changed->done(changed, MP_EUNSUPPORTED, NULL, 0, 0);
}

void mp__origin_stats_read(mp__origin *origin, mp__origin_stats *ret_stats)
{
    origin->ops->stats(origin, ret_stats);
}

int mp__origin_salvage(mp__origin *origin, const mp__record *records, size_t count)
{
    return origin->ops->salvage ? origin->ops->salvage(origin, records, count) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/duty.h"

enum {
    CALIBRATIONS = 8,
    READS = 5, /* of the clock, for each request that is measured, by two who learn */
};

static const double LATELY = 1 << 22;  /* requests */
static const double CREDIT_MAX = 20e6; /* ns: what idle time is worth at most, and the start */
/* Between two looks at the CPU time: much longer than the turns that others have on a processor. */
static const double LOOK_NS = 50e6;
static const double RAN_TIMES = 1.5;  /* as much time counts as the process ran, */
static const double IDLE_WORTH = 0.1; /* or this share of it, whatever it did */
/* One request takes 0.1 to 4 us; what seems to take more was another thread's turn. */
static const double ONE_MAX = 20e3;

/* What reading the clock takes, at the least. */
static uint64_t calibrate(const mp__duty *d)
{
    uint64_t least = UINT64_MAX;

    for (int i = 0; i < CALIBRATIONS; i++) {
        uint64_t began = d->now_ns(d->context), took = d->now_ns(d->context) - began;

        least = took < least ? took : least;
    }
    return least;
}

void mp__duty_init(mp__duty *d, uint64_t (*now_ns)(void *context),
                   uint64_t (*cpu_ns)(void *context), void *context, size_t entries, double share)
{
    *d = (mp__duty){.now_ns = now_ns,
                    .cpu_ns = cpu_ns,
                    .context = context,
                    .share = share,
                    .until = MP__DUTY_EACH,
                    .worth = 1};
    d->clock_ns = calibrate(d);
    d->at_ns = d->looked_ns = now_ns(context);
    d->had_ns = cpu_ns(context);
    d->credit = CREDIT_MAX;
    mp__duty_renew(d, entries);
}

static void enter(mp__duty *d, enum mp__duty_state state)
{
    d->state = state;
    d->left = (double)d->entries * (state == MP__DUTY_WARMING ? MP__DUTY_WARM : MP__DUTY_JUDGE);
}

void mp__duty_renew(mp__duty *d, size_t entries)
{
    d->entries = entries;
    if (d->share <= 0)
        enter(d, MP__DUTY_OFF);
    else
        enter(d, d->state == MP__DUTY_OFF ? MP__DUTY_WARMING : MP__DUTY_ON);
}

void mp__duty_set_share(mp__duty *d, double share)
{
    if (share == d->share)
        return;
    d->share = share;
    d->credit = d->credit > 0 ? d->credit : 0; /* what was spent under the other is paid for */
    mp__duty_renew(d, d->entries);
}

static void look_at_cpu(mp__duty *d, uint64_t now)
{
    uint64_t had = d->cpu_ns(d->context);
    double worth = RAN_TIMES * (double)(had - d->had_ns) / (double)(now - d->looked_ns);

    d->worth = worth < IDLE_WORTH ? IDLE_WORTH : worth < 1 ? worth : 1;
    d->had_ns = had;
    d->looked_ns = now;
}

static void earn(mp__duty *d)
{
    uint64_t now = d->now_ns(d->context);

    if ((double)(now - d->looked_ns) >= LOOK_NS)
        look_at_cpu(d, now);
    d->credit += (double)(now - d->at_ns) * d->worth * d->share;
    d->credit = d->credit < CREDIT_MAX ? d->credit : CREDIT_MAX;
    d->at_ns = now;
}

/* The requests since the last turn. */
static void count(mp__duty *d)
{
    d->passed += MP__DUTY_EACH;
    d->seen += d->state == MP__DUTY_OFF ? 0 : MP__DUTY_EACH;
    if (d->passed < LATELY)
        return;
    d->passed /= 2;
    d->seen /= 2;
}

void mp__duty_turn(mp__duty *d)
{
    d->until = MP__DUTY_EACH;
    count(d);
    if (d->share <= 0)
        return;
    earn(d);
    d->left -= MP__DUTY_EACH;
    if (d->state == MP__DUTY_OFF && d->credit >= 0)
        enter(d, MP__DUTY_WARMING);
    else if (d->state == MP__DUTY_WARMING && d->left <= 0)
        enter(d, MP__DUTY_ON);
    else if (d->state == MP__DUTY_ON && d->left <= 0 && d->credit < 0 && d->share < 1)
        enter(d, MP__DUTY_OFF);
    if (d->state == MP__DUTY_OFF)
        return;
    d->is_timed = true;
    d->credit -= READS * (double)d->clock_ns;
}

double mp__duty_seen(const mp__duty *d)
{
    return d->passed > 0 ? d->seen / d->passed : 1;
}

void mp__duty_spent(mp__duty *d, uint64_t began_ns)
{
    uint64_t took = d->now_ns(d->context) - began_ns;
    double spent = took > d->clock_ns ? (double)(took - d->clock_ns) : 0;

    d->credit -= MP__DUTY_EACH * (spent < ONE_MAX ? spent : ONE_MAX);
}

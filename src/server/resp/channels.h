/* SPDX-License-Identifier: Apache-2.0 */
/* What is subscribed to, each channel, glob and prefix once, however many connections of however
 * many loops do: PUBSUB asks here and looks at nobody's connection, and the text of a channel is in
 * memory once.
 *
 * Any thread. 256 shards by hash, each with a lock that is held to look one up, or to take hold of
 * what a shard has; never while a glob is matched. */
#ifndef MP_SERVER_RESP_CHANNELS_H
#define MP_SERVER_RESP_CHANNELS_H

#include "core/error.h"
#include "core/hash.h"

/* A channel or a glob of channels, or the beginning of addresses that MP.WATCH listens to. */
enum mp__subscription_kind {
    MP__SUBSCRIPTION_CHANNEL,
    MP__SUBSCRIPTION_GLOB,
    MP__SUBSCRIPTION_PREFIX
};

enum { MP__SUBSCRIPTION_KINDS = MP__SUBSCRIPTION_PREFIX + 1, MP__CHANNEL_SIZE_MAX = UINT16_MAX };

typedef struct mp__channels mp__channels;
typedef struct mp__channel mp__channel;

MP_MUST_USE int mp__channels_new(mp__hash_key hash_key, mp__channels **ret_channels);
/* Nobody subscribes any more. Accepts NULL, returns NULL. */
mp__channels *mp__channels_free(mp__channels *channels);

/* One subscriber more to @text of at most MP__CHANNEL_SIZE_MAX bytes. *ret_channel is the same for
 * all of its subscribers, and lives until the last of them leaves it. MP_ENOMEM. */
MP_MUST_USE int mp__channels_enter(mp__channels *channels, mp_str text,
                                   enum mp__subscription_kind kind, mp__channel **ret_channel);
void mp__channels_leave(mp__channels *channels, mp__channel *channel);
mp_str mp__channel_text(const mp__channel *channel);

uint64_t mp__channel_hash(const mp__channel *channel);
/* That of a channel of this text. */
uint64_t mp__channels_hash(const mp__channels *channels, mp_str text);

/* How many subscribe to @text. */
uint32_t mp__channels_subscribers(mp__channels *channels, mp_str text,
                                  enum mp__subscription_kind kind);
/* How many different ones of @kind there are. */
size_t mp__channels_count(mp__channels *channels, enum mp__subscription_kind kind);

/* Tell of each channel of @kind that fits the glob @pattern, in no order; one that comes or goes
 * meanwhile may be told or not. MP_ELIMIT: it takes more than @steps_max, of which looking at a
 * channel costs one, matching as mp__glob_match() counts, and one that fits a quarter of its bytes;
 * MP_ENOMEM. */
MP_MUST_USE int mp__channels_fitting(mp__channels *channels, enum mp__subscription_kind kind,
                                     mp_str pattern, size_t steps_max,
                                     void (*found)(void *context, mp_str text), void *context);

#endif

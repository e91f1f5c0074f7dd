/* SPDX-License-Identifier: Apache-2.0 */
/* A set of pins: which addresses stay in memory. "environment/namespace/key", or with a * at the
 * end for all that begin so. Not locked: one thread at a time. */
#ifndef MP_CACHE_PINS_H
#define MP_CACHE_PINS_H

#include <stdbool.h>
#include <stddef.h>

#include "core/error.h"

enum { MP__PINS_MAX = 1024 };

typedef struct mp__pins mp__pins;

MP_MUST_USE int mp__pins_new(mp__pins **ret_pins);
mp__pins *mp__pins_free(mp__pins *pins); /* accepts NULL, returns NULL */

/* MP_EINVAL: @pattern is none; MP_ELIMIT: there are too many; both with a text. 0 also when it is
 * there already; then *ret_added (may be NULL) is false. MP_ENOMEM. */
MP_MUST_USE int mp__pins_add(mp__pins *pins, mp_str pattern, bool *ret_added, mp__diag *diag);
bool mp__pins_remove(mp__pins *pins, mp_str pattern); /* false: it is not there */
/* Whether some pin fits. Takes a search, and a comparison for each pin that ends in *. */
bool mp__pins_match(const mp__pins *pins, mp_str address);
size_t mp__pins_count(const mp__pins *pins);
/* The i-th, with its star; until the next change. */
mp_str mp__pins_at(const mp__pins *pins, size_t i);

/* MP_EINVAL: @pattern is no pin, with a text that says what one is. */
MP_MUST_USE int mp__pin_check(mp_str pattern, mp__diag *diag);
/* Whether @address is what the one pattern means. */
bool mp__pin_fits(mp_str pattern, mp_str address);

#endif

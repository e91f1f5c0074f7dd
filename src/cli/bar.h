/* SPDX-License-Identifier: Apache-2.0 */
/* The bar of what takes long, in one line of the terminal that stderr is. */
#ifndef MP_CLI_BAR_H
#define MP_CLI_BAR_H

#include <stddef.h>

/* "importing [##    ] 12 of 34 keys", over the one that was drawn before: @doing, @done, @of,
 * @total and @unit. In a narrow terminal the bar is shorter, or only the part of a hundred stands
 * there. */
void mp__bar_draw(const char *doing, size_t done, const char *of, size_t total, const char *unit);

#endif

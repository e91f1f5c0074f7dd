/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that libmarketprism offers. */
#ifndef MARKETPRISM_H
#define MARKETPRISM_H

#include <marketprism/blob.h>
#include <marketprism/cache.h>
#include <marketprism/error.h>
#include <marketprism/export.h>
#include <marketprism/str.h>
#include <marketprism/version.h>

#endif

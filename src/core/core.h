/* SPDX-License-Identifier: Apache-2.0 */
/* What everything stands on. core is many small things; others may include each by itself. */
#ifndef MP_CORE_CORE_H
#define MP_CORE_CORE_H

#include "core/address.h"
#include "core/alloc.h"
#include "core/blob.h"
#include "core/buf.h"
#include "core/env.h"
#include "core/error.h"
#include "core/hash.h"
#include "core/record.h"

#endif

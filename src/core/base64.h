/* SPDX-License-Identifier: Apache-2.0 */
/* Base64 (RFC 4648 sections 4 and 5): bytes in JSON, and tokens in URLs. Pure. */
#ifndef MP_CORE_BASE64_H
#define MP_CORE_BASE64_H

#include <stdbool.h>

#include "core/buf.h"

/* Append @bytes, padded; with @url in the alphabet for URLs, not padded. */
void mp__base64_add(mp__buf *out, mp_str bytes, bool url);
/* Append what @text stands for. False: it is none (part of it may be appended), or out->error. */
bool mp__base64_decode(mp_str text, bool url, mp__buf *out);

#endif

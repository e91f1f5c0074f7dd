/* SPDX-License-Identifier: Apache-2.0 */
/* Marks what the library exports; everything else is hidden. */
#ifndef MARKETPRISM_EXPORT_H
#define MARKETPRISM_EXPORT_H

#ifdef __cplusplus
#define MP_BEGIN_DECLS extern "C" {
#define MP_END_DECLS   }
#else
#define MP_BEGIN_DECLS
#define MP_END_DECLS
#endif

#define MP_API __attribute__((visibility("default")))

/* A result that must be looked at. */
#define MP_MUST_USE __attribute__((warn_unused_result))

#endif

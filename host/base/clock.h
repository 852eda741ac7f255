/* SPDX-License-Identifier: MIT
 *
 * Two clocks that are never mixed: monotonic milliseconds for every deadline
 * and duration (HAZARDS C1), UTC text for what people and the audit read.
 */
#ifndef NEAP_BASE_CLOCK_H
#define NEAP_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "host/base/error.h"

#define NEAP_FOREVER INT64_MAX

int64_t neap_clock_ms(void); /* CLOCK_MONOTONIC */
int64_t neap_clock_us(void);

/* now + timeout, without overflow; a timeout of 0 or less means for ever. */
int64_t neap_clock_deadline_ms(int64_t timeout_ms);

#define NEAP_UTC_SIZE 28
/* "2026-11-20T21:05:38.123456Z", RFC 3339 with microseconds. */
void neap_clock_utc(char text[NEAP_UTC_SIZE]);
/* The same of a moment in microseconds since 1970; years 1 to 9999, else the nearest. */
void neap_clock_utc_of(int64_t at_us, char text[NEAP_UTC_SIZE]);

int64_t neap_clock_utc_us(void); /* microseconds since 1970 */
/* The moment of such a text, in microseconds since 1970; false where it is none. */
bool neap_clock_utc_parse(const char *text, int64_t *out_us);

/* "500ms", "30s", "2min", "1h", "7d", also "1h30min"; a bare number is refused
 * (usage.arguments) because it does not say its unit; "0" alone is accepted.
 * At most NEAP_DURATION_MAX_MS, where PostgreSQL's own timeouts end (int4 milliseconds).
 * `name` is what the message calls it. */
#define NEAP_DURATION_MAX_MS INT32_MAX
bool neap_duration_parse(const char *text, const char *name, int64_t *out_ms,
                         struct neap_error *err);
/* The same without that end, for how long something is kept: at most a thousand years. */
bool neap_age_parse(const char *text, const char *name, int64_t *out_ms, struct neap_error *err);
/* "64MB", "1GB", "512kB" (powers of 1024); a bare number is refused. */
bool neap_size_parse(const char *text, const char *name, int64_t *out_bytes,
                     struct neap_error *err);

#define NEAP_DURATION_SIZE 32
/* For people: "340 ms", "2.1 s", "3 min 5 s". */
void neap_duration_text(int64_t duration_ms, char text[NEAP_DURATION_SIZE]);
#define NEAP_SIZE_SIZE 24
/* For people: "34.5 MB". */
void neap_size_text(int64_t bytes, char text[NEAP_SIZE_SIZE]);

#endif

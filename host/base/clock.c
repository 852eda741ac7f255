/* SPDX-License-Identifier: MIT
 *
 * The two clocks, and durations and sizes as people write them. A number that
 * does not say its unit is refused: 30 has meant seconds to one reader and
 * milliseconds to the next too often.
 */
#include "host/base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1},
    {"s", 1000},
    {"sec", 1000},
    {"min", 60000},
    {"h", 3600000},
    {"d", 86400000},
    {"m", 0 /* minutes or months: refused by name */},
    {NULL, 0},
};

static const struct unit size_units[] = {
    {"B", 1},          {"kB", 1LL << 10}, {"KB", 1LL << 10}, {"MB", 1LL << 20},
    {"GB", 1LL << 30}, {"TB", 1LL << 40}, {NULL, 0},
};

int64_t neap_clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t neap_clock_ms(void)
{
    return neap_clock_us() / 1000;
}

int64_t neap_clock_deadline_ms(int64_t timeout_ms)
{
    int64_t deadline = 0;

    if (timeout_ms <= 0 || __builtin_add_overflow(neap_clock_ms(), timeout_ms, &deadline))
        return NEAP_FOREVER;
    return deadline;
}

void neap_clock_utc(char text[NEAP_UTC_SIZE])
{
    struct timespec now;
    struct tm parts;
    char whole[24];

    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    if (strftime(whole, sizeof whole, "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        whole[0] = '\0'; /* a year past 9999: the clock is broken, not neap */
    snprintf(text, NEAP_UTC_SIZE, "%.19s.%06uZ", whole, (unsigned)now.tv_nsec / 1000 % 1000000);
}

static const struct unit *unit_of(const struct unit *units, const char *name, size_t length)
{
    for (; units->name; units++)
        if (strlen(units->name) == length && memcmp(units->name, name, length) == 0)
            return units;
    return NULL;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits at *text; false on overflow or when there are none. */
static bool read_number(const char **text, int64_t *out)
{
    const char *at = *text;

    *out = 0;
    for (; is_digit(*at); at++)
        if (__builtin_mul_overflow(*out, 10, out) || __builtin_add_overflow(*out, *at - '0', out))
            return false;
    if (at == *text)
        return false;
    *text = at;
    return true;
}

/* One or more (number, unit) pairs, units strictly falling: "1h30min" and not
 * "30min1h" or "1h1h", which are slips more often than wishes. */
static bool read_quantity(const char *text, const struct unit *units, int64_t *out)
{
    const struct unit *unit = NULL;
    int64_t last = INT64_MAX;
    int64_t number = 0;

    *out = 0;
    do {
        if (!read_number(&text, &number))
            return false;
        text += strspn(text, " ");
        size_t length = strcspn(text, "0123456789 ");
        unit = unit_of(units, text, length);
        if (!unit || unit->factor == 0 || unit->factor >= last)
            return false;
        last = unit->factor;
        if (__builtin_mul_overflow(number, unit->factor, &number) ||
            __builtin_add_overflow(*out, number, out))
            return false;
        text += length;
        text += *text == ' ' && is_digit(text[1]);
    } while (*text);
    return true;
}

bool neap_duration_parse(const char *text, const char *name, int64_t *out_ms,
                         struct neap_error *err)
{
    int64_t parsed = 0;

    if (text && strcmp(text, "0") == 0) {
        *out_ms = 0;
        return true;
    }
    if (text && read_quantity(text, duration_units, &parsed)) {
        *out_ms = parsed;
        return true;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "%s is not a duration: \"%s\"", name, text ? text : "");
    neap_error_hint(err, "Give a number with its unit: 500ms, 30s, 2min, 1h, 7d or 1h30min.");
    return false;
}

bool neap_size_parse(const char *text, const char *name, int64_t *out_bytes, struct neap_error *err)
{
    int64_t parsed = 0;

    if (text && strcmp(text, "0") == 0) {
        *out_bytes = 0;
        return true;
    }
    if (text && read_quantity(text, size_units, &parsed)) {
        *out_bytes = parsed;
        return true;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "%s is not a size: \"%s\"", name, text ? text : "");
    neap_error_hint(err, "Give a number with its unit: 512kB, 64MB or 1GB.");
    return false;
}

void neap_duration_text(int64_t duration_ms, char text[NEAP_DURATION_SIZE])
{
    int64_t seconds = duration_ms / 1000;

    if (duration_ms < 0)
        snprintf(text, NEAP_DURATION_SIZE, "0 ms");
    else if (duration_ms < 1000)
        snprintf(text, NEAP_DURATION_SIZE, "%" PRId64 " ms", duration_ms);
    else if (duration_ms < 60000)
        snprintf(text, NEAP_DURATION_SIZE, "%" PRId64 ".%d s", seconds,
                 (int)(duration_ms % 1000 / 100));
    else if (seconds < 3600)
        snprintf(text, NEAP_DURATION_SIZE, "%" PRId64 " min %d s", seconds / 60,
                 (int)(seconds % 60));
    else if (seconds < 86400)
        snprintf(text, NEAP_DURATION_SIZE, "%" PRId64 " h %d min", seconds / 3600,
                 (int)(seconds / 60 % 60));
    else
        snprintf(text, NEAP_DURATION_SIZE, "%" PRId64 " d %d h", seconds / 86400,
                 (int)(seconds / 3600 % 24));
}

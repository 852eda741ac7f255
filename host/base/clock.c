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

#define DAY_US 86400000000
#define AGE_MAX_MS (365000 * DAY_US / 1000)
#define UTC_MIN_US (-719162 * DAY_US)     /* 0001-01-01 */
#define UTC_MAX_US (2932897 * DAY_US - 1) /* the end of 9999-12-31 */

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

/* The date of a day since 1970 by the Gregorian calendar, whose years end with
 * February here. Not gmtime_r: that reads the file of the local time zone, at every
 * start. */
static void date_of(int64_t day, int64_t *year, int64_t *month, int64_t *day_of_month)
{
    int64_t days = day + 719468; /* since 1 March of year 0 */
    int64_t era = days / 146097; /* 400 years */
    int64_t of_era = days % 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t march = (5 * of_year + 2) / 153;

    *day_of_month = of_year - (153 * march + 2) / 5 + 1;
    *month = march < 10 ? march + 3 : march - 9;
    *year = era * 400 + year_of_era + (*month <= 2);
}

/* Ends at `end`; the digits' count is the field's. */
static void put(char *end, int64_t number, int digits)
{
    for (; digits > 0; digits--, number /= 10)
        *--end = (char)('0' + number % 10);
}

void neap_clock_utc_of(int64_t at_us, char text[NEAP_UTC_SIZE])
{
    int64_t year, month, day;

    at_us = at_us < UTC_MIN_US ? UTC_MIN_US : at_us > UTC_MAX_US ? UTC_MAX_US : at_us;
    int64_t since = at_us - UTC_MIN_US; /* never negative, so that division rounds down */
    int64_t of_day = since % DAY_US;

    date_of(since / DAY_US + UTC_MIN_US / DAY_US, &year, &month, &day);
    memcpy(text, "0000-00-00T00:00:00.000000Z", NEAP_UTC_SIZE);
    put(text + 4, year, 4);
    put(text + 7, month, 2);
    put(text + 10, day, 2);
    put(text + 13, of_day / 3600000000, 2);
    put(text + 16, of_day / 60000000 % 60, 2);
    put(text + 19, of_day / 1000000 % 60, 2);
    put(text + 26, of_day % 1000000, 6);
}

/* Of a date of that calendar: the other way of date_of. */
static int64_t day_of(int64_t year, int64_t month, int64_t day_of_month)
{
    int64_t since = year - (month <= 2); /* years end with February */
    int64_t era = since / 400, year_of_era = since % 400;
    int64_t march = month > 2 ? month - 3 : month + 9;
    int64_t of_year = (153 * march + 2) / 5 + day_of_month - 1;

    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year -
           719468;
}

/* Takes `digits` of them at *at and what ends them. */
static bool take(const char **at, int digits, char end, int64_t *out)
{
    for (*out = 0; digits > 0; digits--, (*at)++) {
        if (**at < '0' || **at > '9')
            return false;
        *out = *out * 10 + (**at - '0');
    }
    return *(*at)++ == end;
}

bool neap_clock_utc_parse(const char *text, int64_t *out_us)
{
    int64_t year, month, day, hour, minute, second, us;
    bool is_one = take(&text, 4, '-', &year) && take(&text, 2, '-', &month) &&
                  take(&text, 2, 'T', &day) && take(&text, 2, ':', &hour) &&
                  take(&text, 2, ':', &minute) && take(&text, 2, '.', &second) &&
                  take(&text, 6, 'Z', &us) && *text == '\0' && year > 0 && month > 0 &&
                  month <= 12 && day > 0;

    if (is_one)
        *out_us =
            day_of(year, month, day) * DAY_US + ((hour * 60 + minute) * 60 + second) * 1000000 + us;
    return is_one;
}

int64_t neap_clock_utc_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void neap_clock_utc(char text[NEAP_UTC_SIZE])
{
    neap_clock_utc_of(neap_clock_utc_us(), text);
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

/* *fits: at most `most`; else the message is the caller's. */
static bool read_duration(const char *text, const char *name, int64_t most, int64_t *out_ms,
                          bool *fits, struct neap_error *err)
{
    int64_t parsed = 0;

    *fits = true;
    if (text && (strcmp(text, "0") == 0 || read_quantity(text, duration_units, &parsed))) {
        *fits = parsed <= most;
        if (*fits)
            *out_ms = parsed;
        else
            neap_error_set(err, NEAP_ERR_USAGE, "%s is too long: \"%s\"", name, text);
        return *fits;
    }
    neap_error_set(err, NEAP_ERR_USAGE, "%s is not a duration: \"%s\"", name, text ? text : "");
    neap_error_hint(err, "Give a number with its unit: 500ms, 30s, 2min, 1h, 7d or 1h30min.");
    return false;
}

bool neap_duration_parse(const char *text, const char *name, int64_t *out_ms,
                         struct neap_error *err)
{
    bool fits;

    if (read_duration(text, name, NEAP_DURATION_MAX_MS, out_ms, &fits, err))
        return true;
    if (!fits)
        neap_error_hint(err, "PostgreSQL's timeouts end at 24d; give that or less.");
    return false;
}

bool neap_age_parse(const char *text, const char *name, int64_t *out_ms, struct neap_error *err)
{
    bool fits;

    if (read_duration(text, name, AGE_MAX_MS, out_ms, &fits, err))
        return true;
    if (!fits)
        neap_error_hint(err, "Give 365000d or less.");
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

void neap_size_text(int64_t bytes, char text[NEAP_SIZE_SIZE])
{
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB"};
    double size = (double)bytes;
    size_t unit = 0;

    for (; size >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
        size /= 1024;
    (void)snprintf(text, NEAP_SIZE_SIZE, unit == 0 ? "%.0f %s" : "%.1f %s", size, units[unit]);
}

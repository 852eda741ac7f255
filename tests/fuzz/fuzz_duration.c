/* SPDX-License-Identifier: MIT
 *
 * Durations and sizes as people write them: what is accepted is a sum of numbers
 * with units that an independent reading gives too, and never negative.
 */
#include <inttypes.h>

#include "host/base/clock.h"
#include "tests/fuzz/fuzz.h"

#define SIZE_MAX_BYTES 256

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {{"ms", 1},      {"sec", 1000},  {"s", 1000},
                                             {"min", 60000}, {"h", 3600000}, {"d", 86400000},
                                             {NULL, 0}};
static const struct unit size_units[] = {{"B", 1},           {"kB", 1ULL << 10}, {"KB", 1ULL << 10},
                                         {"MB", 1ULL << 20}, {"GB", 1ULL << 30}, {"TB", 1ULL << 40},
                                         {NULL, 0}};

/* What the text says by sscanf, in 128 bits; the text has been accepted. */
static unsigned __int128 sum_of(const char *text, const struct unit *units)
{
    unsigned __int128 sum = 0;
    uint64_t number = 0;
    char name[8] = "";
    int used = 0;

    while (sscanf(text, "%" SCNu64 " %7[A-Za-z] %n", &number, name, &used) == 2) {
        const struct unit *unit = units;

        while (unit->name && strcmp(unit->name, name) != 0)
            unit++;
        FUZZ_CHECK(unit->name, "the unit \"%s\" of %s", name, text);
        sum += (unsigned __int128)number * unit->factor;
        text += used;
    }
    FUZZ_CHECK(*text == '\0' || strcmp(text, "0") == 0, "\"%s\" is no quantity", text);
    return sum;
}

static void check_duration(const char *text)
{
    struct neap_error err = {0};
    int64_t value = -1, again = -1;
    char shown[NEAP_DURATION_SIZE], spelled[32];

    if (!neap_duration_parse(text, "timeout", &value, &err)) {
        FUZZ_CHECK(err.code == NEAP_ERR_USAGE && err.message && err.hint, "no reason");
        neap_error_clear(&err);
        return;
    }
    FUZZ_CHECK(value >= 0 && sum_of(text, duration_units) == (uint64_t)value,
               "%s is not %" PRId64 " ms", text, value);
    snprintf(spelled, sizeof spelled, "%" PRId64 "ms", value);
    FUZZ_CHECK(neap_duration_parse(spelled, "timeout", &again, NULL) && again == value,
               "%s is not %s", text, spelled);
    memset(shown, 'x', sizeof shown);
    neap_duration_text(value, shown);
    FUZZ_CHECK(memchr(shown, '\0', sizeof shown), "%" PRId64 " ms is cut", value);
    FUZZ_CHECK(strlen(shown) + 1 < sizeof shown, "%" PRId64 " ms has no room", value);
    FUZZ_CHECK(neap_clock_deadline_ms(value) > 0, "%" PRId64 " ms is long ago", value);
}

static void check_size(const char *text)
{
    struct neap_error err = {0};
    int64_t value = -1;

    if (neap_size_parse(text, "size", &value, &err))
        FUZZ_CHECK(value >= 0 && sum_of(text, size_units) == (uint64_t)value,
                   "%s is not %" PRId64 " bytes", text, value);
    else
        FUZZ_CHECK(err.code == NEAP_ERR_USAGE && err.message && err.hint, "no reason");
    neap_error_clear(&err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char shown[NEAP_DURATION_SIZE];
    int64_t any = 0;

    if (size > SIZE_MAX_BYTES)
        return 0;
    if (size >= sizeof any)
        memcpy(&any, data, sizeof any);
    neap_duration_text(any, shown);
    FUZZ_CHECK(strlen(shown) + 1 < sizeof shown, "%" PRId64 " ms has no room", any);
    char *text = fuzz_string(data, size);

    check_duration(text);
    check_size(text);
    free(text);
    return 0;
}

/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. A target says what must hold for every input by
 * FUZZ_CHECK; sanitizers say the rest. Inputs are copied to blocks of their exact
 * size, so that one byte too far is seen.
 */
#ifndef NEAP_TESTS_FUZZ_FUZZ_H
#define NEAP_TESTS_FUZZ_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"

#define FUZZ_CHECK(condition, ...)                                          \
    do {                                                                    \
        if (!(condition)) {                                                 \
            fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                   \
            fprintf(stderr, "\n");                                          \
            abort();                                                        \
        }                                                                   \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The bytes up to the first NUL, as a string; the caller frees. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
    return neap_strndup((const char *)data, size);
}

/* The bytes in a block of exactly their size; the caller frees. */
static inline char *fuzz_block(const void *data, size_t size)
{
    char *block = malloc(size ? size : 1);

    FUZZ_CHECK(block, "no memory for %zu bytes", size);
    memcpy(block, data, size);
    return block;
}

#endif

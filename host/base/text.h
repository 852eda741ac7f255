/* SPDX-License-Identifier: MIT
 *
 * Words: the nearest known one, and checks of what others call text.
 */
#ifndef NEAP_BASE_TEXT_H
#define NEAP_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The word of `words` (NULL-terminated) nearest to `word` by edit distance, or
 * NULL when none is near enough to be what was meant. */
const char *neap_text_nearest(const char *word, const char *const *words);
/* Decodes the first character: its size in bytes, 0 when there is no valid one. */
size_t neap_text_decode(const char *bytes, size_t length, uint32_t *out);
bool neap_text_is_utf8(const char *bytes, size_t length);
/* How many bytes in front are printable ASCII: one character and one column each. */
size_t neap_text_plain(const char *text);
/* Columns on a terminal (East Asian wide counts two, combining none). */
size_t neap_text_width(const char *text);
size_t neap_text_code_width(uint32_t code); /* 0, 1 or 2 */

#endif

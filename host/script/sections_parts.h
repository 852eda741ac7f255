/* SPDX-License-Identifier: MIT
 *
 * What the sections*.c files share. For them alone.
 */
#ifndef NEAP_SCRIPT_SECTIONS_PARTS_H
#define NEAP_SCRIPT_SECTIONS_PARTS_H

#include "host/script/sections.h"

/* While a file is read. */
struct sections_read {
    const struct neap_source_file *file;
    struct neap_sections *out;
    struct neap_error *err;
    struct neap_sql_section *section; /* the open one, or NULL */
    size_t section_from;              /* offset of its first byte */
    int section_from_line;
    unsigned given; /* bits of header directives seen */
};

/* False with script.contract at `line`. */
bool sections_fail(const struct sections_read *read, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Obeys one directive: the text behind "neap:", trimmed. `end` is the offset
 * where the section before it ends, `next` where the one it opens begins. */
struct sections_directive {
    const char *word;  /* "up" */
    const char *value; /* "" when none */
    int line;
    size_t end, next;
};
bool sections_obey(struct sections_read *read, const struct sections_directive *directive);
/* Splits and checks the statements of the open section, which ends at `end`. */
bool sections_end(struct sections_read *read, size_t end);
/* What is missing or empty when the whole file has been read. */
bool sections_check_whole(const struct sections_read *read);
/* The nearest directive to `word`, or NULL; an exact one is itself. */
const char *sections_nearest(const char *word);

#endif

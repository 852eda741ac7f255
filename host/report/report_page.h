/* SPDX-License-Identifier: MIT
 *
 * A page of text for people: headings, labelled lines, lines that are wrapped at 80
 * columns. Private to host/report.
 */
#ifndef NEAP_REPORT_REPORT_PAGE_H
#define NEAP_REPORT_REPORT_PAGE_H

#include "host/base/buffer.h"

#define NEAP_PAGE_COLUMNS 80

struct neap_page {
    struct neap_buffer text;
};

/* Control characters in what is given are escaped, in every function. */
void neap_page_heading(struct neap_page *page, const char *heading);
/* "label        text", wrapped under the text. */
void neap_page_field(struct neap_page *page, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* A line behind `indent` blanks, wrapped two columns further in. */
void neap_page_line(struct neap_page *page, int indent, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Several lines, each behind `indent` blanks and none of them wrapped: a diff. */
void neap_page_block(struct neap_page *page, int indent, const char *text);

#endif

/* SPDX-License-Identifier: MIT
 *
 * Text of others on a terminal: what moves the cursor, reorders or breaks a line is
 * spelled out.
 */
#include <string.h>

#include "host/base/buffer.h"
#include "host/base/log.h"
#include "host/base/text.h"

/* Marks that reorder or break a line where the reader cannot see it. */
static bool is_deceiving(uint32_t code)
{
    return (code >= 0x80 && code < 0xa0) || code == 0x61c || code == 0x200e || code == 0x200f ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069) ||
           code == 0xfeff;
}

char *neap_printable(const char *text, bool keep_newlines)
{
    struct neap_buffer out = {0};
    size_t length = text ? strlen(text) : 0;

    while (length) {
        uint32_t code = 0;
        size_t plain = neap_text_plain(text);

        if (plain) {
            neap_buffer_add(&out, text, plain);
            text += plain;
            length -= plain;
            continue;
        }
        size_t size = neap_text_decode(text, length, &code);
        bool kept = keep_newlines && (*text == '\n' || *text == '\t');

        if (size == 0 || ((code < 0x20 || code == 0x7f) && !kept))
            neap_buffer_add_format(&out, "\\x%02x", (unsigned)(unsigned char)*text);
        else if (is_deceiving(code))
            neap_buffer_add_format(&out, "\\u{%x}", (unsigned)code);
        else
            neap_buffer_add(&out, text, size);
        text += size ? size : 1;
        length -= size ? size : 1;
    }
    return neap_buffer_take(&out);
}

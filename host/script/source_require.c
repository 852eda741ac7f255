/* SPDX-License-Identifier: MIT
 *
 * Which lib modules a Lua file requires, by its tokens: require "x",
 * require("x"), require'x', require[[x]]. Surprising: a computed argument is no
 * error here; the sandbox's require refuses what is not among the files.
 */
#include <stdlib.h>
#include <string.h>

#include "host/base/memory.h"
#include "host/script/source_lua.h"
#include "host/script/source_parts.h"

/* The stdlib's are in the binary and versioned with it. */
static bool is_stdlib(const char *name, size_t length)
{
    return (length == 4 && memcmp(name, "neap", 4) == 0) ||
           (length > 5 && memcmp(name, "neap.", 5) == 0);
}

/* Four tokens are enough to see `require ( "x" )`; [0] is the one before. */
struct require_window {
    struct source_lua_token tokens[5];
};

static void window_move(struct require_window *window, const struct source_lua_token *token)
{
    memmove(window->tokens, window->tokens + 1, sizeof window->tokens - sizeof *token);
    window->tokens[4] = *token;
}

/* The literal argument when window [1] is `require` as a plain name. */
static bool window_require(const char *text, const struct require_window *window, const char **name,
                           size_t *length)
{
    static const char *const others[] = {".", ":", "function", "goto", "local"};
    const struct source_lua_token *tokens = window->tokens;
    if (!source_lua_is(text, &tokens[1], "require"))
        return false;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (source_lua_is(text, &tokens[0], others[i]))
            return false;
    if (source_lua_literal(text, &tokens[2], name, length))
        return true;
    return source_lua_is(text, &tokens[2], "(") &&
           source_lua_literal(text, &tokens[3], name, length) &&
           (source_lua_is(text, &tokens[4], ")") || source_lua_is(text, &tokens[4], ","));
}

bool source_may_require(const struct neap_source_file *file)
{
    return memmem(file->text, file->length, "require", 7) != NULL;
}

struct source_require *source_requires(const struct neap_source_file *file, size_t *count)
{
    struct source_require *list = NULL;
    struct require_window window = {0};
    struct source_lua_scan scan;
    struct source_lua_token token;
    const char *name;
    size_t length;
    int ended = 0;
    *count = 0;
    if (!source_may_require(file))
        return NULL;
    source_lua_init(&scan, file->text, file->length);
    while (ended < 4) { /* the window passes over the last tokens too */
        ended += source_lua_next(&scan, &token) ? 0 : 1;
        window_move(&window, &token);
        if (!window_require(file->text, &window, &name, &length) || is_stdlib(name, length))
            continue;
        list = neap_realloc(list, (*count + 1) * sizeof *list);
        list[*count] = (struct source_require){neap_strndup(name, length), window.tokens[1].line};
        ++*count;
    }
    return list;
}

void source_requires_free(struct source_require *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].module);
    free(list);
}

/* SPDX-License-Identifier: MIT
 *
 * Owns the matching of Lua patterns at one position, as Lua's manual (6.4.1)
 * describes it. It knows no function of string.*. Surprise: it looks at the run's
 * stop every few thousand steps, which is why it exists.
 */
#include "host/script/script_match.h"

#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

#include "host/script/script_state.h"

#define STEPS_BETWEEN_LOOKS 16384U
#define DEPTH_MAX 200 /* nested attempts: one per quantifier or capture of the pattern */

static void count_steps(struct neap_match *match, size_t steps)
{
    match->step_count += (unsigned)(steps > STEPS_BETWEEN_LOOKS ? STEPS_BETWEEN_LOOKS : steps);
    if (match->step_count < STEPS_BETWEEN_LOOKS)
        return;
    match->step_count = 0;
    if (neap_script_is_stopping(match->L))
        neap_script_stop_here(match->L);
}

static int byte_at(const char *at)
{
    return (unsigned char)*at;
}

static const char *malformed(struct neap_match *match, const char *why)
{
    luaL_error(match->L, "malformed pattern (%s)", why);
    return NULL;
}

/* Past the single-character class that begins at `item`. */
static const char *item_end(struct neap_match *match, const char *item)
{
    const char *at = item + 1;
    if (*item == '%')
        return at == match->pattern_end ? malformed(match, "ends with '%'") : at + 1;
    if (*item != '[')
        return at;
    if (at < match->pattern_end && *at == '^')
        at++;
    /* A ']' that comes first stands for itself. */
    for (bool is_first = true;; is_first = false) {
        if (at == match->pattern_end)
            return malformed(match, "missing ']'");
        if (*at == ']' && !is_first)
            return at + 1;
        if (*at++ == '%' && at++ == match->pattern_end)
            return malformed(match, "missing ']'");
    }
}

static bool class_has(int class, int c)
{
    bool has;
    switch (tolower(class)) {
    case 'a':
        has = isalpha(c) != 0;
        break;
    case 'c':
        has = iscntrl(c) != 0;
        break;
    case 'd':
        has = isdigit(c) != 0;
        break;
    case 'g':
        has = isgraph(c) != 0;
        break;
    case 'l':
        has = islower(c) != 0;
        break;
    case 'p':
        has = ispunct(c) != 0;
        break;
    case 's':
        has = isspace(c) != 0;
        break;
    case 'u':
        has = isupper(c) != 0;
        break;
    case 'w':
        has = isalnum(c) != 0;
        break;
    case 'x':
        has = isxdigit(c) != 0;
        break;
    default:
        return class == c;
    }
    return isupper(class) ? !has : has;
}

/* `set` at its '[', `last` at its ']'. */
static bool set_has(const char *set, const char *last, int c)
{
    bool wanted = set[1] != '^';
    const char *at = set + (wanted ? 1 : 2);
    while (at < last) {
        if (*at == '%') {
            if (class_has(byte_at(at + 1), c))
                return wanted;
            at += 2;
        } else if (at[1] == '-' && at + 2 < last) {
            if (byte_at(at) <= c && c <= byte_at(at + 2))
                return wanted;
            at += 3;
        } else if (byte_at(at++) == c) {
            return wanted;
        }
    }
    return !wanted;
}

static bool item_has(const char *item, const char *end, int c)
{
    switch (*item) {
    case '.':
        return true;
    case '%':
        return class_has(byte_at(item + 1), c);
    case '[':
        return set_has(item, end - 1, c);
    default:
        return byte_at(item) == c;
    }
}

static bool is_match(struct neap_match *match, const char *at, const char *item, const char *end)
{
    if (*item == '[')
        count_steps(match, (size_t)(end - item)); /* a set may be a megabyte */
    return at < match->text_end && item_has(item, end, byte_at(at));
}

static const char *try_at(struct neap_match *match, const char *at, const char *pattern);

/* As many as possible, then fewer. */
static const char *match_most(struct neap_match *match, const char *at, const char *item,
                              const char *end)
{
    ptrdiff_t count = 0;
    while (is_match(match, at + count, item, end))
        count++;
    count_steps(match, (size_t)count);
    for (; count >= 0; count--) {
        const char *found = try_at(match, at + count, end + 1);
        if (found != NULL)
            return found;
    }
    return NULL;
}

/* As few as possible, then more. */
static const char *match_least(struct neap_match *match, const char *at, const char *item,
                               const char *end)
{
    for (;; at++) {
        const char *found = try_at(match, at, end + 1);
        if (found != NULL)
            return found;
        if (!is_match(match, at, item, end))
            return NULL;
    }
}

static const char *match_balanced(struct neap_match *match, const char *at, const char *pair)
{
    int depth = 1;
    if (pair + 1 >= match->pattern_end)
        return malformed(match, "missing arguments to '%b'");
    if (at >= match->text_end || *at != pair[0])
        return NULL;
    const char *start = at;
    for (at++; at < match->text_end; at++) {
        if (*at == pair[1])
            depth--;
        else if (*at == pair[0])
            depth++;
        if (depth == 0)
            break;
    }
    count_steps(match, (size_t)(at - start));
    return depth == 0 ? at + 1 : NULL;
}

static bool is_frontier(struct neap_match *match, const char *at, const char *set, const char *end)
{
    int before = at == match->text ? 0 : byte_at(at - 1);
    int here = at == match->text_end ? 0 : byte_at(at);
    return !set_has(set, end - 1, before) && set_has(set, end - 1, here);
}

static const char *match_back(struct neap_match *match, const char *at, int digit)
{
    int index = digit - '1';
    if (index < 0 || index >= match->level || match->captures[index].length == NEAP_CAPTURE_OPEN) {
        luaL_error(match->L, "invalid capture index %%%d", index + 1);
        return NULL;
    }
    ptrdiff_t length = match->captures[index].length;
    if (length < 0)
        length = 0; /* a position is compared as nothing */
    count_steps(match, (size_t)length);
    bool is_same = match->text_end - at >= length &&
                   memcmp(match->captures[index].start, at, (size_t)length) == 0;
    return is_same ? at + length : NULL;
}

static const char *match_open(struct neap_match *match, const char *at, const char *pattern)
{
    bool is_position = pattern + 1 < match->pattern_end && pattern[1] == ')';
    if (match->level >= NEAP_MATCH_CAPTURE_MAX) {
        luaL_error(match->L, "too many captures");
        return NULL;
    }
    match->captures[match->level].start = at;
    match->captures[match->level].length = is_position ? NEAP_CAPTURE_POSITION : NEAP_CAPTURE_OPEN;
    match->level++;
    const char *found = try_at(match, at, pattern + (is_position ? 2 : 1));
    if (found == NULL)
        match->level--;
    return found;
}

static const char *match_close(struct neap_match *match, const char *at, const char *pattern)
{
    int index = match->level - 1;
    while (index >= 0 && match->captures[index].length != NEAP_CAPTURE_OPEN)
        index--;
    if (index < 0) {
        luaL_error(match->L, "invalid pattern capture");
        return NULL;
    }
    match->captures[index].length = at - match->captures[index].start;
    const char *found = try_at(match, at, pattern + 1);
    if (found == NULL)
        match->captures[index].length = NEAP_CAPTURE_OPEN;
    return found;
}

/* %b, %f and %1 consume a piece: *pattern moves behind it. *is_plain: it is none
 * of them, but a class. */
static const char *match_special(struct neap_match *match, const char *at, const char **pattern,
                                 bool *is_plain)
{
    const char *item = *pattern;
    int kind = item + 1 < match->pattern_end ? byte_at(item + 1) : 0;
    *is_plain = false;
    if (kind == 'b') {
        *pattern = item + 4;
        return match_balanced(match, at, item + 2);
    }
    if (kind == 'f') {
        const char *set = item + 2;
        if (set >= match->pattern_end || *set != '[') {
            luaL_error(match->L, "missing '[' after '%%f' in pattern");
            return NULL;
        }
        *pattern = item_end(match, set);
        count_steps(match, (size_t)(*pattern - set));
        return is_frontier(match, at, set, *pattern) ? at : NULL;
    }
    if (isdigit(kind)) {
        *pattern = item + 2;
        return match_back(match, at, kind);
    }
    *is_plain = true;
    return at;
}

/* One class with its quantifier. *is_last: the result is the answer; otherwise
 * the walk goes on at the result with *pattern. */
static const char *match_item(struct neap_match *match, const char *at, const char **pattern,
                              bool *is_last)
{
    const char *item = *pattern;
    const char *end = item_end(match, item);
    int quantifier = end < match->pattern_end ? *end : 0;
    bool is_here = is_match(match, at, item, end);
    *is_last = true;
    switch (quantifier) {
    case '*':
        return match_most(match, at, item, end);
    case '+':
        return is_here ? match_most(match, at + 1, item, end) : NULL;
    case '-':
        return match_least(match, at, item, end);
    case '?': {
        const char *found = is_here ? try_at(match, at + 1, end + 1) : NULL;
        *is_last = found != NULL;
        *pattern = end + 1;
        return found != NULL ? found : at;
    }
    default:
        *is_last = !is_here;
        *pattern = end;
        return is_here ? at + 1 : NULL;
    }
}

static const char *walk(struct neap_match *match, const char *at, const char *pattern)
{
    while (pattern != match->pattern_end) {
        bool is_plain = true, is_last = false;
        count_steps(match, 1);
        if (*pattern == '(')
            return match_open(match, at, pattern);
        if (*pattern == ')')
            return match_close(match, at, pattern);
        if (*pattern == '$' && pattern + 1 == match->pattern_end)
            return at == match->text_end ? at : NULL;
        if (*pattern == '%')
            at = match_special(match, at, &pattern, &is_plain);
        if (is_plain)
            at = match_item(match, at, &pattern, &is_last);
        if (at == NULL || is_last)
            return at;
    }
    return at;
}

static const char *try_at(struct neap_match *match, const char *at, const char *pattern)
{
    if (++match->depth > DEPTH_MAX)
        luaL_error(match->L, "pattern too complex");
    const char *found = walk(match, at, pattern);
    match->depth--;
    return found;
}

const char *neap_match_at(struct neap_match *match, const char *at, const char *pattern)
{
    match->level = 0;
    match->depth = 0;
    return try_at(match, at, pattern);
}

void neap_match_push(struct neap_match *match, int index, const char *start, const char *end)
{
    if (index >= match->level) {
        if (index != 0)
            luaL_error(match->L, "invalid capture index %%%d", index + 1);
        lua_pushlstring(match->L, start, (size_t)(end - start));
        return;
    }
    const char *from = match->captures[index].start;
    ptrdiff_t length = match->captures[index].length;
    if (length == NEAP_CAPTURE_OPEN)
        luaL_error(match->L, "unfinished capture");
    if (length == NEAP_CAPTURE_POSITION)
        lua_pushinteger(match->L, from - match->text + 1);
    else
        lua_pushlstring(match->L, from, (size_t)length);
}

int neap_match_push_all(struct neap_match *match, const char *start, const char *end)
{
    int count = match->level == 0 && start != NULL ? 1 : match->level;
    luaL_checkstack(match->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        neap_match_push(match, i, start, end);
    return count;
}

/* SPDX-License-Identifier: MIT
 *
 * Lua values as JSON text and back, without loss: integers stay integers, every
 * other number comes back as the text it was written in. It knows no
 * connection. Surprise: not jansson, which has only doubles for "1.10" and
 * keeps its own memory outside the script's cap.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/pg/pg_lua_part.h"
#include "host/base/text.h"

#define JSON_DEPTH_MAX 100

/* ---- encode ---- */

struct encoder {
    struct pg_lua_slot *slot;
    struct neap_buffer *out; /* the slot's */
    bool empty_array;        /* {} is [] */
};

static void encode(lua_State *L, struct encoder *encoder, int index, int depth);

static void encode_text(lua_State *L, struct encoder *encoder, int index)
{
    struct neap_buffer *out = encoder->out;
    size_t length;
    const char *text = lua_tolstring(L, index, &length);
    if (!neap_text_is_utf8(text, length))
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "a JSON string must be valid UTF-8");
    if (memchr(text, '\0', length) != NULL)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "a JSON string for PostgreSQL cannot hold a NUL");
    neap_buffer_add_char(out, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        if (i % 4096 == 0)
            pg_lua_slot_count(L, encoder->slot, (size_t)4096 * 6); /* \u0001 is six bytes */
        if (c == '"' || c == '\\') {
            neap_buffer_add_char(out, '\\');
            neap_buffer_add_char(out, (char)c);
        } else if (c < 0x20) {
            neap_buffer_add_format(out, "\\u%04x", c);
        } else {
            neap_buffer_add_char(out, (char)c);
        }
    }
    neap_buffer_add_char(out, '"');
}

static void encode_array(lua_State *L, struct encoder *encoder, int index, int depth)
{
    lua_Integer count = (lua_Integer)lua_rawlen(L, index);
    neap_buffer_add_char(encoder->out, '[');
    for (lua_Integer i = 1; i <= count; i++) {
        if (i > 1)
            neap_buffer_add_char(encoder->out, ',');
        lua_rawgeti(L, index, i);
        encode(L, encoder, lua_gettop(L), depth);
        lua_pop(L, 1);
    }
    neap_buffer_add_char(encoder->out, ']');
}

static void encode_object(lua_State *L, struct encoder *encoder, int index, int depth)
{
    bool is_first = true;
    neap_buffer_add_char(encoder->out, '{');
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            glue_raise_code(L, NEAP_ERR_DB_ARGUMENT,
                            "a JSON value must be a list without holes or have only text keys");
        if (!is_first)
            neap_buffer_add_char(encoder->out, ',');
        is_first = false;
        encode_text(L, encoder, -2);
        neap_buffer_add_char(encoder->out, ':');
        encode(L, encoder, lua_gettop(L), depth);
    }
    neap_buffer_add_char(encoder->out, '}');
}

static void encode_table(lua_State *L, struct encoder *encoder, int index, int depth)
{
    lua_Integer keys = 0, count = (lua_Integer)lua_rawlen(L, index);
    if (depth > JSON_DEPTH_MAX)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "a JSON value is nested more than %d deep",
                        JSON_DEPTH_MAX);
    luaL_checkstack(L, 6, "json");
    for (lua_pushnil(L); lua_next(L, index); lua_pop(L, 1))
        keys++;
    if (keys == count && (count > 0 || encoder->empty_array))
        encode_array(L, encoder, index, depth + 1);
    else
        encode_object(L, encoder, index, depth + 1);
}

static void encode(lua_State *L, struct encoder *encoder, int index, int depth)
{
    pg_lua_slot_count(L, encoder->slot, 8);
    if (glue_is_null(L, index)) {
        neap_buffer_add_text(encoder->out, "null");
        return;
    }
    switch (lua_type(L, index)) {
    case LUA_TSTRING:
        encode_text(L, encoder, index);
        break;
    case LUA_TBOOLEAN:
        neap_buffer_add_text(encoder->out, lua_toboolean(L, index) ? "true" : "false");
        break;
    case LUA_TNUMBER:
        if (!lua_isinteger(L, index) && !isfinite(lua_tonumber(L, index)))
            glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "JSON has no NaN and no infinity");
        (void)pg_lua_scalar_add(L, index, "a number", encoder->slot);
        break;
    case LUA_TTABLE:
        encode_table(L, encoder, index, depth);
        break;
    default:
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "a %s has no form in JSON%s",
                        luaL_typename(L, index), lua_isnil(L, index) ? "; null is neap.null" : "");
    }
}

/* neap.pg.json(value, opts) and db:json(value, opts). */
int pg_lua_json(lua_State *L)
{
    static const struct glue_opt rows[] = {{"empty_array", GLUE_OPT_BOOL, 0}, {0}};
    struct {
        bool empty_array;
    } opts = {0};
    int index = luaL_testudata(L, 1, pg_lua_conn.name) != NULL ? 2 : 1;
    luaL_checkany(L, index);
    lua_settop(L, index + 1);
    glue_opt_read(L, index + 1, rows, &opts);
    struct pg_lua_slot *slot = pg_lua_slot_push(L);
    struct encoder encoder = {slot, &slot->buffer, opts.empty_array};
    encode(L, &encoder, index, 1);
    lua_pushlstring(L, neap_buffer_text(&slot->buffer), slot->buffer.length);
    return 1;
}

/* ---- decode ---- */

struct decoder {
    const char *text, *at, *end; /* NUL at end: a look ahead never leaves the text */
};

static void decode(lua_State *L, struct decoder *decoder, int depth);

static int refuse_json(lua_State *L, const struct decoder *decoder, const char *wanted)
{
    return glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "not JSON: %s expected at byte %d", wanted,
                           (int)(decoder->at - decoder->text) + 1);
}

static void skip_space(struct decoder *decoder)
{
    decoder->at += strspn(decoder->at, " \t\r\n");
}

static void expect_char(lua_State *L, struct decoder *decoder, char c)
{
    skip_space(decoder);
    if (*decoder->at != c) {
        const char wanted[] = {'\'', c, '\'', '\0'};
        refuse_json(L, decoder, wanted);
    }
    decoder->at++;
}

static unsigned long unit_read(lua_State *L, struct decoder *decoder)
{
    char digits[5] = {0};
    if (decoder->end - decoder->at < 4 || strspn(decoder->at, "0123456789abcdefABCDEF") < 4)
        refuse_json(L, decoder, "four hexadecimal digits");
    memcpy(digits, decoder->at, 4);
    decoder->at += 4;
    return strtoul(digits, NULL, 16);
}

/* Behind "\u"; a pair of surrogates is one character. */
static void escape_unicode(lua_State *L, struct decoder *decoder, luaL_Buffer *buffer)
{
    unsigned long unit = unit_read(L, decoder);
    char bytes[4];
    size_t count = 0;
    if (unit >= 0xD800 && unit < 0xDC00 && decoder->at[0] == '\\' && decoder->at[1] == 'u') {
        decoder->at += 2;
        unit = 0x10000 + ((unit - 0xD800) << 10) + (unit_read(L, decoder) & 0x3FF);
    }
    if (unit < 0x80) {
        bytes[count++] = (char)unit;
    } else if (unit < 0x800) {
        bytes[count++] = (char)(0xC0 | unit >> 6);
    } else if (unit < 0x10000) {
        bytes[count++] = (char)(0xE0 | unit >> 12);
        bytes[count++] = (char)(0x80 | (unit >> 6 & 0x3F));
    } else {
        bytes[count++] = (char)(0xF0 | unit >> 18);
        bytes[count++] = (char)(0x80 | (unit >> 12 & 0x3F));
        bytes[count++] = (char)(0x80 | (unit >> 6 & 0x3F));
    }
    if (unit >= 0x80)
        bytes[count++] = (char)(0x80 | (unit & 0x3F));
    luaL_addlstring(buffer, bytes, count);
}

static void decode_text(lua_State *L, struct decoder *decoder)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    luaL_Buffer buffer;
    luaL_buffinit(L, &buffer);
    for (decoder->at++; *decoder->at != '"';) {
        if (decoder->at >= decoder->end)
            refuse_json(L, decoder, "the end of a string");
        if (*decoder->at != '\\') {
            luaL_addchar(&buffer, *decoder->at++);
            continue;
        }
        char c = decoder->at[1];
        const char *known = c != '\0' ? strchr(from, c) : NULL;
        if (c != 'u' && known == NULL)
            refuse_json(L, decoder, "an escape");
        decoder->at += 2;
        if (c == 'u')
            escape_unicode(L, decoder, &buffer);
        else
            luaL_addchar(&buffer, to[known - from]);
    }
    decoder->at++;
    luaL_pushresult(&buffer);
}

static void decode_number(lua_State *L, struct decoder *decoder)
{
    size_t length = strspn(decoder->at, "+-.0123456789eE");
    size_t digits = strspn(decoder->at + (*decoder->at == '-'), "0123456789");
    if (digits == 0)
        refuse_json(L, decoder, "a value");
    lua_pushlstring(L, decoder->at, length);
    if (digits + (*decoder->at == '-') == length) {
        int is_integer;
        lua_Integer number = lua_tointegerx(L, -1, &is_integer);
        if (is_integer) {
            lua_pop(L, 1);
            lua_pushinteger(L, number);
        }
    }
    decoder->at += length;
}

static void decode_word(lua_State *L, struct decoder *decoder)
{
    if (strncmp(decoder->at, "true", 4) == 0) {
        lua_pushboolean(L, true);
        decoder->at += 4;
    } else if (strncmp(decoder->at, "false", 5) == 0) {
        lua_pushboolean(L, false);
        decoder->at += 5;
    } else if (strncmp(decoder->at, "null", 4) == 0) {
        glue_push_null(L);
        decoder->at += 4;
    } else {
        decode_number(L, decoder);
    }
}

static void decode_members(lua_State *L, struct decoder *decoder, int depth)
{
    bool is_object = *decoder->at == '{';
    char close = is_object ? '}' : ']';
    lua_Integer count = 0;
    if (depth > JSON_DEPTH_MAX)
        glue_raise_code(L, NEAP_ERR_DB_ARGUMENT, "JSON is nested more than %d deep",
                        JSON_DEPTH_MAX);
    luaL_checkstack(L, 6, "json");
    lua_newtable(L);
    decoder->at++;
    skip_space(decoder);
    while (*decoder->at != close) {
        if (count++ > 0)
            expect_char(L, decoder, ',');
        skip_space(decoder);
        if (is_object) {
            if (*decoder->at != '"')
                refuse_json(L, decoder, "a key");
            decode_text(L, decoder);
            expect_char(L, decoder, ':');
        }
        decode(L, decoder, depth);
        if (is_object)
            lua_rawset(L, -3);
        else
            lua_rawseti(L, -2, count);
        skip_space(decoder);
    }
    decoder->at++;
}

static void decode(lua_State *L, struct decoder *decoder, int depth)
{
    skip_space(decoder);
    if (*decoder->at == '{' || *decoder->at == '[')
        decode_members(L, decoder, depth + 1);
    else if (*decoder->at == '"')
        decode_text(L, decoder);
    else
        decode_word(L, decoder);
}

int pg_lua_decode_json(lua_State *L)
{
    size_t length;
    const char *text = glue_check_text(L, 1, "JSON", &length);
    struct decoder decoder = {text, text, text + length};
    decode(L, &decoder, 0);
    skip_space(&decoder);
    if (decoder.at != decoder.end)
        return refuse_json(L, &decoder, "the end");
    return 1;
}

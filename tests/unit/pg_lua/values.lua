-- SPDX-License-Identifier: MIT
-- Values to the server and back, without loss.
local cases = {}

local function add(name, rule, run)
  cases[#cases + 1] = { name, rule, run }
end

local function raises(code, pattern, f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "nothing was raised")
  assert(type(err) == "userdata", "raised " .. tostring(err))
  assert(err.code == code, err.code .. ": " .. tostring(err))
  assert(tostring(err):find(pattern), tostring(err))
  return err
end

-- The value goes as $1 of a type, and comes back as itself.
local function round(db, type_name, value, expected)
  if expected == nil then
    expected = value
  end
  local found = db:value("SELECT $1::" .. type_name, value)
  assert(found == expected and math.type(found) == math.type(expected),
    ("%s: sent %s, got %s"):format(type_name, tostring(value), tostring(found)))
end

add("integers round trip", "tx", function(db)
  for _, type_name in ipairs { "int8", "numeric::int8" } do
    round(db, type_name, math.maxinteger)
    round(db, type_name, math.mininteger)
    round(db, type_name, 9007199254740993)
  end
  round(db, "int2", -32768)
  round(db, "int4", 2147483647)
  round(db, "oid", 4294967295)
  round(db, "int4", 5.0, 5)
end)

add("numeric is text", "tx", function(db)
  local long = ("9876543210"):rep(100)
  round(db, "numeric", long)
  round(db, "numeric", "12345678901234567890.123")
  round(db, "numeric", "1.10")
  round(db, "numeric", 0.1, "0.1")
  round(db, "numeric", 0 / 0, "NaN")
  round(db, "numeric", math.huge, "Infinity")
end)

add("floats round trip", "tx", function(db)
  for _, value in ipairs { 0.1, 1 / 3, -1.5e308, 5e-324, 1e22, math.huge, -math.huge, 2.0 } do
    round(db, "float8", value)
  end
  local nan = db:value("SELECT $1::float8", 0 / 0)
  assert(nan ~= nan)
  assert(math.type(db:value "SELECT 1::float8") == "float")
  assert(db:value "SELECT 0.5::float4" == 0.5)
end)

add("booleans and text", "tx", function(db)
  round(db, "boolean", true)
  round(db, "boolean", false)
  round(db, "text", "")
  round(db, "text", "NULL")
  round(db, "text", "it's \\ \"quoted\" – ünï 😀\n\t")
  assert(db:value "SELECT 'x'::char(3)" == "x  ")
end)

add("NULL is neap.null in and nil out", "tx", function(db)
  assert(db:value("SELECT $1::text IS NULL", neap.null) == true)
  assert(db:value("SELECT $1::text", neap.null) == nil)
  raises("db.argument", "%$2 is nil; NULL is neap.null", db.query, db, "SELECT $1::text, $2::text",
    "a", nil)
  raises("db.argument", "%$1 is nil", db.exec, db, "SELECT $1::text", nil)
end)

add("what SQL has no value for", "tx", function(db)
  raises("db.argument", "%$1 is a table; pass db:array", db.query, db, "SELECT $1", { 1 })
  raises("db.argument", "%$2 is a function", db.query, db, "SELECT $1, $2", 1, print)
  raises("db.argument", "NUL byte", db.value, db, "SELECT $1::text", "a\0b")
  raises("db.argument", "not valid UTF%-8", db.value, db, "SELECT $1::text", "\xC0'")
  raises("script.argument", "NUL", db.value, db, "DELETE FROM pg_class\0 WHERE false")
end)

add("bytea holds every byte", "tx", function(db)
  local all = {}
  for byte = 0, 255 do
    all[#all + 1] = string.char(byte)
  end
  local bytes = table.concat(all)
  assert(db:value("SELECT $1", db:bytea(bytes)) == bytes)
  assert(db:value("SELECT $1::bytea", db:bytea "") == "")
  assert(db:value("SELECT length($1::bytea)", require("neap.pg").bytea "\0\0") == 2)
  db:exec "SET LOCAL bytea_output = 'escape'"
  assert(db:value("SELECT $1", db:bytea(bytes)) == bytes)
  assert(db:bytea "x" == db:bytea "x" and db:bytea "x" ~= db:bytea "y")
end)

add("bytea does not fit a text column", "tx", function(db)
  raises("db.query", "bytea", db.value, db, "SELECT upper($1)", db:bytea "a")
  return "^db.query"
end)

add("arrays of everything", "tx", function(db)
  local function same(a, b)
    assert(#a == #b, #a .. " elements")
    for i = 1, #a do
      if type(a[i]) == "table" then
        same(a[i], b[i])
      else
        assert(a[i] == b[i], tostring(a[i]) .. " is not " .. tostring(b[i]))
      end
    end
  end
  local words = { "a", "", "NULL", 'q"uo\\te', "{x,y}", " s ", "ü", neap.null, "null" }
  same(db:value("SELECT $1::text[]", db:array(words)), words)
  same(db:value("SELECT $1::int8[]", db:array { math.maxinteger, neap.null, -1 }),
    { math.maxinteger, neap.null, -1 })
  same(db:value("SELECT $1::text[]", db:array { { "a", "b" }, { neap.null, "d" } }),
    { { "a", "b" }, { neap.null, "d" } })
  same(db:value("SELECT $1::float8[]", db:array { 1.5, math.huge }), { 1.5, math.huge })
  same(db:value("SELECT $1::bool[]", db:array { true, false, neap.null }),
    { true, false, neap.null })
  same(db:value("SELECT $1::numeric[]", db:array { "1.10", 2 }), { "1.10", "2" })
  same(db:value("SELECT $1::bytea[]", db:array { db:bytea "a\0b", db:bytea "" }), { "a\0b", "" })
  same(db:value("SELECT $1::timestamptz[] IS NOT NULL", db:array {}) and {} or { 1 }, {})
  same(db:value "SELECT '[0:1]={7,8}'::int[]", { 7, 8 })
  same(db:value("SELECT array_agg(g) FROM generate_series(1, 3) g WHERE g = ANY($1)",
    db:array { 1, 3, 9 }), { 1, 3 })
  same(require("neap.pg").decode_array '{red,"dark blue",NULL}',
    { "red", "dark blue", neap.null })
  raises("db.argument", "holes", db.array, db, { 1, nil, 3 })
  raises("db.argument", "holes or names", db.array, db, { a = 1 })
  raises("db.argument", "element 2 is a function", db.array, db, { 1, print })
end)

add("json keeps its numbers", "tx", function(db)
  local pg = require "neap.pg"
  local text = db:value "SELECT '{\"n\": 12345678901234567890.10, \"i\": 9007199254740993}'::json"
  assert(text == '{"n": 12345678901234567890.10, "i": 9007199254740993}')
  local value = pg.decode_json(text)
  assert(value.n == "12345678901234567890.10" and value.i == 9007199254740993)
  assert(db:value("SELECT $1::jsonb ->> 'k'", db:json { k = "ü\"\\\n" }) == "ü\"\\\n")
  assert(db:value("SELECT $1::jsonb = '[1,\"a\",null,{\"b\":[true]}]'",
    db:json { 1, "a", neap.null, { b = { true } } }))
  assert(pg.json {} == "{}" and pg.json({}, { empty_array = true }) == "[]")
  assert(pg.json "x" == '"x"' and pg.json(neap.null) == "null" and pg.json(1.5) == "1.5")
  raises("db.argument", "NaN", pg.json, 0 / 0)
  raises("db.argument", "function", pg.json, { print })
  raises("db.argument", "text keys", pg.json, { [1] = 1, x = 2 })
  raises("script.argument", "empty_array", pg.json, {}, { emptyarray = true })
  local odd = pg.decode_json [==[
    [ "\u00fc\ud83d\ude00\n" , null, -0, 1e3, [], {} , 18446744073709551616 ] ]==]
  assert(odd[1] == "ü😀\n" and odd[2] == neap.null and odd[4] == "1e3" and #odd == 7)
  assert(odd[7] == "18446744073709551616")
  for _, bad in ipairs { "", "[1,]", "{", '{"a"}', "[1 2]", "nul", '"\\x"', "1 2", '"' } do
    raises("db.argument", "not JSON", pg.decode_json, bad)
  end
  raises("db.argument", "nested", pg.decode_json, ("["):rep(200))
end)

add("times and the rest are text", "tx", function(db)
  db:exec "SET LOCAL TimeZone = 'UTC'"
  round(db, "timestamptz", "infinity")
  round(db, "timestamp", "-infinity")
  round(db, "timestamptz", "2026-11-20 21:05:38.123456+00")
  round(db, "date", "infinity")
  round(db, "interval", "1 day 02:03:04.5")
  round(db, "uuid", "123e4567-e89b-12d3-a456-426614174000")
  round(db, "inet", "10.0.0.1/8", "10.0.0.1/8")
end)

add("a row knows its columns", "tx", function(db)
  local row = db:row "SELECT 1 AS id, NULL::text AS title"
  assert(row.id == 1 and row.title == nil)
  raises("db.argument", "no column \"titel\"; did you mean \"title\"", function()
    return row.titel
  end)
  raises("db.argument", "read by column name", function() return row[1] end)
  raises("db.argument", "two columns \"%?column%?\"", db.query, db, "SELECT 1, 2")
  row.extra = 1
  assert(row.extra == 1)
end)

return cases

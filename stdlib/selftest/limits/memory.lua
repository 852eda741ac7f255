-- SPDX-License-Identifier: MIT
--
-- Memory bombs, in Lua and where C holds bytes for a script. The cap is 32 MB; a
-- case fails when the process as a whole took much more.
local bombs = {
  { "string-doubling", "a string that doubles", "local s = 'x' while true do s = s .. s end" },
  { "table", "a table that grows", "local t = {} for i = 1, 1e9 do t[i] = i end" },
  { "tables", "tables in tables", "local t = {} while true do t = { t, {}, {} } end" },
  { "coroutines", "a million coroutines", "local t = {} for i = 1, 1e6 do "
    .. "t[i] = coroutine.create(function() end) coroutine.resume(t[i]) end" },
  { "closures", "closures", "local t = {} for i = 1, 1e8 do t[i] = function() return i end end" },
  { "concat", "one string a hundred times by table.concat",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 100 do t[i] = s end "
    .. "local _ = table.concat(t)" },
  { "format", "one string a hundred times by string.format",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 100 do t[i] = s end "
    .. "local _ = ('%s'):rep(100):format(table.unpack(t))" },
  { "gsub", "gsub that grows what it replaces",
    "local s = ('x'):rep(1000) while true do s = s:gsub('.', '%0%0') end" },
  { "varargs", "varargs that double", "local function f(...) return f(1, ...) end "
    .. "local t = {} for i = 1, 1e9 do t[i] = { i, i, i } end f()" },
  { "pcall", "out of memory caught for ever, then told", "local keep = {} "
    .. "for size = 22, 3, -1 do pcall(function() while true do "
    .. "keep[#keep + 1] = ('x'):rep(1 << size) .. #keep end end) end "
    .. "local t = {} for i = 1, 1e9 do t[i] = { i } end" },
}

-- Where it must end, but how is Lua's or the server's choice.
local others = {
  { "recursion", "endless recursion", "local function f() return 1 + f() end f()",
    { "1 script.error", "1 script.memory" } },
  { "varargs-recursion", "recursion with varargs that grow",
    "local function f(...) return 1 + f(1, ...) end f()",
    { "1 script.error", "1 script.memory" } },
  { "c-recursion", "recursion through C",
    "local function f() table.sort({ 1, 2 }, f) end f()", "1 script.error" },
  { "pcall-deep", "pcall in pcall to the end of the C stack",
    "local function f() local ok, why = pcall(f) if not ok then error(why, 0) end end f()",
    "1 script.error" },
  { "tostring-recursion", "a __tostring that calls tostring of itself",
    "local t t = setmetatable({}, { __tostring = function() return tostring(t) end }) tostring(t)",
    "1 script.error" },
  { "index-chain", "a chain of a million __index",
    "local t = {} for _ = 1, 1e4 do t = setmetatable({}, { __index = t }) end local _ = t.x",
    "1 script.error" },
  { "error-big", "an error message of ten megabytes", "error(('x'):rep(1e7))", "1 script.error" },
  { "error-at-brim", "an error object when memory is full to the brim", "local keep = {} "
    .. "for size = 22, 0, -1 do pcall(function() while true do "
    .. "keep[#keep + 1] = ('x'):rep(1 << size) .. #keep end end) end "
    .. "for _ = 1, 9 do pcall(function() while true do keep = { keep } end end) end "
    .. "error(setmetatable({}, { __tostring = function() return 'x' end }))",
    { "1 script.error", "1 script.memory" } },
  { "log-big", "a line of ten megabytes for the log", "neap.log(('x'):rep(1e7))", "0" },
  { "print-big", "a control character ten million times, printed",
    "print(('\\27'):rep(1e7))", "0" },
  { "log-flood", "a hundred thousand lines for the log",
    "for i = 1, 1e5 do neap.log(i) end", "0" },
  { "sql-big", "a statement of two megabytes",
    "db:exec('insert into left_over values (1)' .. (', (1)'):rep(4e5))", "0" },
  { "sql-comment", "a comment of eight megabytes",
    "db:exec('select 1 /*' .. ('x'):rep(8e6) .. '*/')", "0" },
  { "sql-deep", "parentheses 100,000 deep", "db:exec('select ' .. ('('):rep(1e5) .. '1' .. "
    .. "(')'):rep(1e5))", "1 db.query" },
  { "sql-chain", "a sum of a million terms", "db:exec('select 1' .. (' + 1'):rep(1e6))",
    "1 db.query" },
  { "params", "a megabyte two thousand times as parameters",
    "local s, t, q = ('x'):rep(1 << 20), {}, {} for i = 1, 2000 do t[i] = s "
    .. "q[i] = '$' .. i .. '::text' end "
    .. "db:exec('select length(concat(' .. table.concat(q, ',') .. '))', table.unpack(t))",
    "1 script.memory" },
  { "params-pipelined", "two hundred statements in flight with a megabyte each",
    "local s = ('x'):rep(1 << 20) for _ = 1, 200 do "
    .. "db:exec('insert into left_over select length($1)', s) end", "0", "100s" },
  { "json", "one string a thousand times as JSON",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 1000 do t[i] = s end db:json(t)",
    "1 script.memory" },
  { "array", "one string a thousand times as an array",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 1000 do t[i] = s end db:array(t)",
    "1 script.memory" },
  { "ident", "one string a hundred times as an identifier",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 100 do t[i] = s end "
    .. "db:ident(table.unpack(t))", "1 script.memory" },
  { "literal", "a literal that doubles", "local s = (\"'\"):rep(1 << 20) "
    .. "while true do s = db:literal(s) end", "1 script.memory" },
  { "copy-row", "a row of a thousand megabytes for COPY",
    "local s, t = ('x'):rep(1 << 20), {} for i = 1, 1000 do t[i] = s end "
    .. "db:copy_in('copy left_over from stdin', { t })", "1 script.memory" },
  { "copy-out", "a COPY that gives a hundred megabytes as one string",
    "db:copy_out(\"copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout\")",
    "1 db.rows" },
  { "query", "a result of a hundred megabytes",
    "db:query \"select repeat('x', 1000) from generate_series(1, 100000)\"", "1 db.rows" },
  { "value", "one value of forty megabytes", "db:value \"select repeat('x', 40000000)\"",
    "1 script.memory" },
  { "exec-value", "the same by exec", "db:exec \"select repeat('x', 40000000)\"", "0" },
  { "rows-value", "the same by rows",
    "for _ in db:rows \"select repeat('x', 40000000)\" do end", "1 script.memory" },
  { "columns", "a result of 1,600 columns, two hundred times",
    "local q = {} for i = 1, 1600 do q[i] = i .. ' as c' .. i end for _ = 1, 200 do "
    .. "db:query('select ' .. table.concat(q, ',')) end", "0", "100s" },
  { "notices", "a hundred thousand notices",
    "db:exec \"do $$ begin for i in 1 .. 100000 loop raise notice '%', i; end loop; end $$\"",
    "0" },
  { "notice-big", "a notice of twenty megabytes",
    "db:exec \"do $$ begin raise notice '%', repeat('x', 20000000); end $$\"",
    "0" },
  { "error-server", "an error of the server of twenty megabytes",
    "db:exec \"do $$ begin raise exception '%', repeat('x', 20000000); end $$\"",
    { "1 db.query", "1 db.rows" } },
}

local cases = {
  { id = "memory.load", attempt = "a table that grows while the file is loaded",
    top = "local t = {} for i = 1, 1e9 do t[i] = i end",
    expect = { "1 script.memory", "124 run.deadline" } },
  { id = "memory.config", attempt = "a table that grows in neap.lua",
    config = "local t = {} for i = 1, 1e9 do t[i] = i end",
    expect = { "2 config.invalid", "124 run.deadline" } },
  { id = "memory.config-result", attempt = "a table in itself as neap.lua's result",
    config = "local t = {} t.t = t return t", expect = "2 config.invalid" },
}
for i, case in ipairs(bombs) do
  cases[#cases + 1] = { id = "memory." .. case[1], attempt = case[2], up = case[3],
    expect = "1 script.memory", brief = i > 6 }
end
for _, case in ipairs(others) do
  local expect = case[4]
  cases[#cases + 1] = { id = "memory." .. case[1], attempt = case[2], up = case[3],
    expect = expect, timeout = case[5] }
end
return cases

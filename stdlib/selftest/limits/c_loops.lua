-- SPDX-License-Identifier: MIT
--
-- Loops inside C functions, where no hook of Lua fires, and patterns that backtrack.
local huge = "setmetatable({}, { __len = function() return math.maxinteger end, "
  .. "__index = function() return 1 end })"

-- Refused before they begin, or ended at the deadline.
local refused = {
  { "rep-nothing", "nothing, 1 << 62 times", "('').rep('', 1 << 62)", "1 script.argument" },
  { "rep-many", "a byte, 1 << 40 times", "('x'):rep(1 << 40)", "1 script.memory" },
  { "rep-overflow", "a size that overflows", "('xx'):rep(math.maxinteger)", "1 script.memory" },
  { "rep-separator", "a huge separator", "(''):rep(1 << 20, ('y'):rep(1 << 16))",
    "1 script.memory" },
  { "move", "table.move over 1 << 60 elements", "table.move({}, 1, 1 << 60, 2)",
    "1 script.argument" },
  { "insert", "table.insert into a table with a huge __len", "table.insert(" .. huge
    .. ", 1, 'x')", "1 script.argument" },
  { "insert-wrap", "table.insert where the length is maxinteger", "table.insert(" .. huge
    .. ", 'x')", "0" },
  { "remove", "table.remove from it", "table.remove(" .. huge .. ", 1)", "1 script.argument" },
  { "concat", "table.concat of it", "table.concat(" .. huge .. ")", "1 script.argument" },
  { "sort", "table.sort of it", "table.sort(" .. huge .. ")", "1 script.argument" },
  { "unpack", "table.unpack of it", "table.unpack({}, 1, math.maxinteger)", "1 script.error" },
  { "unpack-many", "unpack of a million values into a call", "print(table.unpack({}, 1, 1e6))",
    "1 script.error" },
  { "byte", "a million values from string.byte", "print(('x'):rep(1e7):byte(1, -1))",
    "1 script.error" },
  { "char", "string.char of a value that is none", "string.char(-1)", "1 script.error" },
  { "select", "select of a huge index", "assert(select('#', select(1 << 62)) == 0)", "0" },
  { "format-width", "a format of a million columns", "string.format('%1000000d', 1)",
    "1 script.error" },
  { "format-precision", "a huge precision", "string.format('%.99999999f', 1)", "1 script.error" },
  { "format-many", "more conversions than arguments", "string.format(('%s'):rep(1e6), 1)",
    "1 script.error" },
  { "pack", "string.pack of a huge field", "string.pack('c2000000000', 'x')",
    { "1 script.memory", "1 script.error" } },
  { "packsize", "string.packsize that overflows", "string.packsize(('c2147483647'):rep(9))",
    "1 script.error" },
  { "unpack-short", "string.unpack behind the end", "string.unpack('i16', 'x')",
    "1 script.error" },
  { "utf8-codes", "utf8.codes of what is no UTF-8",
    "for _ in utf8.codes('\\xff\\xfe') do end", "1 script.error" },
  { "utf8-codepoint", "a million code points at once",
    "print(utf8.codepoint(('x'):rep(1e7), 1, -1))", "1 script.error" },
  { "tonumber", "a number of ten million digits", "assert(tonumber(('1'):rep(1e7)))", "0" },
  { "sort-inconsistent", "table.sort with an order that is none",
    "local t = {} for i = 1, 5000 do t[i] = i % 7 end table.sort(t, function() return true end)",
    "1 script.error" },
  { "sort-random", "table.sort with a random order",
    "local t = {} for i = 1, 5000 do t[i] = i end "
    .. "table.sort(t, function() return math.random() < 0.5 end)", { "0", "1 script.error" } },
  { "sort-changes", "table.sort of a table that its comparison empties",
    "local t = {} for i = 1, 500 do t[i] = i end table.sort(t, function(a, b) "
    .. "for i = 1, 500 do t[i] = nil end return a < b end)", "1 script.error" },
  { "modulo", "the smallest integer divided by -1",
    "assert(math.mininteger // -1 == math.mininteger and math.mininteger % -1 == 0)", "0" },
  { "shift", "shifts by more than there are bits", "assert(1 << 64 == 0 and 1 >> -64 == 0)", "0" },
  { "json-dag", "a small table that is 2^90 values as JSON",
    "local t = { 1 } for _ = 1, 90 do t = { t, t } end db:json(t)",
    { "1 script.memory", "124 run.deadline" }, "4s" },
  { "json-cycle", "a table in itself as JSON", "local t = {} t[1] = t db:json(t)",
    "1 db.argument" },
  { "array-dag", "a small table that is 1000^5 values as an array",
    "local t = { 1 } for _ = 1, 5 do local u = {} for i = 1, 1000 do u[i] = t end t = u end "
    .. "db:array(t)", { "1 script.memory", "124 run.deadline" }, "4s" },
  { "json-deep", "JSON nested 100,000 deep",
    "require('neap.pg').decode_json(('['):rep(1e5))", "1 db.argument" },
  { "nearest-name", "a name of a megabyte, and the nearest to it",
    "local _ = _ENV[('x'):rep(1 << 20)]", "1 script.error" },
}

-- Must end at the deadline.
local deadline = {
  { "next", "next over a table that was emptied, for ever",
    "local t = {} for i = 1, 1e5 do t[i] = 1 end for i = 1, 1e5 do t[i] = nil end "
    .. "while true do next(t) end" },
  { "concat-loop", "__index in Lua below table.concat", "table.concat(setmetatable({}, { __len = "
    .. "function() return 9000000 end, __index = function() while true do end end }))" },
  { "pattern-lazy", "thirty lazy quantifiers",
    "string.find(('a'):rep(200000), ('.-'):rep(30) .. 'b')" },
  { "pattern-optional", "forty optional items", "string.match(('a'):rep(40), ('a?'):rep(40) .. "
    .. "('a'):rep(40) .. 'b')" },
  { "pattern-greedy", "twenty greedy ones in gmatch",
    "for _ in ('a'):rep(200000):gmatch(('a*'):rep(20) .. 'b') do end" },
  { "pattern-gsub", "twenty greedy ones in gsub",
    "('a'):rep(200000):gsub(('a*'):rep(20) .. 'b', '')" },
  { "pattern-balance", "%b over and over", "('('):rep(300000):find('%b()')" },
  { "pattern-back", "back references", "('a'):rep(50000):find('(.-)(.-)(.-)%1%2%3b')" },
  { "pattern-set", "a set of a megabyte at each byte of a megabyte",
    "('x'):rep(1 << 20):find('[' .. ('a'):rep(1 << 20) .. 'x]*b')" },
  { "pattern-set-miss", "the same set, never matched",
    "('x'):rep(1 << 20):find('[' .. ('a'):rep(1 << 20) .. ']')" },
  { "pattern-frontier", "a frontier with that set",
    "('x'):rep(1 << 20):find('%f[' .. ('a'):rep(1 << 20) .. ']')" },
  { "pattern-pcall", "a pattern in pcall, for ever",
    "while true do pcall(string.find, ('a'):rep(200000), ('.-'):rep(30) .. 'b') end" },
}

local cases = {
  { id = "c-loop.sort-no-hook", attempt = "ten million elements sorted by C functions alone",
    -- 15: the process ended before it read the answer to the COMMIT of the one before.
    timeout = "300ms", expect = { "124 run.deadline", "124 watchdog", "15 watchdog" },
    up = "table.sort(setmetatable({}, { __len = function() return 9999999 end, __index = type, "
      .. "__newindex = type }))" },
  { id = "c-loop.pattern-deep", attempt = "a pattern of a thousand captures",
    expect = "1 script.error", up = "('a'):rep(100):find(('('):rep(1000))" },
  { id = "c-loop.pattern-malformed", attempt = "patterns that are not finished",
    expect = "0", up = "for _, p in ipairs { '[', '%', '[%', '%b', '%bx', '%f', '(', '%1', "
      .. "'[a-', '[^', '[]', '(()' } do assert(not pcall(string.find, 'a', p), p) end" },
}
for _, case in ipairs(refused) do
  cases[#cases + 1] = { id = "c-loop." .. case[1], attempt = case[2], up = case[3],
    expect = case[4], timeout = case[5], brief = true }
end
for i, case in ipairs(deadline) do
  cases[#cases + 1] = { id = "c-loop." .. case[1], attempt = case[2], up = case[3],
    timeout = "300ms", expect = "124 run.deadline", brief = i > 4 }
end
return cases

-- SPDX-License-Identifier: MIT
--
-- Endless loops in every place where Lua lets code run.
local LOOP = "while true do end"
local FOREVER = "function() while true do end end"

-- One place each: id, what is tried, the code in up.
local places = {
  { "up", "a loop in up", LOOP },
  { "goto", "a goto loop", "::again:: goto again" },
  { "repeat", "a repeat loop", "local n = 0 repeat n = n + 1 until n < 0" },
  { "numeric-for", "a for loop to maxinteger", "for _ = 1, math.maxinteger do end" },
  { "float-for", "a for loop to infinity", "for _ = 1, math.huge do end" },
  { "tail-calls", "endless tail calls", "local function f() return f() end f()" },
  { "pcall-body", "a loop in pcall, in a loop",
    "while true do pcall(function() " .. LOOP .. " end) end" },
  { "try-body", "a loop in neap.try, in a loop",
    "while true do neap.try(function() " .. LOOP .. " end) end" },
  { "pcall-recursion", "pcall that calls itself",
    "local function f() while true do pcall(f) end end f()" },
  { "xpcall-body", "a loop in xpcall",
    "while true do xpcall(function() " .. LOOP .. " end, print) end" },
  { "handler", "a loop in a message handler of the deadline's own error",
    "xpcall(" .. FOREVER .. ", " .. FOREVER .. ")" },
  { "handler-of-error", "a loop in the handler of an ordinary error",
    "xpcall(error, " .. FOREVER .. ")" },
  { "iterator", "an iterator that never ends", "for _ in function() return 1 end do end" },
  { "sort", "a loop in a comparison of table.sort", "table.sort({ 3, 2, 1 }, " .. FOREVER .. ")" },
  { "sort-pcall", "a comparison that catches the stop", "table.sort({ 3, 2, 1 }, function() "
    .. "while true do pcall(" .. FOREVER .. ") end end)" },
  { "gsub", "a loop in a callback of gsub", "while true do pcall(string.gsub, 'x', 'x', "
    .. FOREVER .. ") end" },
  { "gsub-table", "a loop in __index of a gsub table",
    "string.gsub('x', 'x', setmetatable({}, { __index = " .. FOREVER .. " }))" },
  { "resume", "a loop in a coroutine, resumed for ever",
    "while true do coroutine.resume(coroutine.create(" .. FOREVER .. ")) end" },
  { "wrap", "a loop in coroutine.wrap", "while true do pcall(coroutine.wrap(" .. FOREVER
    .. ")) end" },
  { "wrap-nested", "coroutines in coroutines", "local function f() local c = coroutine.wrap(f) "
    .. "while true do pcall(c) end end f()" },
  { "yields", "a coroutine that yields for ever",
    "local c = coroutine.wrap(function() while true do coroutine.yield() end end) "
    .. "while true do c() end" },
  { "coroutine-close", "a loop in __close of a coroutine that is closed",
    "local c = coroutine.create(function() local _ <close> = setmetatable({}, { __close = "
    .. FOREVER .. " }) coroutine.yield() end) coroutine.resume(c) coroutine.close(c)" },
  { "close-variable", "a loop in __close", "local _ <close> = setmetatable({}, { __close = "
    .. FOREVER .. " })" },
  { "close-at-stop", "a __close that loops when the deadline unwinds it",
    "while true do pcall(function() local _ <close> = setmetatable({}, { __close = " .. FOREVER
    .. " }) " .. LOOP .. " end) end" },
  { "generic-close", "the closing value of a for loop",
    "for _ in function() end, nil, nil, setmetatable({}, { __close = " .. FOREVER .. " }) do end" },
  { "ipairs", "ipairs over a table that has everything",
    "for _ in ipairs(setmetatable({}, { __index = function() return 1 end })) do end" },
  { "require", "a module that loops while it is required", "require 'looping'" },
  { "log", "a __tostring that loops in neap.log",
    "neap.log(setmetatable({}, { __tostring = " .. FOREVER .. " }))" },
  { "error-object", "an error object whose __tostring loops",
    "error(setmetatable({}, { __tostring = " .. FOREVER .. " }))" },
  { "savepoint", "a loop in a savepoint", "while true do pcall(db.savepoint, db, " .. FOREVER
    .. ") end" },
  { "copy-source", "a loop in the source of a COPY",
    "db:copy_in('copy left_over from stdin', " .. FOREVER .. ")" },
  { "copy-sink", "a loop in the sink of a COPY", "db:copy_out('copy (select 1) to stdout', "
    .. FOREVER .. ")" },
  { "copy-endless", "a COPY whose rows never end",
    "db:copy_in('copy left_over from stdin', function() return { 1 } end)" },
  { "copy-c-source", "a COPY whose source is C and gives nothing for ever",
    "db:copy_in('copy left_over from stdin', utf8.char)" },
  { "rows", "rows of a query that never ends",
    "for _ in db:rows 'with recursive r as (select 1 union all select 1 from r) select * from r' "
    .. "do end" },
  { "statements", "statements for ever", "while true do db:exec 'select 1' end" },
  { "looked-at", "statements that are looked at, in pcall, for ever",
    "while true do pcall(db.value, db, 'select 1') end" },
  { "garbage", "garbage for ever",
    "while true do local t = {} for i = 1, 100 do t[i] = {} end end" },
}

-- Metamethods: the operation that calls each.
local operations = {
  index = "return t.x", newindex = "t.x = 1", call = "t()", eq = "return t == u",
  lt = "return t < u", le = "return t <= u", concat = "return t .. 'x'", len = "return #t",
  unm = "return -t", add = "return t + 1", sub = "return t - 1", mul = "return t * 2",
  div = "return t / 2", mod = "return t % 2", pow = "return t ^ 2", idiv = "return t // 2",
  band = "return t & 1", bor = "return t | 1", bxor = "return t ~ 1", bnot = "return ~t",
  shl = "return t << 1", shr = "return t >> 1", tostring = "tostring(t)",
  pairs = "for _ in pairs(t) do end",
}

local cases = {
  { id = "loop.verify", attempt = "a loop in verify", timeout = "300ms",
    expect = "124 run.deadline", verify = LOOP },
  { id = "loop.verify-expect", attempt = "a __tostring that loops in a failed expectation",
    timeout = "300ms", expect = { "124 run.deadline", "8 verify.failed" },
    verify = "expect.equal(setmetatable({}, { __tostring = " .. FOREVER .. " }), 1)" },
  { id = "loop.down", attempt = "a loop in down", timeout = "300ms", down = LOOP,
    commands = { "up", "down --only 0002" }, expect = "124 run.deadline", holds = "applied" },
  { id = "loop.chunk", attempt = "a loop while the file is loaded", top = LOOP,
    limit = "2s", expect = "124 run.deadline" },
  { id = "loop.chunk-pcall", attempt = "a pcall loop while the file is loaded",
    top = "while true do pcall(" .. FOREVER .. ") end", limit = "2s", expect = "124 run.deadline" },
  { id = "loop.lib", attempt = "a loop in a module that the file requires at its top",
    top = "require 'looping'", lib = { looping = LOOP }, limit = "2s",
    expect = "124 run.deadline" },
  { id = "loop.config", attempt = "a loop in neap.lua", config = LOOP,
    expect = "124 run.deadline" },
  { id = "loop.step", attempt = "a loop in a step without a transaction", expect = "9 step.partial",
    holds = "any", file = [[
return migration {
  summary = "A step that loops",
  timeout = "300ms",
  transaction = false,
  steps = {
    { name = "loop",
      up = function(db) neap.log "armed" db:exec "select 1" while true do end end,
      verify = unverified "no", down = irreversible "no" },
  },
}
]] },
}

-- The first of a family are followed by an innocent script and the audit as well.
local WHOLE = 6

for i, place in ipairs(places) do
  cases[#cases + 1] = { id = "loop." .. place[1], attempt = place[2], up = place[3],
    timeout = "300ms", expect = "124 run.deadline", lib = { looping = LOOP }, brief = i > WHOLE }
end
local names = {}
for name in pairs(operations) do
  names[#names + 1] = name
end
table.sort(names)
for i, name in ipairs(names) do
  cases[#cases + 1] = { id = "loop.meta-" .. name, attempt = "a loop in __" .. name,
    timeout = "250ms", expect = "124 run.deadline", brief = i > WHOLE,
    up = ("local m = { __%s = %s } local t, u = setmetatable({}, m), setmetatable({}, m) "
      .. "while true do pcall(function() %s end) end"):format(name, FOREVER, operations[name]) }
end
-- What a script may not have at all.
for _, name in ipairs { "__gc", "__mode" } do
  cases[#cases + 1] = { id = "loop.meta-" .. name:sub(3), attempt = "a metatable with " .. name,
    expect = name == "__gc" and "1 script.argument" or "0",
    up = ("setmetatable({}, { %s = %s })"):format(name, name == "__gc" and FOREVER or '"k"') }
end
return cases

-- SPDX-License-Identifier: MIT
--
-- Error objects from hell: each must end in a message that can be read and a rollback.
local list = {
  { "nil", "error(nil)", "error(nil)" },
  { "false", "error(false)", "error(false)" },
  { "number", "error(0/0)", "error(0/0)" },
  { "table", "error {}", "error {}" },
  { "table-message", "a table whose message is a table", "error { message = {} }" },
  { "table-huge", "a table with a million fields", "local t = {} for i = 1, 1e5 do t[i] = i end "
    .. "error(t)" },
  { "function", "error(print)", "error(print)" },
  { "coroutine", "a coroutine as error", "error(coroutine.create(print))" },
  { "userdata", "db as error", "error(db)" },
  { "null", "neap.null as error", "error(neap.null)" },
  { "empty", "an empty message", "error('', 0)" },
  { "newlines", "a message of newlines", "error(('\\n'):rep(1e5), 0)" },
  { "nul", "a message with NUL", "error('before\\0after')", "after" },
  { "ansi", "a message that paints the terminal", "error('\\27[2J\\27]52;c;eA==\\7red')", "red" },
  { "invalid-utf8", "a message that is no UTF-8", "error('\\xff\\xfe\\xc0\\x80 told')", "told" },
  { "bidi", "a message that turns the text around", "error('\\u{202e}told')", "told" },
  { "place", "a message with a forged place",
    "error('migrations/0001_before.lua:1: not mine', 0)" },
  { "place-long", "a forged place of a megabyte", "error(('a/'):rep(5e5) .. 'x.lua:1: y', 0)" },
  { "place-line", "a forged line beyond any number",
    "error('x.lua:99999999999999999999999999: y', 0)" },
  { "format", "a message of conversions", "error('%s%n%s%n%99999d told', 0)", "told" },
  { "json", "a message that would end a JSON string", "error('\"}]} told', 0)", "told" },
  { "level", "an error at a level that there is not", "error('told', 1 << 40)", "told" },
  { "tostring-fails", "a __tostring that fails",
    "error(setmetatable({}, { __tostring = function() error 'again' end }))" },
  { "tostring-table", "a __tostring that gives a table",
    "error(setmetatable({}, { __tostring = function() return {} end }))" },
  { "tostring-nil", "a __tostring that is no function",
    "error(setmetatable({}, { __tostring = 1 }))" },
  { "tostring-yields", "a __tostring that yields",
    "error(setmetatable({}, { __tostring = function() coroutine.yield() return 'x' end }))" },
  { "tostring-sends", "a __tostring that sends a statement",
    "error(setmetatable({}, { __tostring = "
    .. "function() db:exec 'drop table witness' return 'x' end }))" },
  { "tostring-big", "a __tostring that gives ten megabytes",
    "error(setmetatable({}, { __tostring = function() return ('x'):rep(1e7) end }))" },
  { "tostring-error-object", "a __tostring that raises neap's own error",
    "error(setmetatable({}, { __tostring = function() string.rep = 1 end }))" },
  { "name-big", "a __name of a megabyte",
    "error(setmetatable({}, { __name = ('x'):rep(1 << 20) }))" },
  { "index-fails", "an __index that fails",
    "error(setmetatable({}, { __index = function() error 'no' end }))" },
  { "handler-fails", "a message handler that fails", "xpcall(error, error) error 'end'" },
  { "handler-deep", "handlers of handlers", "local function h() error 'h' end "
    .. "for _ = 1, 100 do xpcall(error, h) end error 'end'" },
  { "handler-returns-nil", "a message handler that gives nothing",
    "assert(select('#', xpcall(error, function() end)) == 1) error 'end'" },
  { "close-error", "an error in __close while an error is told",
    "local _ <close> = setmetatable({}, { __close = function() error 'second' end }) "
    .. "error 'first'" },
  { "close-errors", "a hundred of them", "local function f(n) local _ <close> = setmetatable({}, "
    .. "{ __close = function() error(n) end }) if n > 0 then f(n - 1) end error(n) end f(100)" },
  { "coroutine-error", "an error in a coroutine in a coroutine", "coroutine.wrap(function() "
    .. "coroutine.wrap(function() error({}) end)() end)()" },
  { "rethrown", "neap's own error, raised again and again",
    "local _, e = pcall(string.rep) for _ = 1, 1e4 do _, e = pcall(error, e) end error(e)" },
  { "concat", "neap's own error, put into a text", "local _, e = pcall(rawset, string, 1, 1) "
    .. "error('told: ' .. e)", "told" },
  { "assert-object", "assert with a table", "assert(false, { message = 'told' })", "told" },
  { "assert-nil", "assert without a message", "assert(nil)" },
  { "deep-trace", "a traceback of 190,000 lines",
    "local function f(n) if n == 0 then error 'end' end return 1 + f(n - 1) end f(1e5)" },
}

local cases = {
  { id = "error.verify-nil", attempt = "error(nil) in verify", verify = "error(nil)",
    expect = "8 verify.failed" },
  { id = "error.verify-false", attempt = "a verify that returns false", verify = "return false",
    expect = "8 verify.failed" },
  { id = "error.verify-run", attempt = "a verify that claims the deadline passed",
    verify = "error { code = 'run.deadline', message = 'run.deadline' }",
    expect = "8 verify.failed" },
  { id = "error.down", attempt = "error(nil) in down", down = "error(nil)",
    commands = { "up", "down --only 0002" }, expect = "1 script.error", holds = "applied" },
  { id = "error.top", attempt = "error(nil) while the file is loaded", top = "error(nil)",
    expect = "1 script.error", early = true },
  { id = "error.config", attempt = "error(nil) in neap.lua", config = "error(nil)",
    expect = "2 config.invalid", early = true },
}
for _, case in ipairs(list) do
  cases[#cases + 1] = { id = "error." .. case[1], attempt = case[2], up = case[3],
    expect = { "1 script.error", "1 script.memory", "1 script.argument" }, says = case[4],
    brief = true }
end
return cases

-- SPDX-License-Identifier: MIT
--
-- Handles used after their end, at the wrong time or from the wrong place, and
-- coroutines that die while something of theirs is open.
local STEPS = [[
return migration {
  summary = "A step",
  timeout = "20s",
  transaction = false,
  steps = {
    { name = "one",
      up = function(db)
        neap.log "armed"
        db:exec "create table if not exists public.left_over (id int)"
        %s
      end,
      verify = unverified "the self-test looks itself",
      down = irreversible "the self-test drops it" },
  },
}
]]

local list = {
  { "rows-nested", "a statement between two rows",
    "for _ in db:rows 'select generate_series(1, 500)' do db:exec 'select 1' end", "0" },
  { "rows-in-rows", "rows in rows", "for _ in db:rows 'select generate_series(1, 9)' do "
    .. "for _ in db:rows 'select generate_series(1, 500)' do end end", "0" },
  { "rows-single", "a statement between two rows of a writing query",
    "for _ in db:rows 'with i as (insert into left_over select generate_series(1, 500) "
    .. "returning id) select * from i' do db:exec 'select 1' end", "1 db.argument" },
  { "rows-abandoned", "rows that nobody reads to the end",
    "for i = 1, 50 do local f = db:rows 'select generate_series(1, 5000)' f() end", "0" },
  { "rows-abandoned-coroutine", "rows of a coroutine that is never resumed",
    "for i = 1, 50 do coroutine.wrap(function() for _ in db:rows "
    .. "'select generate_series(1, 5000)' do coroutine.yield() end end)() end db:exec 'select 1'",
    "0" },
  { "rows-single-coroutine", "single rows of a coroutine that died",
    "coroutine.wrap(function() for _ in db:rows 'with i as (insert into left_over select "
    .. "generate_series(1, 5000) returning id) select * from i' do coroutine.yield() end end)()",
    "0" },
  { "rows-dropped", "a table dropped while its rows are read",
    "for _ in db:rows 'select * from generate_series(1, 500), witness' do "
    .. "db:exec 'drop table witness' end", "1 db.query" },
  { "rows-savepoint", "rows read after their savepoint was undone",
    "local f db:savepoint(function() f = db:rows 'select generate_series(1, 500)' f() "
    .. "db:exec 'select 1/0' end) while f() do end", { "0", "1 handle.closed" }, "any" },
  { "rows-close-twice", "rows closed twice, then read",
    "local f, _, _, r = db:rows 'select 1' r:close() r:close() assert(f() == nil)", "0" },
  { "savepoint-nested", "savepoints a hundred deep", "local function f() db:savepoint(f) end f()",
    "1 db.argument" },
  { "savepoint-yield", "a coroutine that is left inside a savepoint",
    "local c = coroutine.wrap(function() db:savepoint(function() coroutine.yield() end) end) "
    .. "c()", "1 script.error" },
  { "savepoint-swallow", "a failed statement swallowed inside a savepoint, and on",
    "db:savepoint(function() pcall(db.exec, db, 'select 1/0') db:exec 'select 1' end)", "0" },
  { "swallowed", "a failed statement swallowed", "pcall(db.query, db, 'select 1/0')",
    "1 db.query" },
  { "swallowed-try", "a failed statement swallowed by neap.try, and on",
    "neap.try(db.query, db, 'select 1/0') neap.try(db.exec, db, 'drop table witness')",
    "1 db.query" },
  { "copy-reenter", "db used in the source of its own COPY",
    "db:copy_in('copy left_over from stdin', function() db:exec 'select 1' end)",
    "1 db.argument" },
  { "copy-reenter-pcall", "the same in pcall", "db:copy_in('copy left_over from stdin', function() "
    .. "pcall(db.exec, db, 'select 1') end)", "0" },
  { "copy-in-copy", "a COPY in the sink of a COPY", "db:copy_out('copy witness to stdout', "
    .. "function() db:copy_in('copy left_over from stdin', '1\\n') end)", "1 db.argument" },
  { "copy-error", "an error in the source", "db:copy_in('copy left_over from stdin', "
    .. "function() error {} end)", { "1 script.error", "1 db.query" } },
  { "copy-error-pcall", "the same swallowed, and on", "pcall(db.copy_in, db, "
    .. "'copy left_over from stdin', function() error {} end) db:exec 'select 1'",
    { "1 script.error", "1 db.query", "1 db.aborted" } },
  { "copy-yield", "a yield in the source", "coroutine.wrap(function() db:copy_in("
    .. "'copy left_over from stdin', coroutine.yield) end)()", { "1 script.error", "1 db.query" } },
  { "copy-garbage", "a source that gives garbage", "db:copy_in('copy left_over from stdin', "
    .. "'not a number\\n')", "1 db.query" },
  { "copy-close", "the connection closed by <close> in the source of its COPY",
    "db:copy_in('copy left_over from stdin', function() local _ <close> = db end)",
    { "0", "1 handle.closed", "1 script.error" }, "any" },
  { "close-host", "db:close", "db:close()", "1 db.argument" },
  { "listen", "LISTEN in a transaction", "db:listen 'x'", "1 db.no_transaction" },
  { "connect", "another connection in a transaction", "db:connect()", "1 gate.refused" },
  { "coroutine-statement", "a coroutine that dies with a statement in flight",
    "coroutine.wrap(function() db:exec 'select pg_sleep(0.1)' error 'x' end)()",
    "1 script.error" },
  { "close-statement", "a statement in __close while an error is told",
    "local _ <close> = setmetatable({}, { __close = function() db:exec 'drop table witness' end }) "
    .. "error 'x'", "1 script.error" },
  { "wait-forever", "wait_notification for ever", "db:wait_notification { timeout = '1h' }",
    "124 run.deadline", nil, "500ms" },
  { "types", "values that SQL has none for", "for _, v in ipairs { print, coroutine.create(print), "
    .. "{}, db } do assert(not pcall(db.exec, db, 'select $1', v)) end", "0" },
  { "params-many", "70,000 parameters", "local t = {} for i = 1, 70000 do t[i] = 1 end "
    .. "db:exec('select 1', table.unpack(t))", "1 db.argument" },
  { "nul-sql", "NUL in a statement", "db:exec 'delete from witness \\0 where false'",
    "1 script.argument" },
  { "nul-param", "NUL in a parameter", "db:exec('select $1::text', 'a\\0b')", "1 db.argument" },
  { "nul-ident", "NUL in an identifier", "db:ident 'a\\0b'", "1 script.argument" },
  { "nul-literal", "NUL in a literal", "db:literal 'a\\0b'", "1 script.argument" },
  { "nul-json", "NUL in JSON", "db:json 'a\\0b'", "1 db.argument" },
  { "nul-array", "NUL in an array", "db:array { 'a\\0b' }", "1 db.argument" },
  { "nul-copy", "NUL in a row of a COPY", "db:copy_in('copy left_over from stdin', { { 'a\\0' } })",
    { "1 db.argument", "1 db.query" } },
  { "nul-log", "NUL in the log", "neap.log 'a\\0b'", "0" },
  { "utf8-sql", "a statement that is no UTF-8", "db:exec \"select '\\xff'\"", "1 db.argument" },
  { "utf8-cut", "a statement that ends within a character", "db:exec \"select '\\xe2\\x82\"",
    "1 db.argument" },
  { "utf8-param", "a parameter that is no UTF-8", "db:exec('select $1', '\\xc0\\xaf')",
    "1 db.argument" },
  { "utf8-ident", "an identifier that is no UTF-8", "db:ident '\\xff'", "1 db.argument" },
}

-- The same in a step without a transaction, with a connection of the script's own.
local steps = {
  { "own-close-in-copy", "its own connection closed in the source of its COPY",
    "local c = db:connect() c:copy_in('copy left_over from stdin', function() c:close() "
    .. "return '1\\n' end)" },
  { "own-close-in-sink", "its own connection closed in the sink of its COPY",
    "local c = db:connect() c:copy_out('copy (select generate_series(1, 1000)) to stdout', "
    .. "function() c:close() end)" },
  { "own-close-variable", "the same by <close>",
    "local c = db:connect() c:copy_in('copy left_over from stdin', function() "
    .. "local _ <close> = c return '1\\n' end)" },
  { "own-close-in-rows", "its own connection closed between two rows",
    "local c = db:connect() for _ in c:rows 'select generate_series(1, 5000)' do c:close() end" },
  { "own-rows-after", "rows read after their connection was closed",
    "local c = db:connect() local f = c:rows 'select generate_series(1, 5000)' f() c:close() f()" },
  { "own-begin", "a transaction on its own connection",
    "local c = db:connect() pcall(c.exec, c, 'begin')" },
  { "own-use-after", "its own connection used after it was closed",
    "local c = db:connect() c:close() c:exec 'select 1'" },
}
local abandoned = {
  { "own-abandoned", "thirty connections that nobody closes",
    "local t = {} for i = 1, 30 do t[i] = db:connect() t[i]:exec 'select 1' end" },
}

local cases = {
  { id = "handle.kept-verify", attempt = "db of up kept in a module and used in verify",
    file = [[
local kept = require "kept"
return migration {
  summary = "x",
  up = function(db)
    neap.log "armed"
    kept.db, kept.rows = db, db:rows "select generate_series(1, 9)"
    db:exec "create table public.left_over (id int)"
  end,
  verify = function() kept.db:exec "drop table left_over" end,
  down = irreversible "x",
}]], lib = { kept = "return {}" }, expect = "8 verify.failed" },
  { id = "handle.kept-rows", attempt = "rows of up kept and read in verify", file = [[
local rows
return migration {
  summary = "x",
  up = function(db)
    neap.log "armed"
    rows = db:rows "select generate_series(1, 9)"
    db:exec "create table public.left_over (id int)"
  end,
  verify = function() for _ in rows do end end,
  down = irreversible "x",
}]], expect = "8 verify.failed" },
  { id = "handle.kept-coroutine", attempt = "a coroutine of up resumed in verify", file = [[
local c
return migration {
  summary = "x",
  up = function(db)
    neap.log "armed"
    db:exec "create table public.left_over (id int)"
    c = coroutine.wrap(function() coroutine.yield() db:exec "drop table left_over" end)
    c()
  end,
  verify = function() c() end,
  down = irreversible "x",
}]], expect = "8 verify.failed" },
  { id = "handle.verify-connect", attempt = "another connection in verify",
    verify = "db:connect():exec 'drop table witness'", expect = "8 verify.failed" },
  { id = "handle.verify-copy", attempt = "a COPY into a table in verify",
    verify = "db:copy_in('copy witness from stdin', '2\\n')", expect = "8 verify.failed" },
  { id = "handle.verify-notify", attempt = "a NOTIFY in verify",
    verify = "db:notify('x', 'y')", expect = "8 verify.failed" },
}
for _, case in ipairs(list) do
  cases[#cases + 1] = { id = "handle." .. case[1], attempt = case[2], up = case[3],
    expect = case[4], holds = case[5], timeout = case[6] }
end
for _, case in ipairs(steps) do
  cases[#cases + 1] = { id = "handle." .. case[1], attempt = case[2], file = STEPS:format(case[3]),
    expect = "9 step.partial", holds = "any" }
end
for _, case in ipairs(abandoned) do
  cases[#cases + 1] = { id = "handle." .. case[1], attempt = case[2], file = STEPS:format(case[3]),
    expect = "0" }
end
return cases

-- SPDX-License-Identifier: MIT
-- What statements do, what is refused, and where errors come.
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

add("exec gives rows affected", "tx", function(db)
  db:exec "CREATE TABLE t (id int PRIMARY KEY, name text)"
  local count = db:exec("INSERT INTO t SELECT g, 'n' || g FROM generate_series(1, $1) g", 10)
  assert(count == 10 and math.type(count) == "integer")
  assert(db:exec "UPDATE t SET name = 'x' WHERE id > 100" == 0)
  assert(db:exec "SELECT * FROM t" == 10)
  assert(db:exec "CREATE TABLE u ()" == 0)
  assert(select("#", db:exec "DELETE FROM t") == 1)
end)

add("query row and value", "tx", function(db)
  local rows = db:query "SELECT g AS n FROM generate_series(1, 3) g"
  assert(#rows == 3 and rows[3].n == 3)
  assert(#db:query "SELECT 1 AS a WHERE false" == 0)
  assert(db:row "SELECT 1 AS a WHERE false" == nil)
  assert(db:value "SELECT 1 WHERE false" == nil)
  db:exec "CREATE TEMP TABLE t (a int)"
  assert(db:value "INSERT INTO t VALUES (1) RETURNING a" == 1)
  assert(db:row("UPDATE t SET a = $1 RETURNING a", 7).a == 7)
end)

add("more than one row is an error", "tx", function(db)
  raises("db.rows", "at most one row", db.row, db, "SELECT 1 AS a UNION ALL SELECT 2")
  raises("db.rows", "at most one row", db.value, db, "SELECT generate_series(1, 3)")
  assert(db:value "SELECT 1" == 1) -- the transaction goes on
end)

add("a large result meets the cap", "tx", function(db)
  local ok, err = db:savepoint(function()
    db:query "SELECT repeat('x', 100000) AS x FROM generate_series(1, 20000)"
  end)
  assert(ok == false and err.code == "db.rows", tostring(err))
  assert(err.hint:find "db:rows", err.hint)
  assert(db:value "SELECT 1" == 1)
end)

add("transaction control is refused", "tx", function(db)
  for _, sql in ipairs { "COMMIT", "/* x */ commit", "ROLLBACK", "BEGIN", "SAVEPOINT a",
    "PREPARE TRANSACTION 'x'", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "DISCARD ALL", "END", "START TRANSACTION" } do
    for _, name in ipairs { "exec", "query", "row", "value", "rows" } do
      raises("db.transaction_control", "", db[name], db, sql)
    end
  end
  raises("db.argument", "", db.exec, db, "CREATE TABLE a (); CREATE TABLE b ()")
  raises("db.transaction_control", "", db.exec, db, "BEGIN")
  assert(db:value "SELECT 1" == 1)
  local passes = gate_counts()
  assert(passes == 1, passes) -- none of them was even asked for
end)

add("what cannot run in a transaction is refused", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  for _, sql in ipairs { "VACUUM t", "CREATE INDEX CONCURRENTLY i ON t (a)", "CREATE DATABASE x",
    "ALTER SYSTEM SET work_mem = '1MB'", "REINDEX TABLE CONCURRENTLY t" } do
    local err = raises("db.no_transaction", "transaction = false", db.exec, db, sql)
    assert(err.sql == sql)
  end
  assert(db:value "SELECT 1" == 1)
end)

add("COPY is for copy_in and copy_out", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  raises("db.argument", "db:copy_in", db.exec, db, "COPY t FROM STDIN")
  raises("db.argument", "db:copy_in or db:copy_out", db.query, db, "COPY t TO STDOUT")
  raises("gate.refused", "", db.exec, db, "COPY t TO PROGRAM 'cat'")
end)

add("an error names its line and the caret", "tx", function(db)
  local line = debug.getinfo(1, "l").currentline + 1
  local ok, err = pcall(function() return (db:exec "SELECT nonsense FROM nowhere") end)
  assert(not ok and err.code == "db.query" and err.sqlstate == "42P01", tostring(err))
  assert(err.line == line, tostring(err.line))
  assert(err.file:find "statements.lua" and err.position == 22, tostring(err.position))
  return "^db.query .*statements.lua:" .. line
end)

add("a swallowed error fails the step", "tx", function(db)
  pcall(db.exec, db, "SELECT 1/0")
  raises("db.query", "division by zero", db.exec, db, "SELECT 1")
  raises("db.query", "division by zero", db.query, db, "SELECT 1")
  return "^db.query .*division by zero"
end)

add("exec that is looked at waits", "tx", function(db)
  local ok = pcall(function() local n = db:exec "SELECT 1/0" return n end)
  assert(not ok)
  return "division by zero"
end)

add("a savepoint survives a failing statement", "tx", function(db)
  db:exec "CREATE TABLE t (a int PRIMARY KEY)"
  db:exec "INSERT INTO t VALUES (1)"
  local ok, err = db:savepoint(function(inner)
    assert(inner == db)
    db:exec "INSERT INTO t VALUES (2)"
    db:exec "INSERT INTO t VALUES (1)"
  end)
  assert(ok == false and err.code == "db.query" and err.sqlstate == "23505", tostring(err))
  assert(db:value "SELECT count(*) FROM t" == 1)
  local yes, a, b = db:savepoint(function(_, x)
    db:exec "INSERT INTO t VALUES (3)"
    return x, 5
  end, 4)
  assert(yes == true and a == 4 and b == 5)
  assert(db:value "SELECT count(*) FROM t" == 2)
end)

add("a savepoint catches what was swallowed inside", "tx", function(db)
  local ok, err = db:savepoint(function()
    pcall(db.value, db, "SELECT 1/0")
    return "fine"
  end)
  assert(ok == false and err.sqlstate == "22012", tostring(err))
  assert(db:value "SELECT 1" == 1)
end)

add("savepoints nest", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  local ok = db:savepoint(function()
    db:exec "INSERT INTO t VALUES (1)"
    local inner = db:savepoint(function()
      db:exec "INSERT INTO t VALUES (2)"
      db:exec "SELECT 1/0"
    end)
    assert(inner == false)
    db:exec "INSERT INTO t VALUES (3)"
  end)
  assert(ok == true and db:value "SELECT sum(a) FROM t" == 4)
end)

add("other errors pass a savepoint after its rollback", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  local mine = {}
  local ok, err = pcall(db.savepoint, db, function()
    db:exec "INSERT INTO t VALUES (1)"
    error(mine)
  end)
  assert(not ok and err == mine)
  assert(db:value "SELECT count(*) FROM t" == 0)
  raises("db.transaction_control", "", db.savepoint, db, function() db:exec "COMMIT" end)
  assert(not pcall(db.savepoint, db, function() coroutine.yield() end))
end)

add("savepoints need a transaction", "alone", function(db)
  raises("db.argument", "needs a transaction", db.savepoint, db, function() end)
end)

add("rows stream in constant memory", "tx", function(db)
  local before, count, sum = peak_kb(), 0, 0
  for row in db:rows "SELECT g AS n, repeat('x', 1000) AS pad FROM generate_series(1, 100000) g" do
    count, sum = count + 1, sum + row.n
    if count % 20000 == 0 then
      assert(db:value "SELECT 1" == 1) -- other statements in between
    end
  end
  assert(count == 100000 and sum == 5000050000)
  assert(peak_kb() - before < 40000, (peak_kb() - before) .. " kB")
end)

add("rows stream outside a transaction", "alone", function(db)
  local count = 0
  for row in db:rows("SELECT g AS n FROM generate_series(1, $1) g", 100000) do
    count = count + 1
    assert(row.n == count)
    if count == 5 then
      raises("db.argument", "streaming rows", db.value, db, "SELECT 1")
    end
  end
  assert(count == 100000 and db:value "SELECT 1" == 1)
end)

add("a loop that is left closes its rows", "tx", function(db)
  db:exec "CREATE TABLE t AS SELECT g FROM generate_series(1, 1000) g"
  for row in db:rows "SELECT * FROM t" do
    if row.g == 3 then
      break
    end
  end
  pcall(function()
    for _ in db:rows "SELECT * FROM t" do
      error "out"
    end
  end)
  db:exec "DROP TABLE t" -- no query uses it any more
  assert(db:value "SELECT count(*) FROM pg_cursors WHERE name LIKE 'neap%'" == 0)
end)

add("a loop that is left outside a transaction", "alone", function(db)
  for _ in db:rows "SELECT generate_series(1, 1000) AS n" do
    break
  end
  assert(db:value "SELECT 2" == 2)
end)

add("rows of a writing statement", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  local seen = 0
  for row in db:rows [[
    WITH i AS (INSERT INTO t SELECT generate_series(1, 5) RETURNING a) SELECT a FROM i]] do
    seen = seen + row.a
  end
  for row in db:rows "DELETE FROM t WHERE a = 5 RETURNING a" do
    seen = seen + row.a
  end
  assert(seen == 20)
end)

add("an error in the middle of rows", "tx", function(db)
  local count = 0
  local ok, err = db:savepoint(function()
    for _ in db:rows "SELECT 1 / (5000 - g) AS x FROM generate_series(1, 10000) g" do
      count = count + 1
    end
  end)
  assert(ok == false and err.sqlstate == "22012" and count > 0, tostring(err))
  assert(db:value "SELECT 1" == 1)
end)

add("rows kept over a rolled back savepoint", "tx", function(db)
  local kept
  db:savepoint(function()
    kept = db:rows "SELECT generate_series(1, 1000) AS n"
    kept()
    db:exec "SELECT 1/0"
  end)
  assert(kept() == nil)
  kept = nil
  collectgarbage()
  assert(db:value "SELECT 1" == 1)
end)

add("an error in a cursor's statement has its own position", "tx", function(db)
  local err = raises("db.query", "nowhere", db.rows, db, "SELECT * FROM nowhere")
  assert(err.sql == "SELECT * FROM nowhere" and err.position == 15, tostring(err.position))
  return "^db.query"
end)

add("copy in and out", "tx", function(db)
  db:exec "CREATE TABLE t (id int, name text, ok boolean, raw bytea)"
  assert(db:copy_in("COPY t FROM STDIN", "1\ta\tt\t\\N\n2\t\\N\tf\t\\N\n") == 2)
  assert(db:copy_in("COPY t FROM STDIN", {
    { 3, "tab\tnl\nbs\\N", true, db:bytea "\0\\x" }, { 4, neap.null, false, neap.null },
  }) == 2)
  local i = 4
  assert(db:copy_in("COPY t (id, name) FROM STDIN", function()
    i = i + 1
    return i <= 20000 and { i, "n" .. i } or nil
  end) == 19996)
  local row = db:row "SELECT * FROM t WHERE id = 3"
  assert(row.name == "tab\tnl\nbs\\N" and row.ok and row.raw == "\0\\x")
  assert(db:copy_out "COPY (SELECT id, name FROM t WHERE id IN (1, 2) ORDER BY 1) TO STDOUT" ==
    "1\ta\n2\t\\N\n")
  local bytes = 0
  assert(db:copy_out("COPY t TO STDOUT", function(piece) bytes = bytes + #piece end) == 20000)
  assert(bytes > 200000)
end)

add("copy that fails ends the COPY", "tx", function(db)
  db:exec "CREATE TABLE t (id int)"
  local ok, err = db:savepoint(function()
    db:copy_in("COPY t FROM STDIN", "x\n")
  end)
  assert(ok == false and err.sqlstate == "22P02", tostring(err))
  raises("script.error", "mine", db.copy_in, db, "COPY t FROM STDIN", function() error "mine" end)
  return "."
end)

add("copy is strict about its source", "tx", function(db)
  db:exec "CREATE TABLE t (a int, b int)"
  raises("db.argument", "not a number", db.copy_in, db, "COPY t FROM STDIN", 1)
  raises("db.argument", "not a COPY", db.copy_in, db, "SELECT 1", "x")
  local ok, err = pcall(db.copy_in, db, "COPY t FROM STDIN", { { 1, nil, 3 } })
  assert(not ok and tostring(err):find "row 1 must be a list", tostring(err))
  return "."
end)

add("the connection is busy inside a COPY", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  local inner
  pcall(db.copy_in, db, "COPY t FROM STDIN", function()
    inner = select(2, pcall(db.value, db, "SELECT 1"))
    return nil
  end)
  assert(inner.code == "db.argument" and tostring(inner):find "inside a COPY")
end)

add("identifiers and literals", "tx", function(db)
  assert(db:ident "plain" == '"plain"' and db:ident("a", 'b"c') == '"a"."b""c"')
  assert(db:literal "it's" == "'it''s'")
  assert(db:value("SELECT " .. db:literal "a\\'b") == "a\\'b")
  raises("script.argument", "NUL", db.ident, db, "a\0b")
  raises("db.argument", "", db.ident, db, "\xC0")
end)

add("verify reads and cannot write", "verify", function(db)
  assert(db:value "SELECT 1" == 1)
  assert(#db:query "SHOW work_mem" == 1)
  assert(#db:query "EXPLAIN SELECT 1" > 0)
  for row in db:rows "SELECT 1 AS a" do
    assert(row.a == 1)
  end
  assert(db:copy_out "COPY (SELECT 1) TO STDOUT" == "1\n")
  raises("gate.refused", "verify", db.exec, db, "CREATE TABLE t ()")
  raises("gate.refused", "", db.query, db, "SET work_mem = '1MB'")
  raises("gate.refused", "", db.notify, db, "c", "x")
  raises("gate.refused", "", db.copy_in, db, "COPY t FROM STDIN", "")
  raises("gate.refused", "", db.connect, db)
  local ok, err = db:savepoint(function() return db:value "SELECT 1/0" end)
  assert(ok == false and err.sqlstate == "22012")
end)

add("notify and listen", "alone", function(db)
  db:listen "news"
  db:notify("news", "it's here")
  local got = db:wait_notification { timeout = "5s" }
  assert(got.channel == "news" and got.payload == "it's here" and got.pid > 0)
  assert(db:wait_notification { timeout = "20ms" } == nil)
  db:unlisten()
  db:notify "news"
  assert(db:wait_notification { timeout = "20ms" } == nil)
  raises("script.argument", "timeot", db.wait_notification, db, { timeot = "5s" })
end)

add("listen waits for a step without a transaction", "tx", function(db)
  raises("db.no_transaction", "COMMIT", db.listen, db, "news")
  raises("gate.refused", "transaction", db.connect, db)
  db:notify("news", "x")
end)

add("another connection", "alone", function(db)
  local other <close> = db:connect { timeout = "5s" }
  assert(other:value "SELECT pg_backend_pid()" ~= db:value "SELECT pg_backend_pid()")
  raises("gate.refused", "here", other.connect, other)
  other:close()
  raises("handle.closed", "", other.value, other, "SELECT 1")
  raises("db.argument", "not the script's", db.close, db)
end)

add("an index is built concurrently", "alone", function(db)
  db:exec "DROP TABLE IF EXISTS built"
  db:exec "CREATE TABLE built AS SELECT g AS a FROM generate_series(1, 1000) g"
  db:exec "CREATE INDEX CONCURRENTLY built_a ON built (a)"
  assert(db:value "SELECT indisvalid FROM pg_index WHERE indexrelid = 'built_a'::regclass")
  raises("db.argument", "name", db.exec, db, "CREATE INDEX CONCURRENTLY ON built (a)")
  db:exec "INSERT INTO built VALUES (1)"
  local ok = pcall(db.exec, db, "CREATE UNIQUE INDEX CONCURRENTLY built_u ON built (a)")
  assert(not ok)
  return "."
end)

add("status and version", "tx", function(db)
  assert(db:server_version() >= 150000)
  db:wait()
  assert(db:status() == "transaction", db:status())
  raises("script.argument", "did you mean \"exec\"", function() return db.exce end)
  raises("script.argument", "colon", db.exec, "SELECT 1")
end)

return cases

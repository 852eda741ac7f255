-- SPDX-License-Identifier: MIT
-- Statements whose result nobody looks at. In a file of its own: where a script
-- reaches exec in any other way, nothing in that file is pipelined.
local cases = {}

local function add(name, rule, run)
  cases[#cases + 1] = { name, rule, run }
end

local function line_of_caller()
  return debug.getinfo(2, "l").currentline
end

add("pipelined statements are not waited for", "tx", function(db)
  db:exec "CREATE TABLE t (a int)"
  for i = 1, 5000 do
    db:exec("INSERT INTO t VALUES ($1)", i)
  end
  local _, before = gate_counts()
  db:exec "CREATE TABLE u (a int)"
  db:exec "INSERT INTO t VALUES (0)"
  local passed, after = gate_counts()
  assert(after == before and passed > after, "sent, and not waited for")
  assert(db:value "SELECT count(*) FROM t" == 5001)
end)

add("a pipelined failure names its own line", "tx", function(db)
  local line
  pcall(function()
    db:exec "CREATE TABLE t (a int PRIMARY KEY)"
    for i = 1, 5000 do
      if i == 2500 then
        line = line_of_caller() + 1
        db:exec("INSERT INTO t VALUES ($1)", 1)
      else
        db:exec("INSERT INTO t VALUES ($1)", i)
      end
    end
  end)
  return "^db.query .*pipeline.lua:" .. line .. " .*duplicate key"
end)

add("a failure nobody waited for is heard at the end", "tx", function(db)
  local line = line_of_caller() + 1
  db:exec "INSERT INTO nowhere VALUES (1)"
  db:exec "INSERT INTO elsewhere VALUES (1)"
  return "^db.query .*pipeline.lua:" .. line .. " .*nowhere"
end)

add("a failure before a savepoint stays outside", "tx", function(db)
  local line = line_of_caller() + 2
  db:exec "CREATE TABLE t (a int CHECK (a > 0))"
  db:exec "INSERT INTO t VALUES (0)"
  local ok, err = pcall(db.savepoint, db, function() end)
  assert(not ok and err.sqlstate == "23514" and err.line == line, tostring(err))
  return "^db.query"
end)

add("a failure at the end of a savepoint is its own", "tx", function(db)
  db:exec "CREATE TABLE t (a int CHECK (a > 0))"
  local ok, err = db:savepoint(function()
    db:exec "INSERT INTO t VALUES (0)"
  end)
  assert(ok == false and err.sqlstate == "23514", tostring(err))
  assert(db:value "SELECT count(*) FROM t" == 0)
end)

return cases

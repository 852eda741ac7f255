-- SPDX-License-Identifier: MIT
--
-- What is measured. A workload makes its files once and says, for each round,
-- which commands do the same work on an empty (or a prepared) database: neap's,
-- and psql's with the same statements in the same transactions and a row of
-- history for each migration.
local workloads = {}

local history_table = [[
create table public.psql_history (id text primary key, name text not null, hash text not null,
  applied_at timestamptz not null default now());
]]

local function history_row(id)
  return ("insert into public.psql_history (id, name, hash) values ('%s', 'small', md5('%s'));\n")
    :format(id, id)
end

-- The statements of a small migration: a table, an index, a row.
local function small(id)
  local name = "t" .. id
  return {
    ("create table %s (id bigint primary key, name text not null)"):format(name),
    ("create index on %s (name)"):format(name),
    ("insert into %s values (1, 'one')"):format(name),
  }
end

local function id_of(number)
  return ("%04d"):format(number)
end

local function lua_calls(statements)
  local lines = {}
  for i, sql in ipairs(statements) do
    lines[i] = ("    db:exec [[%s]]\n"):format(sql)
  end
  return table.concat(lines)
end

local function write_lua(p, id, statements, table_name)
  p:write(("migrations/%s_small.lua"):format(id), ([=[
return migration {
  summary = "Make %s",
  up = function(db)
%s  end,
  verify = function(db, expect)
    expect.equal(db:value "select count(*) from %s", %s)
  end,
  down = function(db) db:exec "drop table %s" end,
}
]=]):format(table_name, lua_calls(statements), table_name, "1", table_name))
end

local function write_psql(p, count)
  local parts = { history_table }
  for i = 1, count do
    local id = id_of(i)
    parts[#parts + 1] = "begin;\n" .. table.concat(small(id), ";\n") .. ";\n" .. history_row(id)
      .. "commit;\n"
  end
  p:write("psql.sql", table.concat(parts))
end

--- `count` small migrations, for neap and for psql, and for peers (peers.lua) as lists of
--- statements.
function workloads.write_small(p, count)
  local all = {}
  for i = 1, count do
    local id = id_of(i)
    local statements = small(id)
    write_lua(p, id, statements, "t" .. id)
    all[i] = { id = id, up = statements, down = { "drop table t" .. id } }
  end
  write_psql(p, count)
  return all
end

--- One migration of `count` statements, 0002, behind a small one that was applied
--- before (first.sql): what a first run installs is not part of it.
function workloads.write_one(p, count)
  local statements = { "create table t0002 (id bigint primary key, name text)" }
  for i = 1, count - 1 do
    statements[#statements + 1] = ("insert into t0002 values (%d, 'row %d')"):format(i, i)
  end
  local first = small "0001"
  write_lua(p, "0001", first, "t0001")
  p:write("first.sql", history_table .. table.concat(first, ";\n") .. ";\n"
    .. history_row "0001")
  p:write("migrations/0002_one.lua", ([=[
return migration {
  summary = "Fill a table",
  up = function(db)
%s  end,
  verify = function(db, expect)
    expect.equal(db:value "select count(*) from t0002", %d)
  end,
  down = function(db) db:exec "drop table t0002" end,
}
]=]):format(lua_calls(statements), count - 1))
  p:write("psql.sql", "begin;\n" .. table.concat(statements, ";\n") .. ";\n"
    .. history_row "0002" .. "commit;\n")
  return { { id = "0001", up = first, down = { "drop table t0001" } },
    { id = "0002", up = statements, down = { "drop table t0002" } } }
end

return workloads

-- SPDX-License-Identifier: MIT
--
-- Three migrations of three kinds, and what must hold of their target after whatever
-- happened to a run: history and effects agree, and the next run ends whole.
local assert = require "luassert"
local e2e = require "harness"
local process = e2e.process

local whole = {}

-- A transactional Lua file, a SQL file, and steps with an index built concurrently.
function whole.project()
  local p = e2e.project()
  p:write("neap.lua", "return { environments = { default = { url = env 'DATABASE_URL' } } }")
  p:write("lib/names.lua", "return { users = 'users' }")
  p:write("migrations/0001_users.lua", [[
local names = require "names"
return migration {
  summary = "Users",
  up = function(db)
    db:exec("create table " .. db:ident(names.users) .. " (id bigint primary key, name text)")
    for i = 1, 5 do db:exec("insert into users values ($1, $2)", i, "name " .. i) end
    for row in db:rows "select id, name from users" do assert(#row.name > 0) end
  end,
  verify = function(db, expect)
    expect.table "public.users"
    expect.equal(db:value "select count(*) from users", 5)
  end,
  down = function(db) db:exec "drop table users" end,
}]])
  p:write_sql("0002_products.sql", "create table products (id int primary key)",
    "select count(*) = 0 from products", "drop table products")
  p:write("migrations/0003_orders.lua", [[
return migration { summary = "Orders", transaction = false, steps = {
  { name = "table",
    up = function(db) db:exec "create table orders (id int, user_id bigint)" end,
    verify = function(_, expect) expect.table "public.orders" end,
    down = function(db) db:exec "drop table orders" end },
  { name = "index",
    up = function(db) db:exec "create index concurrently orders_user on orders (user_id)" end,
    verify = function(_, expect) expect.index("public.orders_user", { valid = true }) end,
    down = function(db) db:exec "drop index concurrently orders_user" end },
} }]])
  return p
end

-- Of each migration: is it applied (as the history says), is its table there. The
-- inner query is text, because the history may not be there yet.
local state_sql = [[
  with applied(ids) as (select case when to_regclass('neap.history') is not null then
    query_to_xml('select distinct on (id) id, action from neap.history order by id, seq desc',
      true, true, '')::text else '' end)
  select string_agg(left((ids ~ (lpad(o::text, 4, '0') || '</id>\s*<action>apply'))::text, 1)
    || left((to_regclass('public.' || t) is not null)::text, 1), ' ' order by o)
  from applied, unnest(array['users', 'products', 'orders']) with ordinality u(t, o)]]

function whole.state(p)
  return p:value(state_sql)
end

-- Runs on until nothing is left, as the exit status says; the last result.
function whole.run_again(p)
  local r = p:neap { "up" }
  if r.status == 9 then
    r = p:neap { "resume" }
    r = r.status == 0 and p:neap { "up" } or r
  end
  return r
end

-- Each applied once (`undone`: once again at most), effects there, nobody holds the
-- lease (it is released, or its holder's backend is gone), and the audit verifies.
function whole.check(p, place, undone)
  assert.equal("tt tt tt", whole.state(p), place)
  assert.match(undone and "^[12] [12] [12] 5 t$" or "^1 1 1 5 t$", p:value [[
    select (select string_agg(n::text, ' ' order by id) from (select id, count(*) n
        from neap.history where action = 'apply' group by id) h)
      || ' ' || (select count(*) from users) || ' ' || (select left(indisvalid::text, 1)
        from pg_index where indexrelid = 'orders_user'::regclass)]], place)
  assert(process.await(10, function()
    return p:value [[select count(*) from neap.lease l join pg_stat_activity a
      on a.pid = l.backend_pid where l.released_at is null]] == "0"
  end), place)
  local audit = p:neap "audit verify"
  assert.equal(0, audit.status, place .. audit.out .. audit.err)
end

-- `size` numbers spread over 1..total, or all of them.
function whole.spread(total, size)
  local list = {}
  size = math.min(size or total, total)
  for i = 1, size do
    list[i] = 1 + (i - 1) * total // size + math.random(0, total // size - 1)
  end
  return list
end

return whole

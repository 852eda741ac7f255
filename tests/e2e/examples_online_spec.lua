-- SPDX-License-Identifier: MIT
--
-- The example project under traffic, and interrupted: writers of old and new code
-- while a column is renamed, the locks that each migration takes, a concurrent
-- build and a fill that are killed halfway and go on.
local e2e = require "harness"
local example = require "example"

-- The strongest lock of each transactional migration on relations that were there,
-- from RowExclusive up; sequences, which a trial's rows take numbers from, aside.
local locks = {
  ["0001"] = "",
  ["0002"] = "ShareRowExclusiveLock shop.users",
  ["0003"] = "",
  ["0004"] = "ShareRowExclusiveLock shop.products, ShareRowExclusiveLock shop.supported_locales",
  ["0005"] = "",
  ["0006"] = "ShareRowExclusiveLock shop.supported_locales",
  ["0007"] = "AccessExclusiveLock shop.products",
  ["0009"] = "ShareRowExclusiveLock shop.products, ShareRowExclusiveLock shop.users",
  ["0010"] = "",
  ["0013"] = "AccessExclusiveLock shop.products",
  ["0015"] = "AccessExclusiveLock shop.orders",
  ["0016"] = "AccessExclusiveLock shop.products",
}

-- Code that writes one column and knows nothing of the other: rows of its own, where
-- it finds what it wrote or stops with an error, and rows that all writers share.
local writer_sql = [[
do $writer$
declare
  n integer := 0;
  found text;
begin
  insert into shop.products (sku, price_cents, @column) values ('@who', 1, '@who 0');
  commit;
  while not exists (select from public.stop) and n < 100000 loop
    n := n + 1;
    update shop.products set @column = '@who ' || n where sku = '@who';
    insert into public.wrote values ('@who', n) on conflict (who) do update set n = excluded.n;
    commit;
    select @column into found from shop.products where sku = '@who';
    if found is distinct from '@who ' || n then
      raise exception '@who wrote %, and found %', n, found;
    end if;
    commit;
    update shop.products set @column = '@who ' || n where sku = 'mug';
    commit;
    update shop.products set @column = '@who ' || n where sku = 'row ' || (n * 7 % 3000);
    commit;
    insert into shop.products (sku, price_cents, @column) values ('@who ' || n, 1, '@who ' || n);
    commit;
    perform pg_sleep(0.002);
  end loop;
end $writer$]]

local function writer(p, who, column)
  local sql = writer_sql:gsub("@(%l+)", { who = who, column = column })
  local argv = { e2e.cluster().bin .. "/psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", p.url,
    "-c", sql }
  local started = e2e.process.start(argv, p.temp .. "/" .. who, { cwd = "/", env = p.env,
    timeout = 120 })
  p.processes[#p.processes + 1] = started
  assert(e2e.process.await(30, function()
    return tonumber(p:value(("select coalesce(sum(n), 0) from public.wrote where who = '%s'")
      :format(who))) > 3
  end), started:err())
  return started
end

-- Rows enough for several batches.
local function many(p)
  p:query [[insert into shop.products (sku, price_cents, name)
    select 'row ' || n, 1, 'name ' || n from generate_series(0, 4999) n]]
end

local function differing(p)
  return p:value "select count(*) from shop.products where name is distinct from title"
end

local function gone(p)
  assert(e2e.process.await(20, function()
    return p:value [[select count(*) from pg_stat_activity
      where application_name like 'neap:%' and datname = current_database()]] == "0"
  end), "the killed run's sessions did not end")
end

local function index_valid(p)
  return p:value [[select coalesce((select indisvalid::text from pg_index where
    indexrelid = to_regclass('shop.product_translations_search_idx')), 'none')]]
end

-- Runs `args` until `ready`, kills it, clears the way, and looks.
local function kill_when(p, args, blocker, ready)
  local run = p:start(args)
  assert(e2e.process.await(30, ready), "it did not come so far: " .. run:err())
  run:signal "KILL"
  run:wait(10)
  gone(p)
  blocker:close()
  assert.equal(1, p:json({ "status" }).partial)
end

describe("the example project online", function()
  after_each(e2e.clean)

  it("keeps what writers of old and new code write, at every moment of the rename", function()
    local p = example.project()
    example.up(p, "0012")
    many(p)
    p:query [[create table public.stop (); create table public.wrote (who text primary key,
      n integer)]]
    local writers = { writer(p, "old-1", "name"), writer(p, "old-2", "name") }
    p:expect "up --to 13"
    writers[3] = writer(p, "new-1", "title")
    writers[4] = writer(p, "new-2", "title")
    p:expect "up --to 15"
    p:expect { "verify" }
    local before = tonumber(p:value "select sum(n) from public.wrote")
    assert(e2e.process.await(30, function()
      return tonumber(p:value "select sum(n) from public.wrote") > before + 20
    end), "the writers stand still")
    p:query "insert into public.stop default values"
    for _, started in ipairs(writers) do
      local r = started:wait(60)
      assert.equal(0, r.status, r.err)
    end
    assert.equal("0", differing(p))
    assert.equal("4", p:value [[select count(*) from public.wrote w join shop.products
      on sku = who and title = who || ' ' || n]])
    -- Every row that was inserted on the way is there, with the text of its writer.
    assert.equal(p:value "select sum(n) from public.wrote", p:value [[select count(*)
      from shop.products where sku ~ '^(old|new)-[12] ' and title = sku]])
  end)

  it("takes the locks that it says, and no others", function()
    local p = example.project()
    for _, id in ipairs(example.ids()) do
      local unit = p:json({ "up", "--to", id, "--dry-run" }).applied[1]
      local found = {}
      for _, lock in ipairs(type(unit.locks) == "table" and unit.locks or {}) do
        if lock.mode:find "Exclusive" and not lock.mode:find "^Row" then
          found[#found + 1] = lock.mode .. " " .. lock.relation
        end
      end
      table.sort(found)
      assert.equal(locks[id], type(unit.executed) == "table" and table.concat(found, ", ") or nil,
        id)
      p:expect("up --to " .. id)
    end
  end)

  it("makes a column NOT NULL without reading the table under the lock", function()
    local p = example.project()
    example.up(p, "0010")
    p:query(("alter database %s set log_min_messages = debug1"):format(p.database))
    p:expect "up --to 11"
    local log = e2e.process.read(e2e.cluster().log)
    local _, read_count = log:gsub('verifying table "orders"', "")
    local read = log:find('verifying table "orders"', 1, true) -- by VALIDATE, and once
    local proved = log:find('existing constraints on column "orders.currency" are sufficient', 1,
      true)
    assert.equal(1, read_count)
    assert.truthy(proved and read < proved)
  end)

  it("goes on with a concurrent build that was killed", function()
    local p = example.project()
    example.up(p, "0007")
    local blocker = p:session "update shop.product_translations set name = name"
    kill_when(p, "up --to 8", blocker, function()
      return index_valid(p) == "false"
    end)
    p:expect { "resume" }
    assert.equal("true", index_valid(p))
    p:expect "verify 0008"
    p:expect { "audit", "verify" }
  end)

  it("goes on with a fill that was killed, where rows are still empty", function()
    local p = example.project()
    example.up(p, "0013")
    p:query "alter table shop.products disable trigger products_keep_title" -- rows of before it
    many(p)
    p:query "alter table shop.products enable trigger products_keep_title"
    local blocker = p:session "select from shop.products where sku = 'row 3500' for update"
    local function filled()
      return tonumber(p:value "select count(*) from shop.products where title is not null")
    end
    assert.equal(0, filled())
    kill_when(p, "up --to 14 --lock-budget 60s", blocker, function()
      return filled() > 2500
    end)
    local first = p:value "select xmin || ' ' || ctid from shop.products where sku = 'row 10'"
    p:expect { "resume" }
    assert.equal(first, p:value
      "select xmin || ' ' || ctid from shop.products where sku = 'row 10'") -- not written twice
    assert.equal("0", differing(p))
    p:expect "verify 0014"
    p:expect { "audit", "verify" }
  end)
end)

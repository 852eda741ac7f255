-- SPDX-License-Identifier: MIT
--
-- The example project on a shop with data: every migration goes up, is verified,
-- goes down and leaves the schema and the rows as they were; every verify fails
-- when what it speaks of is damaged; every refusal refuses.
local e2e = require "harness"
local example = require "example"

-- Something of a migration broken behind neap's back, and what its verify says.
local damages = {
  { "0001", "drop index shop.users_email_key", "users_email_key" },
  { "0002", "alter table shop.products drop constraint products_price_positive", "price_positive" },
  { "0003", "update shop.supported_locales set name = 'Danish' where code = 'en'", "English" },
  { "0004", "alter table shop.product_translations alter column name drop not null", "NOT NULL" },
  { "0005", [[create or replace function shop.product_name(wanted_product bigint,
      wanted_locale text) returns text language sql stable as $$ select 'x' $$]], "not true" },
  { "0006", "update shop.supported_locales set name = 'German' where code = 'de'", "Deutsch" },
  { "0007", "alter table shop.products alter column weight_grams type bigint", "integer" },
  { "0008", "drop index shop.product_translations_search_idx", "search_idx" },
  { "0009", "drop index shop.orders_user_id_idx", "orders_user_id_idx" },
  { "0010", [[alter type shop.order_status rename value 'cancelled' to 'canceled']], "cancelled" },
  { "0011", "alter table shop.orders alter column currency drop not null", "false" },
  { "0012", "alter table shop.users drop constraint users_locale_fkey", "expected 1, found 0" },
  { "0013", "alter table shop.products disable trigger products_keep_title", "enabled" },
  { "0014", "alter table shop.products alter column title drop not null", "false" },
  { "0015", "alter table shop.orders disable row level security", "row security" },
  { "0015", "alter policy orders_own on shop.orders using (true)", "expected 0" },
  { "0015", "grant delete on shop.orders to shop_app", "DELETE" },
}

describe("the example project", function()
  after_each(e2e.clean)

  it("goes up and down at every single step, and leaves what it found", function()
    local p = example.project()
    p:expect "status"
    local schema, seen = example.schema(p), {}
    for _, id in ipairs(example.ids()) do
      if id <= example.last_reversible then
        local rows = example.rows(p)
        p:expect("up --to " .. id)
        p:expect("verify " .. id)
        seen[id] = example.schema(p)
        p:expect "down"
        assert.equal(schema, example.schema(p), "after down of " .. id)
        assert.equal(rows, example.rows(p), "rows after down of " .. id)
        example.up(p, id, ("%04d"):format(id - 1))
        schema = example.schema(p)
        assert.equal(seen[id], schema, "after the second up of " .. id)
      end
    end
    -- Each of them changes the schema, or the rows, or the picture sees nothing.
    for id, picture in pairs(seen) do
      local before = seen[("%04d"):format(id - 1)]
      assert(picture ~= before, id .. " left no trace in the picture")
    end
  end)

  it("goes all the way down to nothing, and up again", function()
    local p = example.project()
    p:expect "status"
    local nothing = example.schema(p)
    example.up(p, example.last_reversible)
    local all = example.schema(p)
    p:expect { "verify" }
    p:expect { "down", "--to", "0" }
    assert.equal(nothing, example.schema(p))
    assert.equal(0, p:json({ "status" }).applied)
    p:expect { "up", "--to", example.last_reversible }
    assert.equal(all, example.schema(p))
    p:expect { "up" }
    p:expect { "verify" }
    assert.equal(16, p:json({ "status" }).applied)
    p:expect { "audit", "verify" }
  end)

  it("has one way forward only, at its end", function()
    local p = example.project()
    example.up(p, example.last)
    local schema = example.schema(p)
    for _, command in ipairs { "down", "down 3", "down --to 0", "redo", "down --only 0016" } do
      local r = p:neap(command)
      assert.equal(10, r.status, command .. r.out .. r.err)
      assert.truthy(r.err:find("has no way back: the old code is gone", 1, true), r.err)
    end
    assert.equal(schema, example.schema(p))
    assert.equal(16, p:json({ "status" }).applied)
    p:query "insert into shop.products (sku, price_cents, title) values ('lid', 100, 'A lid')"
    assert.equal("A lid", p:value
      "select shop.product_name(id, 'da') from shop.products where sku = 'lid'")
    assert.equal("Et krus", p:value
      "select shop.product_name(id, 'da') from shop.products where sku = 'mug'")
  end)

  it("does not lose all titles to a down of the rename's first half", function()
    local p = example.project()
    example.up(p, example.last)
    local schema = example.schema(p)
    local r = p:expect("down --only 13", 4)
    assert.truthy(r.err:find("0014 product_title_filled is applied, and requires 0013", 1, true)
      or r.err:find("0016 product_name_dropped is applied, and requires 0013", 1, true), r.err)
    assert.equal(schema, example.schema(p))
  end)

  it("tells the operator and the audit why, and at what risk", function()
    local p = example.project()
    example.up(p, "0012")
    local risk = "low; the trigger costs every write of a product some microseconds"
    assert.is_nil(p:expect("status").out:find(risk, 1, true))
    assert.truthy(p:expect("status --verbose").out:find("0013  risk   " .. risk, 1, true))
    local items = p:json("status").migrations
    assert.equal(risk, items[13].risk)
    assert.is_nil(items[12].risk)
    local said = p:expect("up --to 13 --dry-run").out
    assert.truthy(said:find("    risk     " .. risk, 1, true), said)
    assert.truthy(said:find("    summary  Products have a title", 1, true), said)
    local document = p:json "up --to 13"
    assert.equal(risk, document.plan[1].risk)
    assert.equal("SHOP-30", p:value "select ticket from neap.history order by seq desc limit 1")
    local events = p:json("audit show --run " .. document.run_id).events
    local planned
    for _, event in ipairs(events) do
      planned = planned or event.event == "run.plan" and event.data.migrations[1]
    end
    assert.equal(risk, planned.risk)
    assert.truthy(planned.why:find("the shop shows a title", 1, true))
    assert.truthy(planned.locks:find("for the length of the trial", 1, true))
  end)

  it("notices damage of every kind in verify", function()
    local p = example.project()
    example.up(p, example.last_reversible)
    for _, damage in ipairs(damages) do
      local id, sql, word = table.unpack(damage)
      local database = p.database .. "_damaged"
      p:expect { "verify", id }
      e2e.psql("postgres", ("create database %s template %s"):format(database, p.database))
      e2e.psql(database, sql)
      local r = p:neap({ "verify", id }, { env = { DATABASE_URL = e2e.url(database) } })
      e2e.psql("postgres", ("drop database %s with (force)"):format(database))
      assert.equal(8, r.status, id .. ": " .. sql .. r.out .. r.err)
      assert.truthy(r.err:find(word, 1, true), r.err)
    end
  end)

  it("keeps what was there before an upsert, and refuses to lose what came after", function()
    local p = example.project()
    example.up(p, "0005")
    p:query "insert into shop.supported_locales values ('nb', 'Norsk'), ('sv', 'Svenska')"
    local rows = example.rows(p)
    p:expect "up --to 6"
    assert.equal("Norsk bokmål", p:value
      "select name from shop.supported_locales where code = 'nb'")
    p:expect "down"
    assert.equal(rows, example.rows(p))
    p:query "delete from shop.supported_locales where code = 'nb'"
    p:expect "up --to 6"
    p:query "insert into shop.product_translations values (1, 'nb', 'Et krus')"
    rows = example.rows(p)
    local r = p:neap "down"
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("23503", 1, true), r.err)
    assert.equal(rows, example.rows(p))
  end)

  it("takes a column over that is there, whole, and not one of another type", function()
    local p = example.project()
    example.up(p, "0006")
    p:query "alter table shop.products add column weight_grams text"
    local r = p:neap "up --to 7"
    assert.equal(8, r.status, r.out .. r.err)
    p:query [[alter table shop.products alter column weight_grams type integer using 300;
      comment on column shop.products.weight_grams is 'by hand']]
    local schema, rows = example.schema(p), example.rows(p)
    p:expect "up --to 7"
    assert.equal(schema, example.schema(p))
    p:expect "down"
    assert.equal(schema, example.schema(p))
    assert.equal(rows, example.rows(p))
  end)

  it("does not take an enum value away from the orders that have it", function()
    local p = example.project()
    example.up(p, "0010")
    p:query "update shop.orders set status = 'cancelled' where id in (3, 4)"
    local r = p:neap "down"
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("2 orders are cancelled", 1, true), r.err)
    assert.equal("2", p:value "select count(*) from shop.orders where status = 'cancelled'")
  end)

  it("fills what is empty and nothing else", function()
    local p = example.project()
    example.up(p, "0011")
    assert.equal("DKK 10\nEUR 20", p:query [[
      select currency || ' ' || count(*) from shop.orders group by currency order by 1]])
    p:query "insert into shop.orders (user_id) values (2)"
    assert.equal("EUR", p:value "select currency from shop.orders order by id desc limit 1")
    assert.has_error(function()
      p:query "update shop.orders set currency = null where id = 1"
    end)
  end)

  it("lets people decide about languages that it does not know", function()
    local p = example.project()
    example.up(p, "0011")
    p:query "update shop.users set locale = 'tlh' where email like 'ann%'"
    local schema = example.schema(p)
    local r = p:neap "up --to 12"
    assert.equal(1, r.status, r.out .. r.err)
    assert.truthy(r.err:find("does not speak: tlh", 1, true), r.err)
    assert.equal(schema, example.schema(p))
    assert.equal(0, p:json({ "status" }).partial)
    p:query "update shop.users set locale = 'da' where email like 'ann%'"
    p:expect "up --to 12"
  end)

  it("needs no superuser: a role that owns what it makes goes up and down", function()
    local p = example.project()
    local name = p.database .. "_migrator"
    p:query(([[
      do $$ begin create role shop_app nologin; exception when duplicate_object then end $$;
      create role %s login; grant shop_app to %s; grant create on database %s to %s;
      revoke all on schema public from public]]):format(name, name, p.database, name))
    p.env.DATABASE_URL = p.url:gsub("user=postgres", "user=" .. name)
    p:expect { "up", "--to", example.last_reversible }
    p:expect { "verify" }
    assert.equal(name, p:value "select nspowner::regrole from pg_namespace where nspname = 'shop'")
    p:expect { "down", "--to", "0" }
    p:expect { "up" }
    p:expect { "verify" }
    p:expect { "audit", "verify" }
  end)

  it("shows customers their own orders", function()
    local p = example.project()
    example.up(p, "0015")
    local function as(user, sql)
      return p:query(("set role shop_app; set shop.user_id = '%s'; %s"):format(user, sql))
    end
    assert.equal("0", as("", "select count(*) from shop.orders"))
    assert.equal("15", as("2", "select count(*) from shop.orders"))
    assert.equal("2", as("2", "select distinct user_id from shop.orders"))
    assert.has_error(function()
      as("2", "insert into shop.orders (user_id) values (3)")
    end)
    as("2", "insert into shop.orders (user_id) values (2)")
    assert.equal("31", p:value "select count(*) from shop.orders")
    assert.equal("0", p:value "select count(*) from shop.users where email like 'probe%'")
  end)
end)

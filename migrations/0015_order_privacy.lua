--- why: a mistake in one query must not show one customer the orders of another
--- risk: medium; role shop_app sees no order until it says whose it asks for
--- locks: shop.orders exclusively, for an instant

-- The web code connects as, or SETs ROLE to, shop_app, and says in each transaction
-- who is asking: SET LOCAL shop.user_id = '42'. The table's owner goes on seeing
-- everything, so code that connects as the owner today is not affected before it
-- changes its role.
--
-- Roles belong to the whole server, not to this database: another database may
-- use the same one. In production somebody made it, with its password and its
-- members, before this runs, and made the migrating role a member (verify becomes
-- it). Only where nobody did, on a scratch server, it is made here; `down` takes
-- its rights away and leaves it.

local probe = require "probe"

local APP = "shop_app"

local function ask_for(db, user)
  db:value("SELECT pg_catalog.set_config('shop.user_id', $1, true)", tostring(user or ""))
end

-- Two customers with an order each: does one see the other's?
local function try(db)
  probe(db, function(expect)
    local users = db:query [[
      INSERT INTO shop.users (email, display_name)
      VALUES ('probe-1@shop.example', 'one'), ('probe-2@shop.example', 'two') RETURNING id]]
    for _, user in ipairs(users) do
      db:exec("INSERT INTO shop.orders (user_id) VALUES ($1)", user.id)
    end
    expect.as(APP, function()
      ask_for(db, users[1].id)
      expect.rows("SELECT user_id FROM shop.orders", { { user_id = users[1].id } })
      local ok, why = db:savepoint(function()
        db:exec("INSERT INTO shop.orders (user_id) VALUES ($1)", users[2].id)
      end)
      expect.equal({ ok, why and why.sqlstate }, { false, "42501" }, "an order for somebody else")
    end)
  end)
end

return migration {
  summary = "Customers see their own orders and no others",
  ticket = "SHOP-33",
  requires = { "0009" },
  lock_timeout = "300ms",
  up = function(db)
    if not db:row("SELECT FROM pg_catalog.pg_roles WHERE rolname = $1", APP) then
      db:exec("CREATE ROLE " .. db:ident(APP) .. " NOLOGIN")
    end
    db:exec [[GRANT USAGE ON SCHEMA shop TO shop_app]]
    db:exec [[GRANT SELECT, INSERT ON shop.orders TO shop_app]]
    -- The policy before the switch: a table with row security and no policy is empty
    -- to everybody but its owner. The sub-select is evaluated once, not per row.
    db:exec [[
      CREATE POLICY orders_own ON shop.orders TO shop_app
      USING (user_id = (SELECT nullif(current_setting('shop.user_id', true), '')::bigint))
      WITH CHECK (user_id = (SELECT nullif(current_setting('shop.user_id', true), '')::bigint))]]
    db:exec [[ALTER TABLE shop.orders ENABLE ROW LEVEL SECURITY]]
    try(db)
  end,
  -- The role that migrates owns the table: it sees every row, whatever the policy.
  -- So verify becomes the plain role. (neap sets row_security off in verify, so
  -- that a policy can never hide rows from it in silence; expect.as sets it on.)
  verify = function(db, expect)
    expect.rls("shop.orders", { enabled = true })
    expect.policy("shop.orders", "orders_own", { command = "all", roles = APP })
    expect.grant(APP, "select", "shop.orders")
    expect.no_grant(APP, "delete", "shop.orders")
    local user = db:value "SELECT user_id FROM shop.orders ORDER BY id DESC LIMIT 1"
    local own = user and db:value("SELECT count(*) FROM shop.orders WHERE user_id = $1", user)
    expect.as(APP, function()
      ask_for(db, nil)
      expect.count("SELECT FROM shop.orders LIMIT 1", 0)
      if user then
        ask_for(db, user)
        expect.count("SELECT FROM shop.orders", own)
      end
    end)
  end,
  down = function(db)
    db:exec [[ALTER TABLE shop.orders DISABLE ROW LEVEL SECURITY]]
    db:exec [[DROP POLICY orders_own ON shop.orders]]
    db:exec [[REVOKE SELECT, INSERT ON shop.orders FROM shop_app]]
    db:exec [[REVOKE USAGE ON SCHEMA shop FROM shop_app]]
  end,
}

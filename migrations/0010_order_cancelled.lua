--- why: orders that are not paid for in a week are given up
--- risk: low on the way up; the way back rewrites shop.orders
--- locks: up: none that anybody could wait for; down: shop.orders exclusively, for
---   as long as writing it anew takes

-- A new value cannot be used in the transaction that adds it (55P04): no default,
-- no row, no index may mention it here. That is another migration.

return migration {
  summary = "Orders can be cancelled",
  ticket = "SHOP-21",
  phase = "expand",
  requires = { "0009" },
  lock_timeout = "300ms",
  up = function(db)
    db:exec [[ALTER TYPE shop.order_status ADD VALUE 'cancelled' AFTER 'paid']]
  end,
  -- The catalog can be asked about the value; the value itself cannot be used yet.
  verify = function(db, expect)
    expect.equal(db:query [[
      SELECT enumlabel::text AS label FROM pg_catalog.pg_enum
      WHERE enumtypid = 'shop.order_status'::regtype AND enumlabel IN ('paid', 'cancelled')
      ORDER BY enumsortorder]], { { label = "paid" }, { label = "cancelled" } })
  end,
  -- PostgreSQL cannot take a value away. The way back is another type, and it is
  -- refused while an order has the value: what should it become? The cast below
  -- would refuse too; this says it in words, before the table is locked.
  down = function(db)
    local count = db:value "SELECT count(*) FROM shop.orders WHERE status = 'cancelled'"
    if count > 0 then
      error(("%d orders are cancelled: decide first what becomes of them"):format(count), 0)
    end
    db:exec [[ALTER TYPE shop.order_status RENAME TO order_status_0010]]
    db:exec [[CREATE TYPE shop.order_status AS ENUM ('new', 'paid', 'shipped')]]
    db:exec [[COMMENT ON TYPE shop.order_status IS 'How far an order has come']]
    db:exec [[
      ALTER TABLE shop.orders
        ALTER COLUMN status DROP DEFAULT,
        ALTER COLUMN status TYPE shop.order_status USING status::text::shop.order_status,
        ALTER COLUMN status SET DEFAULT 'new']]
    db:exec [[DROP TYPE shop.order_status_0010]]
  end,
}

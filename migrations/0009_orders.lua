--- why: people want to buy
--- risk: none; everything is new
--- locks: the foreign keys lock shop.users and shop.products against writes for
---   an instant

return migration {
  summary = "Orders, and what is in them",
  ticket = "SHOP-20",
  requires = { "0001", "0002" },
  up = function(db)
    db:exec [[CREATE TYPE shop.order_status AS ENUM ('new', 'paid', 'shipped')]]
    db:exec [[COMMENT ON TYPE shop.order_status IS 'How far an order has come']]
    db:exec [[
      CREATE TABLE shop.orders (
        id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id   bigint NOT NULL REFERENCES shop.users (id),
        status    shop.order_status NOT NULL DEFAULT 'new',
        currency  text CHECK (currency ~ '^[A-Z]{3}$'), -- NULL is EUR; see 0011
        placed_at timestamptz NOT NULL DEFAULT now()
      )]]
    db:exec [[CREATE INDEX orders_user_id_idx ON shop.orders (user_id, placed_at DESC)]]
    db:exec [[
      CREATE TABLE shop.order_lines (
        order_id    bigint NOT NULL REFERENCES shop.orders (id) ON DELETE CASCADE,
        product_id  bigint NOT NULL REFERENCES shop.products (id),
        quantity    integer NOT NULL CHECK (quantity > 0),
        price_cents bigint NOT NULL CHECK (price_cents > 0),
        PRIMARY KEY (order_id, product_id)
      )]]
    db:exec [[CREATE INDEX order_lines_product_id_idx ON shop.order_lines (product_id)]]
  end,
  verify = function(_, expect)
    expect.column("shop.orders", "status", { type = "shop.order_status", null = false })
    expect.index("shop.orders_user_id_idx", { table = "shop.orders" })
    expect.table "shop.order_lines"
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.order_lines]]
    db:exec [[DROP TABLE shop.orders]]
    db:exec [[DROP TYPE shop.order_status]]
  end,
}

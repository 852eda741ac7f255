--- why: things to sell, with prices that cannot lose a cent to rounding
--- risk: none; everything is new
--- locks: the foreign key locks shop.users against writes for an instant

local first_products = {
  { "mug", 1250, "A mug" },
  { "tea", 690, "Tea, 100 g" },
  { "kettle", 4900, "A kettle" },
}

return migration {
  summary = "Products, priced in whole cents",
  ticket = "SHOP-2",
  requires = { "0001" },
  up = function(db)
    db:exec [[
      CREATE TABLE shop.products (
        id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        sku         text NOT NULL UNIQUE,
        price_cents bigint NOT NULL CONSTRAINT products_price_positive CHECK (price_cents > 0),
        name        text NOT NULL,
        created_by  bigint REFERENCES shop.users (id),
        created_at  timestamptz NOT NULL DEFAULT now()
      )]]
    db:exec [[COMMENT ON COLUMN shop.products.price_cents IS 'Whole cents, tax included']]
    -- PostgreSQL makes no index for a foreign key. Without one, deleting a user
    -- reads all products.
    db:exec [[CREATE INDEX products_created_by_idx ON shop.products (created_by)]]
    -- Values go as parameters, always: no quoting, no surprises.
    for _, product in ipairs(first_products) do
      db:exec("INSERT INTO shop.products (sku, price_cents, name) VALUES ($1, $2, $3)",
        table.unpack(product))
    end
  end,
  verify = function(_, expect)
    expect.column("shop.products", "price_cents", { type = "bigint", null = false })
    expect.constraint("shop.products", "products_price_positive", { type = "check" })
    expect.index("shop.products_created_by_idx", { columns = { "created_by" } })
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.products]]
  end,
}

--- why: things to sell, with prices that cannot lose a cent to rounding
--- risk: none; everything is new
--- locks: none that anybody could wait for

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
    db:exec [[CREATE INDEX products_created_by_idx ON shop.products (created_by)]]
    for _, product in ipairs(first_products) do
      db:exec("INSERT INTO shop.products (sku, price_cents, name) VALUES ($1, $2, $3)",
        table.unpack(product))
    end
  end,
  verify = function(db, expect)
    expect.table "shop.products"
    expect.column("shop.products", "price_cents", "bigint")
    expect.constraint("shop.products", "products_price_positive")
    expect.equal(db:value "SELECT sum(price_cents)::bigint FROM shop.products", 6840)
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.products]]
  end,
}

--- why: postage by weight; on production the column was added by hand in May
--- risk: low; where it is there already, it is taken over as it is
--- locks: shop.products exclusively, for an instant: a nullable column without a
---   default is an entry in the catalog

-- What ADD COLUMN IF NOT EXISTS is meant for, without its two traps: it takes a
-- column of any type for the right one, and its `down` drops a column, with its
-- data, that somebody else had made. So: look; add it or take it over; remember
-- which, in the comment on the column, since only the database knows afterwards.

local MADE_HERE = "Grams, with packing (made by migration 0007)"

local find_sql = [[
  SELECT pg_catalog.col_description(attrelid, attnum) AS comment
  FROM pg_catalog.pg_attribute
  WHERE attrelid = 'shop.products'::regclass AND attname = 'weight_grams' AND NOT attisdropped]]

return migration {
  summary = "Products have a weight",
  ticket = "SHOP-10",
  requires = { "0002" },
  lock_timeout = "300ms",
  up = function(db)
    if db:row(find_sql) then
      return -- `verify` says whether it is what we need
    end
    db:exec [[ALTER TABLE shop.products ADD COLUMN weight_grams integer]]
    db:exec("COMMENT ON COLUMN shop.products.weight_grams IS " .. db:literal(MADE_HERE))
  end,
  verify = function(_, expect)
    expect.column("shop.products", "weight_grams", { type = "integer", null = true })
  end,
  down = function(db)
    local column = db:row(find_sql)
    if column and column.comment == MADE_HERE then
      db:exec [[ALTER TABLE shop.products DROP COLUMN weight_grams]]
    end
  end,
}

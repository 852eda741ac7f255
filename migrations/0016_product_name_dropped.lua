--- why: two columns that say the same are one too many
--- risk: high; code that still knows shop.products.name fails from here on
--- locks: shop.products exclusively, for an instant: dropping a column is an entry
---   in the catalog

-- The contract, the end of the rename that 0013 began. Apply it when no process of
-- the old code is left, and not a day earlier: until here everything can go back.

return migration {
  summary = "Products have a title and no name beside it",
  ticket = "SHOP-31",
  phase = "contract",
  requires = { "0005", "0013", "0014" },
  lock_timeout = "300ms",
  up = function(db)
    -- PostgreSQL knows that product_name reads the column, and would refuse to drop
    -- it. What it cannot know: views outside the database, reports, PL/pgSQL bodies.
    db:exec [[
      CREATE OR REPLACE FUNCTION shop.product_name(wanted_product bigint, wanted_locale text)
      RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
      BEGIN ATOMIC
        SELECT coalesce(
          (SELECT t.name FROM shop.product_translations t
            WHERE t.product_id = wanted_product AND t.locale = wanted_locale),
          (SELECT p.title FROM shop.products p WHERE p.id = wanted_product));
      END]]
    db:exec [[DROP TRIGGER products_keep_title ON shop.products]]
    db:exec [[DROP FUNCTION shop.products_keep_title()]]
    db:exec [[ALTER TABLE shop.products DROP COLUMN name]]
  end,
  verify = function(_, expect)
    expect.no_column("shop.products", "name")
    expect.no_trigger("shop.products", "products_keep_title")
    expect.column("shop.products", "title", { type = "text", null = false })
  end,
  -- The texts could be copied back, but not to where the old code has moved on to,
  -- and not the column to its place. A `down` that brings back half is worse than
  -- one that says no. To go below it, restore; to mend it, go forward.
  down = irreversible "the old code is gone, and the column's place in the table with it",
}

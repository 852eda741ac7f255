--- why: names of products in the languages of the people who read them
--- risk: none; everything is new, and a name that is missing is English
--- locks: the foreign keys lock shop.products and shop.supported_locales
---   against writes for an instant

return migration {
  summary = "Translations of product names",
  ticket = "SHOP-7",
  requires = { "0002", "0003" },
  up = function(db)
    db:exec [[
      CREATE TABLE shop.product_translations (
        product_id bigint NOT NULL REFERENCES shop.products (id) ON DELETE CASCADE,
        locale     text NOT NULL REFERENCES shop.supported_locales (code),
        name       text NOT NULL,
        PRIMARY KEY (product_id, locale)
      )]]
    -- Ids are the database's own; the script knows products by what people call them.
    db:exec([[
      INSERT INTO shop.product_translations (product_id, locale, name)
      SELECT id, $2, $3 FROM shop.products WHERE sku = $1]], "mug", "da", "Et krus")
  end,
  verify = function(_, expect)
    expect.table "shop.product_translations"
    expect.column("shop.product_translations", "name", { type = "text", null = false })
    expect.foreign_keys_hold "shop.product_translations"
  end,
  -- Translations go with their table. They are in the journal of nobody but the
  -- backup: look before you go back.
  down = function(db)
    db:exec [[DROP TABLE shop.product_translations]]
  end,
}

--- why: names of products in the languages of the people who read them
--- risk: low; existing names are copied, not moved
--- locks: reads shop.products once, which stops nobody

local locales = {
  { "en", "English" },
  { "da", "Dansk" },
  { "de", "Deutsch" },
  { "fi", "Suomi" },
  { "sv", "Svenska" },
}

return migration {
  summary = "Translations of product names",
  ticket = "SHOP-7",
  phase = "expand",
  requires = { "0002" },
  up = function(db)
    db:exec [[
      CREATE TABLE shop.supported_locales (
        code text PRIMARY KEY CHECK (code ~ '^[a-z]{2}(-[A-Z]{2})?$'),
        name text NOT NULL UNIQUE
      )]]
    db:exec [[
      CREATE TABLE shop.product_translations (
        product_id bigint NOT NULL REFERENCES shop.products (id) ON DELETE CASCADE,
        locale     text NOT NULL REFERENCES shop.supported_locales (code),
        name       text NOT NULL,
        PRIMARY KEY (product_id, locale)
      )]]
    for _, locale in ipairs(locales) do
      db:exec("INSERT INTO shop.supported_locales (code, name) VALUES ($1, $2)",
        table.unpack(locale))
    end
    db:exec [[
      INSERT INTO shop.product_translations (product_id, locale, name)
      SELECT id, 'en', name FROM shop.products]]
  end,
  verify = function(db, expect)
    expect.table "shop.product_translations"
    expect.equal(db:value "SELECT count(*) FROM shop.supported_locales", #locales)
    -- Every product is named in English: nothing may be sold without a name.
    expect.no_rows [[
      SELECT p.sku FROM shop.products p
      WHERE NOT EXISTS (SELECT FROM shop.product_translations t
                        WHERE t.product_id = p.id AND t.locale = 'en')]]
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.product_translations]]
    db:exec [[DROP TABLE shop.supported_locales]]
  end,
}

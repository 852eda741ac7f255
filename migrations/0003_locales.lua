--- why: one list of the languages that the shop speaks
--- risk: none; everything is new
--- locks: none that anybody could wait for

local locales = {
  { "en", "English" },
  { "da", "Dansk" },
  { "de", "German" }, -- put right by 0006
  { "fi", "Suomi" },
}

return migration {
  summary = "The languages that the shop speaks",
  ticket = "SHOP-6",
  requires = { "0001" },
  up = function(db)
    db:exec [[
      CREATE TABLE shop.supported_locales (
        code text PRIMARY KEY CHECK (code ~ '^[a-z]{2}(-[A-Z]{2})?$'),
        name text NOT NULL
      )]]
    db:exec [[COMMENT ON COLUMN shop.supported_locales.name IS 'In the language itself']]
    for _, locale in ipairs(locales) do
      db:exec("INSERT INTO shop.supported_locales (code, name) VALUES ($1, $2)",
        table.unpack(locale))
    end
  end,
  verify = function(db, expect)
    expect.table "shop.supported_locales"
    for _, locale in ipairs(locales) do
      expect.count("SELECT FROM shop.supported_locales WHERE code = $1", 1, locale[1])
    end
    -- What everything falls back to.
    expect.equal(db:value "SELECT name FROM shop.supported_locales WHERE code = 'en'", "English")
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.supported_locales]]
  end,
}

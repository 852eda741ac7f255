--- why: we open in Norway and Sweden, and "German" is no German word
--- risk: low; where somebody added a language by hand, ours replaces its name
--- locks: holds off writers of shop.supported_locales, which has six rows

-- An upsert of reference data: wherever it runs, these rows are as they are here
-- afterwards, whatever was there before. That makes it easy to go up and hard to
-- go back: `down` cannot know what was overwritten, unless `up` keeps it.

local locales = {
  { "de", "Deutsch" },
  { "nb", "Norsk bokmål" },
  { "sv", "Svenska" },
}

return migration {
  summary = "Norwegian and Swedish; German in German",
  ticket = "SHOP-9",
  requires = { "0003" },
  up = function(db)
    -- Nobody changes a row between the look at it and the change; readers read on.
    db:exec [[LOCK TABLE shop.supported_locales IN SHARE ROW EXCLUSIVE MODE]]
    db:exec [[
      CREATE TABLE shop.supported_locales_before_0006 (
        code text PRIMARY KEY,
        name text -- NULL: there was no such row
      )]]
    for _, locale in ipairs(locales) do
      db:exec([[
        INSERT INTO shop.supported_locales_before_0006 (code, name)
        VALUES ($1, (SELECT name FROM shop.supported_locales WHERE code = $1))]], locale[1])
      -- The WHERE leaves rows alone that are right already: no dead rows, no
      -- triggers, no replication traffic for nothing.
      db:exec([[
        INSERT INTO shop.supported_locales AS old (code, name) VALUES ($1, $2)
        ON CONFLICT (code) DO UPDATE SET name = excluded.name
        WHERE old.name IS DISTINCT FROM excluded.name]], table.unpack(locale))
    end
  end,
  verify = function(db, expect)
    for _, locale in ipairs(locales) do
      expect.equal(db:value("SELECT name FROM shop.supported_locales WHERE code = $1", locale[1]),
        locale[2], locale[1])
    end
  end,
  -- A language that is in use cannot be deleted: the foreign keys refuse, and the
  -- whole `down` is undone. Losing translations would be no way back.
  down = function(db)
    db:exec [[
      DELETE FROM shop.supported_locales l USING shop.supported_locales_before_0006 b
      WHERE l.code = b.code AND b.name IS NULL]]
    db:exec [[
      UPDATE shop.supported_locales l SET name = b.name
      FROM shop.supported_locales_before_0006 b
      WHERE l.code = b.code AND b.name IS NOT NULL]]
    db:exec [[DROP TABLE shop.supported_locales_before_0006]]
  end,
}

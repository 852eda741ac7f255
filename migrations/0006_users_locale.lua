--- why: a user's language is one that the shop speaks
--- risk: low; users with an unknown language are moved to English first
--- locks: adding the key locks both tables for an instant; VALIDATE lets writers through

return migration {
  summary = "Users speak a supported language",
  ticket = "SHOP-12",
  phase = "expand",
  requires = { "0001", "0003" },
  timeout = "2min",
  lock_timeout = "300ms",
  up = function(db)
    db:exec [[
      UPDATE shop.users SET locale = 'en'
      WHERE locale NOT IN (SELECT code FROM shop.supported_locales)]]
    db:exec [[
      ALTER TABLE shop.users ADD CONSTRAINT users_locale_fkey
      FOREIGN KEY (locale) REFERENCES shop.supported_locales (code) NOT VALID]]
    db:exec [[ALTER TABLE shop.users VALIDATE CONSTRAINT users_locale_fkey]]
  end,
  verify = function(db, expect)
    expect.constraint("shop.users", "users_locale_fkey", { validated = true })
    local moved = db:value "SELECT count(*) FROM shop.users WHERE locale IS NULL"
    expect.equal(moved, 0)
  end,
  down = function(db)
    db:exec [[ALTER TABLE shop.users DROP CONSTRAINT users_locale_fkey]]
  end,
}

--- why: a user's language is one that the shop speaks
--- risk: low; stops before it changes anything when some user's language is not
--- locks: adding the key holds off writers of both tables for an instant; proving
---   it for the old rows lets them through

-- A step each, because one transaction would keep the lock of the first while the
-- next reads the whole table. NOT VALID: the key holds for what is written from now
-- on. VALIDATE: it holds for what was there.

return migration {
  summary = "Users speak a supported language",
  ticket = "SHOP-12",
  requires = { "0001", "0006" },
  transaction = false,
  timeout = "10min",
  lock_timeout = "300ms",
  steps = {
    {
      -- A look before anything is touched. Making the others English would lose what
      -- they had chosen: that is for people to decide, not for a script.
      name = "nobody speaks anything else",
      up = function(db)
        local unknown = db:value [[
          SELECT string_agg(DISTINCT locale, ', ') FROM shop.users u
          WHERE NOT EXISTS (SELECT FROM shop.supported_locales l WHERE l.code = u.locale)]]
        if unknown then
          error("users have languages that the shop does not speak: " .. unknown, 0)
        end
      end,
      verify = function(_, expect)
        expect.no_rows [[
          SELECT u.id, u.locale FROM shop.users u
          WHERE NOT EXISTS (SELECT FROM shop.supported_locales l WHERE l.code = u.locale)]]
      end,
      down = function(_)
        -- It only looked.
      end,
    },
    {
      name = "for what is written from now on",
      up = function(db)
        db:exec [[
          ALTER TABLE shop.users ADD CONSTRAINT users_locale_fkey
          FOREIGN KEY (locale) REFERENCES shop.supported_locales (code) NOT VALID]]
      end,
      verify = function(db, expect)
        expect.equal(db:value [[
          SELECT count(*) FROM pg_catalog.pg_constraint
          WHERE conrelid = 'shop.users'::regclass AND conname = 'users_locale_fkey']], 1)
      end,
      down = function(db)
        db:exec [[ALTER TABLE shop.users DROP CONSTRAINT users_locale_fkey]]
      end,
    },
    {
      name = "for what was there",
      up = function(db)
        db:exec [[ALTER TABLE shop.users VALIDATE CONSTRAINT users_locale_fkey]]
      end,
      verify = function(_, expect)
        expect.constraint("shop.users", "users_locale_fkey", { validated = true })
      end,
      down = function(_)
        -- A proof needs no way back; the key itself goes with the step before.
      end,
    },
  },
}

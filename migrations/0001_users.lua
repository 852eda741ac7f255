--- why: the shop needs people before it can sell them anything
--- risk: none; everything is new
--- locks: none that anybody could wait for

-- A transactional migration: all of `up`, `verify` and the history row commit
-- together or not at all. No IF NOT EXISTS: if something of that name is there
-- already, that is news, and this migration should say so instead of going on
-- with a table that it did not make.

return migration {
  summary = "People who buy: schema shop and its users",
  ticket = "SHOP-1",
  up = function(db)
    db:exec [[CREATE SCHEMA shop]]
    db:exec [[
      CREATE TABLE shop.users (
        id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        email        text NOT NULL CHECK (email LIKE '%_@_%'),
        display_name text NOT NULL CHECK (length(display_name) BETWEEN 1 AND 200),
        locale       text NOT NULL DEFAULT 'en',
        created_at   timestamptz NOT NULL DEFAULT now()
      )]]
    db:exec [[COMMENT ON TABLE shop.users IS 'People who buy, and those who help them']]
    -- An address is the same address in capitals.
    db:exec [[CREATE UNIQUE INDEX users_email_key ON shop.users (lower(email))]]
    db:exec("INSERT INTO shop.users (email, display_name) VALUES ($1, $2)",
      "support@shop.example", "Support")
  end,
  -- `neap verify` asks this again in a year. So it says what stays true, and not
  -- how many users there are today.
  verify = function(_, expect)
    expect.table "shop.users"
    expect.column("shop.users", "created_at", { type = "timestamptz", null = false })
    expect.index("shop.users_email_key", { unique = true, columns = { "lower(email)" } })
  end,
  -- No CASCADE: what somebody built on these tables is not ours to drop, and DROP
  -- SCHEMA fails when something else lives in it.
  down = function(db)
    db:exec [[DROP TABLE shop.users]]
    db:exec [[DROP SCHEMA shop]]
  end,
}

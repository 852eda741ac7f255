--- why: the shop needs people before it can sell them anything
--- risk: none; everything is new
--- locks: none that anybody could wait for

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
    db:exec [[CREATE UNIQUE INDEX users_email_key ON shop.users (lower(email))]]
    db:exec("INSERT INTO shop.users (email, display_name) VALUES ($1, $2)",
      "support@shop.example", "Support")
  end,
  verify = function(db, expect)
    expect.table "shop.users"
    expect.column("shop.users", "created_at", { type = "timestamp with time zone", null = false })
    expect.index("shop.users_email_key", { unique = true })
    expect.equal(db:value "SELECT count(*) FROM shop.users WHERE display_name = 'Support'", 1)
  end,
  down = function(db)
    db:exec [[DROP TABLE shop.users]]
    db:exec [[DROP SCHEMA shop]]
  end,
}

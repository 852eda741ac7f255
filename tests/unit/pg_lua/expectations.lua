-- SPDX-License-Identifier: MIT
-- Each expectation: it holds, and when it does not it says what was found.
local cases = {}

local function add(name, rule, run)
  cases[#cases + 1] = { name, rule, run }
end

-- The expectation fails with exactly this message, at the line of the script.
local function fails(message, f, ...)
  local ok, err = pcall(f, ...)
  assert(not ok, "it holds: " .. message)
  assert(type(err) == "userdata", "raised " .. tostring(err))
  assert(err.code == "expect.failed", err.code .. ": " .. tostring(err))
  assert(tostring(err) == message, tostring(err) .. "\n  instead of\n" .. message)
  return err
end

local function schema(db)
  db:exec [[CREATE SCHEMA ai]]
  db:exec [[CREATE TYPE ai.mood AS ENUM ('sad', 'ok', 'glad')]]
  db:exec [[CREATE TABLE ai.users (
    id bigint PRIMARY KEY, email varchar(10) NOT NULL, age integer DEFAULT 18,
    mood ai.mood DEFAULT 'ok', seen timestamptz(3), tags text[],
    CONSTRAINT age_positive CHECK (age > 0))]]
  db:exec [[CREATE TABLE ai.orders (id bigint PRIMARY KEY, user_id bigint)]]
  db:exec [[ALTER TABLE ai.orders ADD CONSTRAINT orders_user FOREIGN KEY (user_id)
    REFERENCES ai.users (id) NOT VALID]]
  db:exec [[CREATE UNIQUE INDEX users_email ON ai.users (lower(email), age)]]
  db:exec [[CREATE VIEW ai.adults AS SELECT id FROM ai.users WHERE age > 17]]
  db:exec [[CREATE FUNCTION ai.twice(n integer) RETURNS integer LANGUAGE sql IMMUTABLE
    AS 'SELECT n * 2']]
  db:exec [[CREATE FUNCTION ai.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    AS 'BEGIN RETURN NEW; END']]
  db:exec [[CREATE TRIGGER users_touch BEFORE UPDATE ON ai.users
    FOR EACH ROW EXECUTE FUNCTION ai.touch()]]
end

add("expect table and view", "tx", function(db, expect)
  schema(db)
  expect.table "ai.users"
  expect.no_table "ai.nothing"
  expect.view "ai.adults"
  expect.view("ai.adults", { materialized = false })
  fails("table ai.user: not found; did you mean ai.users?", expect.table, "ai.user")
  fails("table ai.zzzzzzzz: not found", expect.table, "ai.zzzzzzzz")
  fails("table ai.adults: found a view of that name", expect.table, "ai.adults")
  fails("table ai.users: expected none, found a table", expect.no_table, "ai.users")
  fails("view ai.adult: not found; did you mean ai.adults?", expect.view, "ai.adult")
  fails("view ai.users: found a table of that name", expect.view, "ai.users")
  fails("view ai.adults: expected materialized, found not materialized", expect.view, "ai.adults",
    { materialized = true })
  fails("table: a name must be a string, got NULL", expect.table)
end)

add("expect points at the script", "tx", function(_, expect)
  local line = debug.getinfo(1, "l").currentline + 1
  local err = select(2, pcall(function() expect.table "nowhere" end))
  assert(err.line == line and err.file:find "expectations.lua", tostring(err.where))
  fails('expect has no "tabel"; did you mean table?', function() return expect.tabel end)
  fails("expect is read-only", function() expect.x = 1 end)
end)

add("expect column", "tx", function(db, expect)
  schema(db)
  expect.column("ai.users", "id", "bigint")
  expect.column("ai.users", "id", { type = "int8", null = false, default = false })
  expect.column("ai.users", "email", "varchar(10)")
  expect.column("ai.users", "seen", "timestamptz(3)")
  expect.column("ai.users", "tags", "text[]")
  expect.column("ai.users", "mood", { type = "ai.mood", default = "'ok'" })
  expect.column("ai.users", "age", { type = "int", null = true, default = "18" })
  expect.no_column("ai.users", "name")
  fails("column ai.users.email: expected type text, found character varying(10)", expect.column,
    "ai.users", "email", { type = "text" })
  fails("column ai.users.email: expected type varchar, found character varying(10)", expect.column,
    "ai.users", "email", "varchar")
  fails("column ai.users.emial: not found; did you mean email?", expect.column, "ai.users", "emial")
  fails("column ai.users.email: expected NULL allowed, found NOT NULL", expect.column, "ai.users",
    "email", { null = true })
  fails("column ai.users.age: expected NOT NULL, found NULL allowed", expect.column, "ai.users",
    "age", { null = false })
  fails("column ai.users.age: expected default 21, found 18", expect.column, "ai.users", "age",
    { default = "21" })
  fails("column ai.users.age: expected no default, found 18", expect.column, "ai.users", "age",
    { default = false })
  fails("column ai.users.id: expected default 1, found none", expect.column, "ai.users", "id",
    { default = "1" })
  fails('column ai.users.id: unknown option "typ"; did you mean type?', expect.column, "ai.users",
    "id", { typ = "text" })
  fails("table ai.usrs: not found; did you mean ai.users?", expect.column, "ai.usrs", "id")
  fails("column ai.users.id: expected none, found one of type bigint", expect.no_column, "ai.users",
    "id")
end)

add("expect index", "tx", function(db, expect)
  schema(db)
  expect.index "ai.users_email"
  expect.index("ai.users_email", { table = "ai.users", unique = true,
    columns = { "lower(email::text)", "age" },
    definition = "create unique index users_email on ai.users (lower((email)::text), age)" })
  expect.no_index "ai.nothing"
  fails("index ai.user_email: not found; did you mean ai.users_email?", expect.index,
    "ai.user_email")
  fails("index ai.users_email: expected not unique, found unique", expect.index, "ai.users_email",
    { unique = false })
  fails("index ai.users_email: expected on table ai.orders, found on ai.users", expect.index,
    "ai.users_email", { table = "ai.orders" })
  fails("index ai.users_email: expected columns email, found lower(email::text), age", expect.index,
    "ai.users_email", { columns = { "email" } })
  fails('index ai.users_email: expected definition "x", found "CREATE UNIQUE INDEX users_email ' ..
    'ON ai.users USING btree (lower((email)::text), age)"', expect.index, "ai.users_email",
    { definition = "x" })
  fails("index ai.users_email: expected none, found an index", expect.no_index, "ai.users_email")
  db:exec "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ai.users_email'::regclass"
  fails("index ai.users_email: expected valid, found not valid", expect.index, "ai.users_email")
  expect.index("ai.users_email", { valid = false })
end)

add("expect constraint", "tx", function(db, expect)
  schema(db)
  expect.constraint("ai.users", "age_positive", { type = "check",
    definition = "CHECK ((age > 0))" })
  expect.constraint("ai.orders", "orders_user", { type = "foreign key", validated = false })
  expect.no_constraint("ai.orders", "nothing")
  fails("constraint age_positve of ai.users: not found; did you mean age_positive?",
    expect.constraint, "ai.users", "age_positve")
  fails("constraint orders_user of ai.orders: expected validated, found not validated",
    expect.constraint, "ai.orders", "orders_user")
  fails("constraint age_positive of ai.users: expected a unique, found a check", expect.constraint,
    "ai.users", "age_positive", { type = "unique" })
  fails('constraint age_positive of ai.users: expected definition "CHECK (age > 1)", ' ..
    'found "CHECK ((age > 0))"', expect.constraint, "ai.users", "age_positive",
    { definition = "CHECK (age > 1)" })
  fails("constraint age_positive of ai.users: expected none, found CHECK ((age > 0))",
    expect.no_constraint, "ai.users", "age_positive")
end)

add("expect function", "tx", function(db, expect)
  schema(db)
  expect.func "ai.twice"
  expect.func("ai.twice(integer)", { returns = "int", language = "sql", volatility = "immutable",
    security_definer = false })
  expect["function"] "ai.touch()"
  expect.function_ "ai.touch"
  expect.no_function "ai.nothing"
  fails("function ai.twise: not found; did you mean ai.twice?", expect.func, "ai.twise")
  fails("function ai.twice(text): not found", expect.func, "ai.twice(text)")
  fails("function ai.twice: expected to return text, found integer", expect.func, "ai.twice",
    { returns = "text" })
  fails("function ai.twice: expected language plpgsql, found sql", expect.func, "ai.twice",
    { language = "plpgsql" })
  fails("function ai.touch: expected not security definer, found security definer", expect.func,
    "ai.touch", { security_definer = false })
  fails("function ai.twice: expected stable, found immutable", expect.func, "ai.twice",
    { volatility = "stable" })
  fails("function ai.twice: expected none, found ai.twice(n integer)", expect.no_function,
    "ai.twice")
  db:exec "CREATE FUNCTION ai.twice(n text) RETURNS text LANGUAGE sql AS 'SELECT n || n'"
  assert(not pcall(expect.func, "ai.twice"))
end)

add("expect trigger", "tx", function(db, expect)
  schema(db)
  expect.trigger("ai.users", "users_touch", { enabled = true, func = "ai.touch" })
  expect.no_trigger("ai.users", "nothing")
  fails("trigger users_tuch of ai.users: not found; did you mean users_touch?", expect.trigger,
    "ai.users", "users_tuch")
  fails("trigger users_touch of ai.users: expected to call ai.x, found ai.touch", expect.trigger,
    "ai.users", "users_touch", { func = "ai.x" })
  db:exec "ALTER TABLE ai.users DISABLE TRIGGER users_touch"
  fails("trigger users_touch of ai.users: expected enabled, found disabled", expect.trigger,
    "ai.users", "users_touch")
  expect.trigger("ai.users", "users_touch", { enabled = false })
  local ok, err = pcall(expect.no_trigger, "ai.users", "users_touch")
  assert(not ok and tostring(err):find "expected none, found CREATE TRIGGER")
end)

add("expect row security", "tx", function(db, expect)
  schema(db)
  db:exec "CREATE ROLE shop_reader"
  db:exec "CREATE POLICY own ON ai.users FOR SELECT TO shop_reader USING (id > 0)"
  fails("policy own of ai.users: found, but row security of ai.users is disabled", expect.policy,
    "ai.users", "own")
  fails("row security of ai.users: expected enabled, found disabled", expect.rls, "ai.users")
  db:exec "ALTER TABLE ai.users ENABLE ROW LEVEL SECURITY"
  expect.rls "ai.users"
  fails("row security of ai.users: expected forced, found not forced", expect.rls, "ai.users",
    { forced = true })
  fails("row security of ai.users: expected disabled, found enabled", expect.rls, "ai.users",
    { enabled = false })
  expect.policy("ai.users", "own", { command = "select", roles = "shop_reader", using = "id > 0",
    permissive = true })
  fails("policy owm of ai.users: not found; did you mean own?", expect.policy, "ai.users", "owm")
  fails("policy own of ai.users: expected for ALL, found for SELECT", expect.policy, "ai.users",
    "own", { command = "all" })
  fails("policy own of ai.users: expected to public, found to shop_reader", expect.policy,
    "ai.users", "own", { roles = { "public" } })
  fails("policy own of ai.users: expected using id > 1, found (id > 0)", expect.policy, "ai.users",
    "own", { using = "id > 1" })
  fails("policy own of ai.users: expected check true, found none", expect.policy, "ai.users", "own",
    { check = "true" })
end)

add("expect extension and enum", "tx", function(db, expect)
  schema(db)
  expect.extension("plpgsql", { version = "1.0", schema = "pg_catalog" })
  fails("extension plpgsq: not found; did you mean plpgsql?", expect.extension, "plpgsq")
  fails("extension plpgsql: expected version 9, found 1.0", expect.extension, "plpgsql",
    { version = "9" })
  expect.enum "ai.mood"
  expect.enum("ai.mood", { "sad", "ok", "glad" })
  fails("enum ai.mod: not found; did you mean ai.mood?", expect.enum, "ai.mod")
  fails("enum integer: found a type of that name that is no enum", expect.enum, "integer")
  fails("enum ai.mood: expected values sad, glad, found sad, ok, glad", expect.enum, "ai.mood",
    { "sad", "glad" })
end)

add("expect roles and grants", "tx", function(db, expect)
  schema(db)
  db:exec "CREATE ROLE shop_writer LOGIN"
  db:exec "CREATE ROLE shop_group"
  db:exec "GRANT shop_group TO shop_writer"
  db:exec "GRANT USAGE ON SCHEMA ai TO shop_writer"
  db:exec "GRANT SELECT ON ai.users TO shop_writer"
  expect.role("shop_writer", { login = true, superuser = false, member_of = "shop_group" })
  expect.no_role "shop_nobody"
  fails("role shop_writr: not found; did you mean shop_writer?", expect.role, "shop_writr")
  fails("role shop_writer: expected login = false, found true", expect.role, "shop_writer",
    { login = false })
  fails("role shop_group: expected to be a member of shop_writer, found it is not", expect.role,
    "shop_group", { member_of = "shop_writer" })
  fails("role shop_writer: expected none, found one", expect.no_role, "shop_writer")
  expect.grant("shop_writer", "select", "ai.users")
  expect.grant("shop_writer", "usage", "schema ai")
  expect.grant("public", "execute", "function ai.twice(integer)")
  expect.no_grant("shop_writer", "insert", "ai.users")
  fails("grant: expected shop_writer to have INSERT on table ai.users, found it has not",
    expect.grant, "shop_writer", "insert", "ai.users")
  fails("grant: expected shop_writer not to have SELECT on table ai.users, found it has",
    expect.no_grant, "shop_writer", "select", "ai.users")
  fails("grant: unknown kind of object scheme; did you mean schema?", expect.grant, "shop_writer",
    "usage", "scheme ai")
end)

add("expect equal and rows", "tx", function(db, expect)
  schema(db)
  expect.equal(1, 1)
  expect.equal(nil, neap.null)
  expect.equal({ a = { 1, 2 } }, { a = { 1, 2 } })
  expect.equal(0 / 0, 0 / 0)
  fails("expected 5, found 4", expect.equal, 4, 5)
  fails("count: expected 5, found NULL", expect.equal, nil, 5, "count")
  fails('expected 5, found "5" (number, found string)', expect.equal, "5", 5)
  fails(".a[2]: expected 3, found 2; .b: expected NULL, found true", expect.equal,
    { a = { 1, 2 }, b = true }, { a = { 1, 3 } })
  expect.rows("SELECT g AS n, NULL AS x FROM generate_series(1, 2) g", { { n = 1 }, { n = 2 } })
  expect.rows(db:query("SELECT $1::int AS n", 7), { { n = 7 } })
  fails("rows: expected 1, found 2: [2]: expected NULL, found { n = 2 }", expect.rows,
    "SELECT g AS n FROM generate_series(1, 2) g", { { n = 1 } })
  fails('rows: expected 1, found 1: [1].name: expected "da", found "de"', expect.rows,
    "SELECT $1 AS name", { { name = "da" } }, "de")
  expect.no_rows("SELECT 1 WHERE $1", false)
  fails('no_rows: expected none, found { a = 1, b = "x" }', expect.no_rows,
    "SELECT 1 AS a, 'x' AS b")
end)

add("expect count", "tx", function(db, expect)
  schema(db)
  expect.count("ai.users", 0)
  expect.count("SELECT generate_series(1, $1);", 3, 3)
  expect.count("SELECT generate_series(1, 3) -- three", { min = 2, max = 3 })
  fails("count of ai.users: expected 1, found 0", expect.count, "ai.users", 1)
  fails("count of ai.users: expected at least 2 rows, found 0", expect.count, "ai.users",
    { min = 2 })
  fails("count of SELECT 1: expected 2 to 3 rows, found 1", expect.count, "SELECT 1",
    { min = 2, max = 3 })
  fails("count of SELECT 1: expected at most 0 rows, found 1", expect.count, "SELECT 1",
    { max = 0 })
end)

add("expect foreign keys hold", "tx", function(db, expect)
  schema(db)
  expect.foreign_keys_hold "ai.orders"
  db:exec "SET LOCAL session_replication_role = replica"
  db:exec "INSERT INTO ai.orders VALUES (1, 5), (2, NULL), (3, 6)"
  db:exec "SET LOCAL session_replication_role = origin"
  local message = "foreign key orders_user of ai.orders: found 2 rows without a row in " ..
    "ai.users, first (user_id) = (5)"
  fails(message, expect.foreign_keys_hold, "ai.orders")
  fails(message, expect.foreign_keys_hold)
  db:exec "INSERT INTO ai.users (id, email) VALUES (5, 'a'), (6, 'b')"
  expect.foreign_keys_hold()
end)

add("expect a plan and a time", "tx", function(db, expect)
  schema(db)
  db:exec "INSERT INTO ai.users (id, email) SELECT g, g::text FROM generate_series(1, 5000) g"
  db:exec "ANALYZE ai.users"
  expect.uses_index("SELECT * FROM ai.users WHERE id = $1", "ai.users_pkey", 7)
  expect.uses_index("SELECT * FROM ai.users WHERE id = 7", "ai.users_pkey")
  fails("uses_index: expected the plan to use ai.users_pkey, found Seq Scan on users",
    expect.uses_index, "SELECT * FROM ai.users WHERE tags IS NULL", "ai.users_pkey")
  expect.within("10s", "SELECT * FROM ai.users WHERE id = $1", 7)
  local ok, err = pcall(expect.within, "20ms", "SELECT pg_sleep(0.05)")
  assert(not ok and tostring(err):find "^within: expected 20ms at most, found %d+%.%d ms$",
    tostring(err))
end)

local function acting(db)
  local row = db:row [[SELECT current_user::text AS who, current_setting('role') AS role,
    current_setting('row_security') AS rls]]
  return ("%s %s %s"):format(row.who, row.role, row.rls)
end

add("expect as a role", "tx", function(db, expect)
  schema(db)
  db:exec "CREATE ROLE shop_plain"
  db:exec "GRANT USAGE ON SCHEMA ai TO shop_plain"
  db:exec "GRANT SELECT, INSERT ON ai.users TO shop_plain"
  db:exec "INSERT INTO ai.users (id, email) VALUES (1, 'a'), (2, 'b')"
  db:exec "ALTER TABLE ai.users ENABLE ROW LEVEL SECURITY"
  db:exec "CREATE POLICY own ON ai.users USING (id = 2)"
  db:exec "SET LOCAL row_security = off"
  local before = acting(db)
  expect.as("shop_plain", function()
    assert(acting(db) == "shop_plain shop_plain on", acting(db))
    expect.rows("SELECT id FROM ai.users", { { id = 2 } })
    local ok, err = db:savepoint(function()
      db:exec "INSERT INTO ai.users (id, email) VALUES (3, 'c')"
    end)
    assert(not ok and err.sqlstate == "42501", tostring(err))
  end)
  assert(acting(db) == before, acting(db))
  expect.count("ai.users", 2)
  fails("count of ai.users: expected 2, found 1", expect.as, "shop_plain", function()
    expect.count("ai.users", 2)
  end)
  assert(acting(db) == before, acting(db))
  db:savepoint(function()
    expect.as("shop_plain", function() db:exec "SELECT 1 / 0" end)
  end)
  assert(acting(db) == before, acting(db))
  fails("role shop_plan: not found; did you mean shop_plain?", expect.as, "shop_plan", print)
end)

add("expect works in verify", "verify", function(_, expect)
  expect.table "pg_catalog.pg_class"
  expect.count("pg_catalog.pg_am", { min = 1 })
  expect.no_rows "SELECT 1 WHERE false"
  expect.foreign_keys_hold()
  expect.uses_index("SELECT * FROM pg_catalog.pg_class WHERE oid = 1",
    "pg_catalog.pg_class_oid_index")
  expect.within("10s", "SELECT 1")
end)

return cases

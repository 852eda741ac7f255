--- why: "name" is what the warehouse calls a thing; the shop shows a title
--- risk: low; the trigger costs every write of a product some microseconds
--- locks: shop.products exclusively for an instant, and for the length of the trial

-- A rename without a moment in which the old or the new code is wrong:
--
--   0013 expand    the new column, and a trigger that keeps both the same
--   (deploy code that writes and reads title; the old code still runs beside it)
--   0014 fill      the rows that nobody wrote since
--   (the old code is gone everywhere)
--   0016 contract  the trigger and the old column go
--
-- ALTER TABLE … RENAME COLUMN is one line, and breaks every process of the old
-- code at once, and every process of the new code that started too early.

local probe = require "probe"

-- What such triggers get wrong: only INSERT, or only UPDATE; only from old to new,
-- so that it overwrites what the new code wrote with what the old code had; or
-- with no answer for "both". Here whoever wrote last is right, in either column,
-- and the title where one statement writes both.
local function_sql = [[
  CREATE FUNCTION shop.products_keep_title() RETURNS trigger LANGUAGE plpgsql AS $$
  BEGIN
    IF TG_OP = 'INSERT' THEN
      NEW.title := coalesce(NEW.title, NEW.name);
      NEW.name := NEW.title;
    ELSIF NEW.title IS DISTINCT FROM OLD.title THEN -- the new code, or 0014
      NEW.name := NEW.title;
    ELSIF NEW.name IS DISTINCT FROM OLD.name THEN   -- the old code
      NEW.title := NEW.name;
    END IF;
    RETURN NEW;
  END $$]]

local function both(db, sku)
  local row = db:row("SELECT name, title FROM shop.products WHERE sku = $1", sku)
  return { row.name, row.title }
end

local function try(db)
  probe(db, function(expect)
    db:exec [[
      INSERT INTO shop.products (sku, price_cents, name) VALUES ('probe-old', 1, 'by old code')]]
    expect.equal(both(db, "probe-old"), { "by old code", "by old code" }, "old code inserts")
    db:exec [[
      INSERT INTO shop.products (sku, price_cents, title) VALUES ('probe-new', 1, 'by new code')]]
    expect.equal(both(db, "probe-new"), { "by new code", "by new code" }, "new code inserts")
    db:exec [[UPDATE shop.products SET title = 'new' WHERE sku LIKE 'probe-%']]
    expect.equal(both(db, "probe-old"), { "new", "new" }, "new code updates")
    db:exec [[UPDATE shop.products SET name = 'old' WHERE sku LIKE 'probe-%']]
    expect.equal(both(db, "probe-new"), { "old", "old" }, "old code updates")
    db:exec [[UPDATE shop.products SET name = 'a', title = 'b' WHERE sku = 'probe-new']]
    expect.equal(both(db, "probe-new"), { "b", "b" }, "one statement writes both")
  end)
end

return migration {
  summary = "Products have a title, kept the same as the name",
  ticket = "SHOP-30",
  phase = "expand",
  requires = { "0002" },
  lock_timeout = "300ms",
  up = function(db)
    -- In one transaction: there is no moment with the column and without the trigger.
    db:exec [[ALTER TABLE shop.products ADD COLUMN title text]]
    db:exec [[COMMENT ON COLUMN shop.products.title IS 'What the shop shows, in English']]
    db:exec(function_sql)
    db:exec [[
      CREATE TRIGGER products_keep_title
      BEFORE INSERT OR UPDATE OF name, title ON shop.products
      FOR EACH ROW EXECUTE FUNCTION shop.products_keep_title()]]
    try(db) -- the behaviour: verify is read-only, and asks about what stays
  end,
  -- This runs before COMMIT, under the lock that ALTER TABLE took: it asks the
  -- catalog and does not read the table. And it is asked again when 0016 has
  -- dropped the old column and the trigger with it.
  verify = function(db, expect)
    expect.column("shop.products", "title", "text")
    local has_old = db:value [[
      SELECT count(*) FROM pg_catalog.pg_attribute
      WHERE attrelid = 'shop.products'::regclass AND attname = 'name' AND NOT attisdropped]] == 1
    if has_old then
      expect.trigger("shop.products", "products_keep_title", { enabled = true })
    end
  end,
  -- The titles are all in `name`, by the trigger. Without that column they would
  -- be in no other place, and this must not run: it fails at the trigger then.
  down = function(db)
    db:exec [[DROP TRIGGER products_keep_title ON shop.products]]
    db:exec [[DROP FUNCTION shop.products_keep_title()]]
    db:exec [[ALTER TABLE shop.products DROP COLUMN title]]
  end,
}

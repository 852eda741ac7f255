-- why: one place that knows which language to fall back to
-- risk: none; nothing calls it yet
-- locks: none that anybody could wait for

-- The same contract in plain SQL. BEGIN ATOMIC makes the body known to PostgreSQL:
-- nobody can drop a column that it reads without hearing of it (see 0016).

-- neap: summary A product's name in a reader's language, or in English
-- neap: ticket SHOP-8
-- neap: requires 0004

-- neap: up
CREATE FUNCTION shop.product_name(wanted_product bigint, wanted_locale text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT coalesce(
    (SELECT t.name FROM shop.product_translations t
      WHERE t.product_id = wanted_product AND t.locale = wanted_locale),
    (SELECT p.name FROM shop.products p WHERE p.id = wanted_product));
END;

COMMENT ON FUNCTION shop.product_name IS 'In the wanted locale; English where that is missing';

-- neap: verify
-- Each statement must give rows, and true in each of them. It reads no column that
-- a later migration renames: it is asked again after that one.
SELECT shop.product_name(0, 'da') IS NULL;
SELECT count(*) = 0 FROM (SELECT id FROM shop.products ORDER BY id LIMIT 1000) p
 WHERE shop.product_name(p.id, 'xx') IS NULL;

-- neap: down
DROP FUNCTION shop.product_name(bigint, text);

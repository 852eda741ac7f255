-- why: one place that knows which language to fall back to
-- risk: none; nothing calls it yet
-- locks: none that anybody could wait for

-- neap: summary A product's name in a reader's language, or in English
-- neap: ticket SHOP-8
-- neap: requires 0003

-- neap: up
CREATE FUNCTION shop.product_name(wanted_product bigint, wanted_locale text) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
  SELECT name
  FROM shop.product_translations
  WHERE product_id = wanted_product AND locale IN (wanted_locale, 'en')
  ORDER BY locale = 'en'
  LIMIT 1;
END;

COMMENT ON FUNCTION shop.product_name IS 'In the wanted locale; English where that is missing';

-- neap: verify
SELECT shop.product_name(id, 'da') = 'A mug' FROM shop.products WHERE sku = 'mug';
SELECT shop.product_name(0, 'da') IS NULL;

-- neap: down
DROP FUNCTION shop.product_name(bigint, text);

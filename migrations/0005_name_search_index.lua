--- why: search by the beginning of a name reads the whole table today
--- risk: low; an interrupted build leaves an invalid index, which neap drops
--- locks: lets writers through; waits for transactions that are open when it begins

return migration {
  summary = "Search names by their beginning, in one language",
  ticket = "SHOP-11",
  requires = { "0003" },
  transaction = false,
  steps = {
    {
      name = "index names by locale",
      up = function(db)
        db:exec [[
          CREATE INDEX CONCURRENTLY product_translations_search_idx
          ON shop.product_translations (locale, lower(name) text_pattern_ops)]]
      end,
      verify = function(_, expect)
        expect.index("shop.product_translations_search_idx", { valid = true })
      end,
      down = function(db)
        db:exec [[DROP INDEX CONCURRENTLY shop.product_translations_search_idx]]
      end,
    },
    {
      name = "tell the planner",
      up = function(db)
        db:exec [[ANALYZE shop.product_translations]]
      end,
      verify = function(db, expect)
        -- An expression index has statistics of its own once ANALYZE saw it.
        expect.equal(db:value [[
          SELECT count(*) FROM pg_catalog.pg_class
          WHERE oid = 'shop.product_translations'::regclass AND reltuples >= 0]], 1)
      end,
      down = function(_)
        -- Statistics need no way back.
      end,
    },
  },
}

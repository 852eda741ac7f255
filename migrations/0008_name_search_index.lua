--- why: search by the beginning of a name reads the whole table today
--- risk: low; an interrupted build leaves an invalid index, which neap drops
--- locks: lets readers and writers through; waits for transactions that are open
---   when it begins

-- CREATE INDEX locks out every writer while it builds. CONCURRENTLY does not, but
-- cannot run in a transaction: hence steps. No IF NOT EXISTS: it takes the invalid
-- leftover of a failed build for a good index.

return migration {
  summary = "Search names by their beginning, in one language",
  ticket = "SHOP-11",
  requires = { "0004" },
  transaction = false,
  timeout = "30min",
  steps = {
    {
      name = "index names by locale",
      up = function(db)
        db:exec [[
          CREATE INDEX CONCURRENTLY product_translations_search_idx
          ON shop.product_translations (locale, lower(name) text_pattern_ops)]]
      end,
      -- After a crash this decides whether the step was done: it must be able to
      -- tell a finished index from a half-built one.
      verify = function(_, expect)
        expect.index("shop.product_translations_search_idx", { valid = true })
      end,
      down = function(db)
        db:exec [[DROP INDEX CONCURRENTLY IF EXISTS shop.product_translations_search_idx]]
      end,
    },
    {
      -- An index on an expression brings statistics of its own, after ANALYZE. Until
      -- then the planner guesses, and may not use it.
      name = "tell the planner",
      up = function(db)
        db:exec [[ANALYZE shop.product_translations]]
      end,
      verify = function(db)
        return db:value [[
          SELECT reltuples >= 0 FROM pg_catalog.pg_class
          WHERE oid = 'shop.product_translations'::regclass]]
      end,
      down = function(_)
        -- Statistics need no way back.
      end,
    },
  },
}

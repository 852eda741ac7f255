--- why: we sell in kroner from March; NULL cannot go on meaning EUR
--- risk: medium; code that writes NULL on purpose fails from step 3 on
--- locks: shop.orders exclusively four times, for an instant each; filling and
---   proving let readers and writers through

local filled = require "filled"

return migration {
  summary = "Every order says its currency",
  ticket = "SHOP-24",
  requires = { "0009" },
  transaction = false,
  timeout = "1h", -- of one step; the batches may take that long, and lock nobody
  lock_timeout = "300ms",
  steps = {
    {
      -- First the tap, then the floor: new rows of code that knows nothing of
      -- currencies are right before the old ones are touched.
      name = "new orders are in EUR",
      up = function(db)
        db:exec [[ALTER TABLE shop.orders ALTER COLUMN currency SET DEFAULT 'EUR']]
      end,
      verify = function(_, expect)
        expect.column("shop.orders", "currency", { default = "'EUR'" })
      end,
      down = function(db)
        db:exec [[ALTER TABLE shop.orders ALTER COLUMN currency DROP DEFAULT]]
      end,
    },
    filled.steps {
      schema = "shop", table = "orders", key = "id", column = "currency", value = "'EUR'",
    },
  },
}

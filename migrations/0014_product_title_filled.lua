--- why: code may read title only when every product has one
--- risk: low; each batch is its own transaction of a thousand rows
--- locks: shop.products exclusively three times, for an instant each; rows for the
---   length of their batch

local filled = require "filled"

return migration {
  summary = "Every product has a title",
  ticket = "SHOP-30",
  phase = "expand",
  requires = { "0013" },
  transaction = false,
  timeout = "1h",
  lock_timeout = "300ms",
  -- The value is taken from the row as it is when it is locked, and not from an
  -- earlier look at it. Rows that come meanwhile are filled by the trigger of 0013.
  steps = {
    filled.steps {
      schema = "shop", table = "products", key = "id", column = "title", value = "name",
    },
  },
}

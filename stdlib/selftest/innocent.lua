-- SPDX-License-Identifier: MIT
--
-- Takes the place of a hostile script that was refused: it must simply work.
return migration {
  summary = "An innocent one",
  timeout = "20s",
  up = function(db)
    db:exec "create table public.left_over (id int)"
    db:exec "insert into public.left_over select id from public.witness"
  end,
  verify = function(db, expect)
    expect.equal(db:value "select count(*) from public.left_over", 1)
  end,
  down = function(db)
    db:exec "drop table public.left_over"
  end,
}

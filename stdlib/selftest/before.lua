-- SPDX-License-Identifier: MIT
--
-- What is there before a hostile script: a row to lose and the settings as they are.
return migration {
  summary = "What was there before",
  up = function(db)
    db:exec "create table public.witness (id int not null)"
    db:exec "insert into public.witness values (1)"
    db:exec "create table public.setting as select name, setting from pg_catalog.pg_settings"
  end,
  verify = unverified "the self-test looks itself",
  down = irreversible "the self-test drops the database",
}

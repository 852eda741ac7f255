/* SPDX-License-Identifier: MIT
 *
 * Promise 9: what is hidden, in which spellings, and that hiding is linear.
 */
#include "tests/unit/test_support.h"

#include "host/base/clock.h"
#include "host/base/log.h"
#include "host/base/memory.h"

static void check(const char *text, const char *expected)
{
    char *clean = neap_redact(text);

    assert_string_equal(clean, expected);
    free(clean);
}

static void test_redact__hides_url_passwords(void **unused)
{
    (void)unused;
    check("postgresql://u:pw@h:5432/db", "postgresql://u:***@h:5432/db");
    check("at redis://:pw@h/0, then", "at redis://:***@h/0, then");
    check("postgres://u:p@ss/w?rd@h/db", "postgres://u:***@h/db");
    check("\"postgres://u:pw@h\" 'x://a:b@c'", "\"postgres://u:***@h\" 'x://a:***@c'");
    check("postgresql://u@h:5432/db", "postgresql://u@h:5432/db");
    check("http://h:80/path", "http://h:80/path");
    check("postgresql:///neap?host=/tmp&password=pw&x=1",
          "postgresql:///neap?host=/tmp&password=***&x=1");
    check("postgresql:///neap?%50assw%6Frd=pw&x=1", "postgresql:///neap?%50assw%6Frd=***&x=1");
    check("postgresql://u:p w\"x@h/d y", "postgresql://u:***@h/d y");
    check("postgresql://h:5432/d for u@h", "postgresql://h:5432/d for u@h");
    check("100%pass %password=pw 50%", "100%pass %password=*** 50%");
}

static void test_redact__hides_dsn_passwords(void **unused)
{
    (void)unused;
    check("host=h password=pw user=u", "host=h password=*** user=u");
    check("password=&p&w user=u", "password=*** user=u");
    check("password=\"\"p\"w user=u", "password=\"*** user=u");
    check("password=\",\",\"x user=u", "password=\"*** user=u");
    check("{\"password\":\"p\",\"user\":\"u\"}", "{\"password\":\"***\",\"user\":\"u\"}");
    check("{password=\"p\", user=u}", "{password=\"***\", user=u}");
    check("password = 'p\\'w x' user=u", "password = '***' user=u");
    check("password='p''w' user=u", "password='***' user=u");
    check("sslpassword=a\\ b user=u", "sslpassword=*** user=u");
    check("PGPASSWORD=pw psql", "PGPASSWORD=*** psql");
    check("{\"password\": \"p\\\"w\", \"x\": 1}", "{\"password\": \"***\", \"x\": 1}");
    check("password='open", "password='***");
    check("password=", "password=");
}

/* Whatever else is taken for a password before it, in it and behind it: what libpq
 * reads as one is hidden. */
static void test_redact__hides_what_libpq_reads(void **unused)
{
    (void)unused;
    check("password=u&''\"\"\"x user=u", "password=*** user=u");
    check("user=password='a' password='b c'", "user=password='***' password='***'");
    check("user='password=''password='b c' port=1", "user='password=''password='***' port=1");
    check("user=password=\\'a password='b\\' c d' port=1", "user=password=***' port=1");
    check("postgresql:///d?password=a b\"c'd&user=u", "postgresql:///d?password=***&user=u");
    check("postgresql://h/password '&?password='a", "postgresql://h/password '***'***");
    check("create subscription s connection 'host=h password=''a b'' user=u' publication p",
          "create subscription s connection 'host=h password='***'' user=u' publication p");
    check("E'password=\\'a b\\' user=u'", "E'password=***\\' user=u'");
    check("password=\"\"7\"\\gxuser=password=\\'a password=y'b\\'secret d", "password=\"*** d");
    check("password='' user=u", "password='' user=u");
}

static void test_redact__hides_sql_literals(void **unused)
{
    (void)unused;
    check("create role r password 'pw' login", "create role r password '***' login");
    check("ALTER ROLE r ENCRYPTED PASSWORD E'p\\'w';", "ALTER ROLE r ENCRYPTED PASSWORD E'***';");
    check("password 'p''w' x", "password '***' x");
    check("PASSWORD $$pw$$ x", "PASSWORD $$***$$ x");
    check("PASSWORD $a$p$$w$a$ x", "PASSWORD $a$***$a$ x");
    check("PASSWORD U&'pw' x", "PASSWORD U&'***' x");
    check("PASSWORD /* c */ -- d\n 'pw'", "PASSWORD /* c */ -- d\n '***'");
    check("PASSWORD'pw'", "PASSWORD'***'");
    check("PASSWORD 'cut", "PASSWORD '***");
    check("PASSWORD NULL", "PASSWORD NULL");
    check("the password's length; 'x'", "the password's length; 'x'");
    check("password authentication failed for user \"u\"",
          "password authentication failed for user \"u\"");
    check("set password = $1", "set password = ***");
}

static void test_redact__hides_known_secrets(void **unused)
{
    (void)unused;
    neap_redact_add("s3cr/t+\"pass'");
    check("a s3cr/t+\"pass' b", "a *** b");
    check("s3cr%2Ft%2B%22pass%27", "***");
    check("s3cr%2ft%2b%22pass%27", "***");
    check("733363722f742b227061737327", "***");
    check("733363722F742B227061737327", "***");
    check("{\"x\": \"s3cr/t+\\\"pass'\"}", "{\"x\": \"***\"}");
    check("'s3cr/t+\"pass'''", "'***'");
    check("s3cr/t", "s3cr/t");
    neap_redact_clear();
    check("a s3cr/t+\"pass' b", "a s3cr/t+\"pass' b");
}

static void test_redact__hides_base64_at_every_offset(void **unused)
{
    (void)unused;
    neap_redact_add("topsecretword");
    /* base64 of topsecretword after nothing, "u:", "us:" and "use:"; the letters
     * at its ends belong to its neighbours too. */
    check("dG9wc2VjcmV0d29yZA==", "***A==");
    check("dTp0b3BzZWNyZXR3b3Jk", "dTp***");
    check("dXM6dG9wc2VjcmV0d29yZCE=", "dXM6***CE=");
    check("dXNlOnRvcHNlY3JldHdvcmQ7Ow==", "dXNlOn***Q7Ow==");
    neap_redact_clear();
}

static void test_redact__hides_overlaps_whole(void **unused)
{
    (void)unused;
    neap_redact_add("abcdefgh");
    neap_redact_add("efghijkl");
    neap_redact_add("abcd");
    check("xabcdefghijklx", "x***x");
    check("abcdabcd", "***");
    check("abcdefgh", "***");
    neap_redact_clear();
}

static void test_redact__ignores_short_secrets(void **unused)
{
    (void)unused;
    neap_redact_add("a");
    neap_redact_add("abc");
    neap_redact_add("");
    neap_redact_add(NULL);
    check("a abc", "a abc");
    assert_null(neap_redact(NULL));
}

static void test_redact__hides_literals_about_roles(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"alter role x passwrd 'secret'", "alter role x passwrd '***'"},
        {"CREATE  USER y pasword $$secret$$ login", "CREATE  USER y pasword $$***$$ login"},
        {"alter group g pw E'sec\\'ret'; select 'shown'",
         "alter group g pw E'***'; select 'shown'"},
        {"create table role (a text default 'shown')",
         "create table role (a text default 'shown')"},
        {"create user mapping for u server s options (pw 'secret')",
         "create user mapping for u server s options (pw '***')"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = neap_redact(cases[i][0]);
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
}

static void test_redact__keeps_the_place(void **unused)
{
    static const char text[] = "password 'abcdef' here";
    size_t at = (size_t)(strstr(text, "here") - text);
    char *clean = neap_redact_at(text, &at);

    (void)unused;
    assert_string_equal(clean + at, "here");
    free(clean);
    at = 12; /* inside what is hidden: its begin */
    clean = neap_redact_at(text, &at);
    assert_string_equal(clean + at, "***' here");
    free(clean);
    at = sizeof text + 100;
    clean = neap_redact_at(text, &at);
    assert_string_equal(clean + at, "");
    free(clean);
}

static int64_t time_us(const char *piece, size_t size)
{
    char *text = neap_alloc(size + 1);
    int64_t begin = 0, spent = 0;

    for (size_t i = 0; i < size; i++)
        text[i] = piece[i % strlen(piece)];
    begin = neap_clock_us();
    free(neap_redact(text));
    spent = neap_clock_us() - begin;
    free(text);
    return spent;
}

/* Four times the text may take four times as long; sixteen would be quadratic.
 * The allowance is for a machine that does something else meanwhile. */
static void check_linear(const char *piece)
{
    size_t size = 250000 / test_stride(10);
    int64_t once = time_us(piece, size);
    int64_t four = time_us(piece, 4 * size);

    if (four > once * 10 + 200000)
        fail_msg("\"%s\" took %d us, four times as much %d us", piece, (int)once, (int)four);
}

static void test_redact__is_linear(void **unused)
{
    static const char *const pieces[] = {
        "a",           "://",          "a://:",        "password ",
        "password /*", "password '",   "password $a$", "p",
        "password=",   "passwd--",     "a://a:b@ ",    "password\\",
        "password='",  "password=''x", "password =\\", "password= "};

    (void)unused;
    neap_redact_add("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab");
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++)
        check_linear(pieces[i]);
    neap_redact_clear();
}

/* Random text from the letters that matter: no crash, and no canary survives. */
static void test_redact__survives_noise(void **unused)
{
    static const char *const parts[] = {"password", "=",  "'",          "\"",   "$$",     "$t$",
                                        "\\",       " ",  "://",        "a:",   "@",      "/*",
                                        "*/",       "--", "\n",         "\xff", "\xc3",   "E'",
                                        "U&'",      "&",  "nEaPcAnArY", "%",    "passwd", ":"};
    char text[512];

    (void)unused;
    srand(7);
    neap_redact_add("nEaPcAnArY");
    for (size_t round = 0; round < 20000; round += test_stride(20)) {
        size_t length = 0, place = (size_t)rand() % 300;
        char *clean = NULL, *shown = NULL;

        text[0] = '\0';
        for (int i = rand() % 24; i > 0; i--) {
            const char *part = parts[(size_t)rand() % (sizeof parts / sizeof *parts)];

            memcpy(text + length, part, strlen(part) + 1);
            length += strlen(part);
        }
        clean = neap_redact_at(text, &place);
        assert_true(place <= strlen(clean));
        assert_lacks(clean, "nEaPcAnArY");
        shown = neap_printable(clean, false);
        free(shown);
        free(clean);
    }
    neap_redact_clear();
}

static void check_printable(const char *text, bool newlines, const char *expected)
{
    char *clean = neap_printable(text, newlines);

    assert_string_equal(clean, expected);
    free(clean);
}

static void test_redact__printable_shows_what_hides(void **unused)
{
    (void)unused;
    check_printable("a\033]52;x\a\x7f", false, "a\\x1b]52;x\\x07\\x7f");
    check_printable("a\n\tb\r", true, "a\n\tb\\x0d");
    check_printable("a\n\tb", false, "a\\x0a\\x09b");
    check_printable("\xc3\xa6 \xff\xc3", false, "\xc3\xa6 \\xff\\xc3");
    check_printable("x\xe2\x80\xaey", false, "x\\u{202e}y");
    check_printable("\xc2\x9b", false, "\\u{9b}");
    check_printable("\xef\xbb\xbf", false, "\\u{feff}");
    check_printable(NULL, false, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_redact__hides_url_passwords),
        cmocka_unit_test(test_redact__hides_dsn_passwords),
        cmocka_unit_test(test_redact__hides_what_libpq_reads),
        cmocka_unit_test(test_redact__hides_sql_literals),
        cmocka_unit_test(test_redact__hides_known_secrets),
        cmocka_unit_test(test_redact__hides_base64_at_every_offset),
        cmocka_unit_test(test_redact__hides_overlaps_whole),
        cmocka_unit_test(test_redact__ignores_short_secrets),
        cmocka_unit_test(test_redact__hides_literals_about_roles),
        cmocka_unit_test(test_redact__keeps_the_place),
        cmocka_unit_test(test_redact__is_linear),
        cmocka_unit_test(test_redact__survives_noise),
        cmocka_unit_test(test_redact__printable_shows_what_hides),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

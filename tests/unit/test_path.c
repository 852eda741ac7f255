/* SPDX-License-Identifier: MIT
 *
 * Files in a hostile directory: links, FIFOs, sizes, owners and modes.
 */
#include "tests/unit/test_support.h"

#include <ftw.h>
#include <sys/stat.h>

#include "host/base/memory.h"
#include "host/base/path.h"

static int remove_one(const char *path, const struct stat *found, int kind, struct FTW *ftw)
{
    (void)found;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void remove_tree(char *dir)
{
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(dir);
}

static void write_file(const char *path, const char *text)
{
    struct neap_error err = {0};

    if (!neap_path_write(path, text, strlen(text), 0644, &err))
        fail_msg("%s", err.message);
}

static enum neap_error_code read_code(const char *path, const char *root, size_t size_max)
{
    struct neap_error err = {0};
    enum neap_error_code code = NEAP_OK;
    char *text = NULL;
    size_t length = 0;

    if (neap_path_read(path, root, size_max, &text, &length, &err))
        free(text);
    code = err.code;
    neap_error_clear(&err);
    return code;
}

static void test_path__joins_and_names(void **unused)
{
    char *path = neap_path_join("a/", "b");

    (void)unused;
    assert_string_equal(path, "a/b");
    free(path);
    path = neap_path_join("a", "b");
    assert_string_equal(path, "a/b");
    free(path);
    path = neap_path_join("", "b");
    assert_string_equal(path, "b");
    free(path);
    assert_string_equal(neap_path_name("a/b/c"), "c");
    assert_string_equal(neap_path_name("c"), "c");
}

static void test_path__writes_and_reads_back(void **unused)
{
    char *dir = test_temp_dir();
    char *path = neap_path_join(dir, "f");
    char *text = NULL;
    size_t length = 0;
    struct stat found;
    char big[10000];

    (void)unused;
    memset(big, 'x', sizeof big);
    big[1] = '\0';
    assert_true(neap_path_write(path, big, sizeof big, 0600, NULL));
    assert_int_equal(stat(path, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0600);
    assert_true(neap_path_read(path, dir, sizeof big, &text, &length, NULL));
    assert_int_equal(length, sizeof big);
    assert_memory_equal(text, big, sizeof big);
    assert_int_equal(text[length], '\0');
    free(text);
    assert_int_equal(read_code(path, dir, sizeof big - 1), NEAP_ERR_FILE_REFUSED);
    write_file(path, "");
    assert_true(neap_path_read(path, NULL, 0, &text, &length, NULL));
    assert_int_equal(length, 0);
    free(text);
    free(path);
    remove_tree(dir);
}

static void test_path__failed_write_leaves_nothing(void **unused)
{
    char *dir = test_temp_dir();
    char *path = neap_path_join(dir, "sub");
    struct neap_error err = {0};

    (void)unused;
    assert_int_equal(mkdir(path, 0700), 0);
    assert_false(neap_path_write(path, "x", 1, 0600, &err)); /* a directory is in the way */
    assert_int_equal(err.code, NEAP_ERR_FILE_IO);
    neap_error_clear(&err);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0); /* and no temporary file */
    free(path);
    free(dir);
}

static void test_path__refuses_what_is_no_file(void **unused)
{
    char *dir = test_temp_dir();
    char *fifo = neap_path_join(dir, "fifo");
    char *none = neap_path_join(dir, "none");

    (void)unused;
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_int_equal(read_code(fifo, dir, 100), NEAP_ERR_FILE_REFUSED); /* and does not hang */
    assert_int_equal(read_code(dir, NULL, 100), NEAP_ERR_FILE_REFUSED);
    assert_int_equal(read_code(none, dir, 100), NEAP_ERR_FILE_IO);
    assert_int_equal(read_code("/dev/zero", NULL, 100), NEAP_ERR_FILE_REFUSED);
    free(fifo);
    free(none);
    remove_tree(dir);
}

/* What the reader of the tree `root` gives for a path below it: text, or the error's code. */
static void check_read(struct neap_path_reader *reader, const char *path, const char *text,
                       enum neap_error_code code)
{
    struct neap_error err = {0};
    char *read = NULL;
    size_t length = 0;

    assert_int_equal(neap_path_reader_read(reader, path, 8, &read, &length, &err), text != NULL);
    assert_int_equal(err.code, code);
    if (text)
        assert_string_equal(read, text);
    free(read);
    neap_error_clear(&err);
}

static void write_below(const char *root, const char *path, const char *text)
{
    char *whole = neap_path_join(root, path);

    write_file(whole, text);
    free(whole);
}

static void link_below(const char *root, const char *target, const char *path)
{
    char *whole = neap_path_join(root, path);

    assert_int_equal(symlink(target, whole), 0);
    free(whole);
}

static void test_path__a_reader_refuses_the_same(void **unused)
{
    static const char *const dirs[] = {"root", "root/a", "root/b", "beside"};
    char *dir = test_temp_dir();
    char *root = neap_path_join(dir, "root");
    struct neap_path_reader reader;

    (void)unused;
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        char *made = neap_path_join(dir, dirs[i]);
        assert_int_equal(mkdir(made, 0700), 0);
        free(made);
    }
    write_below(root, "top", "t");
    write_below(root, "a/one", "1");
    write_below(root, "a/long", "123456789");
    write_below(root, "b/one", "2");
    write_below(dir, "beside/one", "s");
    link_below(root, "../b/one", "a/near");
    link_below(root, "../../beside/one", "a/far");
    link_below(root, "../beside", "out");
    neap_path_reader_init(&reader, root);
    check_read(&reader, "a/one", "1", NEAP_OK);
    check_read(&reader, "b/one", "2", NEAP_OK);
    check_read(&reader, "top", "t", NEAP_OK);
    check_read(&reader, "a/near", "2", NEAP_OK);
    check_read(&reader, "a/far", NULL, NEAP_ERR_FILE_REFUSED);
    check_read(&reader, "a/long", NULL, NEAP_ERR_FILE_REFUSED);
    check_read(&reader, "out/one", NULL, NEAP_ERR_FILE_REFUSED);
    check_read(&reader, "../beside/one", NULL, NEAP_ERR_FILE_REFUSED);
    check_read(&reader, "a/none", NULL, NEAP_ERR_FILE_IO);
    check_read(&reader, "none/one", NULL, NEAP_ERR_FILE_IO);
    neap_path_reader_clear(&reader);
    free(root);
    remove_tree(dir);
}

static void test_path__refuses_links_out(void **unused)
{
    char *dir = test_temp_dir();
    char *inside = neap_path_join(dir, "root");
    char *beside = neap_path_join(dir, "root2");
    char *secret = neap_path_join(beside, "secret");
    char *link = neap_path_join(inside, "link");
    char *good = neap_path_join(inside, "good");
    char *near = neap_path_join(inside, "near");
    char *dir_link = neap_path_join(inside, "dir");
    char *through = neap_path_join(dir_link, "secret");

    (void)unused;
    mkdir(inside, 0700);
    mkdir(beside, 0700);
    write_file(secret, "s");
    write_file(good, "g");
    assert_int_equal(symlink(secret, link), 0);
    assert_int_equal(symlink("good", near), 0);
    assert_int_equal(symlink(beside, dir_link), 0);
    assert_int_equal(read_code(link, inside, 100), NEAP_ERR_FILE_REFUSED);
    assert_int_equal(read_code(through, inside, 100), NEAP_ERR_FILE_REFUSED);
    assert_int_equal(read_code(secret, inside, 100), NEAP_ERR_FILE_REFUSED); /* root is a prefix */
    assert_int_equal(read_code(near, inside, 100), NEAP_OK);
    assert_int_equal(read_code(link, NULL, 100), NEAP_OK);
    free(inside);
    free(beside);
    free(secret);
    free(link);
    free(good);
    free(near);
    free(dir_link);
    free(through);
    remove_tree(dir);
}

static void test_path__private_dir_is_private(void **unused)
{
    char *dir = test_temp_dir();
    char *deep = neap_path_join(dir, "a/b/c");
    char *middle = neap_path_join(dir, "a/b");
    struct neap_error err = {0};
    struct stat found;

    (void)unused;
    assert_true(neap_path_private_dir(deep, &err));
    assert_true(neap_path_private_dir(deep, &err));
    assert_int_equal(stat(deep, &found), 0);
    assert_int_equal(found.st_mode & 0777, 0700);
    assert_int_equal(chmod(deep, 0770), 0);
    assert_false(neap_path_private_dir(deep, &err));
    assert_int_equal(err.code, NEAP_ERR_FILE_REFUSED);
    assert_contains(err.hint, "chmod go-w");
    assert_int_equal(chmod(deep, 0700), 0);
    assert_int_equal(chmod(middle, 0777), 0);
    assert_false(neap_path_private_dir(deep, &err));
    assert_contains(err.message, "a/b");
    assert_int_equal(chmod(middle, 0700), 0);
    if (geteuid() == 0) {
        assert_int_equal(chown(deep, 12345, 12345), 0);
        assert_false(neap_path_private_dir(deep, &err));
        assert_contains(err.message, "another user");
    }
    neap_error_clear(&err);
    free(deep);
    free(middle);
    remove_tree(dir);
}

static void test_path__private_dir_needs_a_directory(void **unused)
{
    char *dir = test_temp_dir();
    char *file = neap_path_join(dir, "f");
    char *under = neap_path_join(file, "x");
    struct neap_error err = {0};

    (void)unused;
    write_file(file, "");
    assert_false(neap_path_private_dir(file, &err));
    assert_false(neap_path_private_dir(under, &err));
    assert_false(neap_path_private_dir("", &err));
    neap_error_clear(&err);
    free(file);
    free(under);
    remove_tree(dir);
}

static void check_state_dir(const char *expected)
{
    char *dir = neap_path_state_dir();

    assert_string_equal(dir, expected);
    free(dir);
}

static void test_path__a_link_is_present(void **unused)
{
    char dir[] = "/tmp/neap-path-XXXXXX", link[80], below[160];

    (void)unused;
    assert_non_null(mkdtemp(dir));
    snprintf(link, sizeof link, "%s/link", dir);
    assert_int_equal(neap_path_look(link), NEAP_ABSENT);
    assert_int_equal(symlink("link", link), 0); /* to itself */
    assert_int_equal(neap_path_look(link), NEAP_PRESENT);
    snprintf(below, sizeof below, "%s/below", link);
    assert_int_equal(neap_path_look(below), NEAP_PRESENCE_UNKNOWN);
    assert_true(neap_path_exists(below)); /* never taken for free */
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_path__state_dir_follows_the_environment(void **unused)
{
    (void)unused;
    setenv("HOME", "/home/x", 1);
    unsetenv("NEAP_STATE_DIR");
    unsetenv("XDG_STATE_HOME");
    check_state_dir("/home/x/.local/state/neap");
    setenv("XDG_STATE_HOME", "relative", 1);
    check_state_dir("/home/x/.local/state/neap");
    setenv("XDG_STATE_HOME", "/state", 1);
    check_state_dir("/state/neap");
    setenv("NEAP_STATE_DIR", "/mine", 1);
    check_state_dir("/mine");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_path__joins_and_names),
        cmocka_unit_test(test_path__writes_and_reads_back),
        cmocka_unit_test(test_path__failed_write_leaves_nothing),
        cmocka_unit_test(test_path__refuses_what_is_no_file),
        cmocka_unit_test(test_path__refuses_links_out),
        cmocka_unit_test(test_path__a_reader_refuses_the_same),
        cmocka_unit_test(test_path__private_dir_is_private),
        cmocka_unit_test(test_path__private_dir_needs_a_directory),
        cmocka_unit_test(test_path__a_link_is_present),
        cmocka_unit_test(test_path__state_dir_follows_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

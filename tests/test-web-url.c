/* SPDX-License-Identifier: MIT */
/* The grammar of web/: which names are URLs, which, and which are not. */
#include "config.h"

#include "backends/web_url.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/cache/http.h"

static enum mlc_web_where
where(const char *path)
{
    struct mlc_web_name name;
    enum mlc_web_where w;

    assert_int_equal(mlc_web_name_parse(path, &name), 0);
    w = name.where;
    mlc_web_name_done(&name);
    return w;
}

static void
check_url(const char *path, const char *url)
{
    struct mlc_web_name name;

    assert_int_equal(mlc_web_name_parse(path, &name), 0);
    assert_int_equal(name.where, MLC_WEB_URL);
    assert_string_equal(name.url, url);
    mlc_web_name_done(&name);
}

static bool
has_ext(const char *path)
{
    struct mlc_web_name name;
    bool has;

    assert_int_equal(mlc_web_name_parse(path, &name), 0);
    assert_int_equal(name.where, MLC_WEB_URL);
    has = name.has_ext;
    mlc_web_name_done(&name);
    return has;
}

static void
upper_parts_are_directories(void **state)
{
    assert_int_equal(where(""), MLC_WEB_ROOT);
    assert_int_equal(where("https:"), MLC_WEB_SCHEME);
    assert_int_equal(where("http:"), MLC_WEB_SCHEME);
    assert_int_equal(where("https:/example.com"), MLC_WEB_HOST);
    assert_int_equal(where("https:/example.com:8443"), MLC_WEB_HOST);
    assert_int_equal(where("http:/[2001:db8::1]:80"), MLC_WEB_HOST);
    assert_int_equal(where("http:/[::1]"), MLC_WEB_HOST);
    assert_int_equal(where("http:/example.com."), MLC_WEB_HOST);
    assert_int_equal(where("http:/b\xc3\xbc"
                           "cher.example"),
                     MLC_WEB_HOST);
}

static void
other_names_are_local(void **state)
{
    static const char *const paths[] = {"cache.db",
                                        "cache.db.lock",
                                        "cache.db-journal",
                                        "unet",
                                        "unet/abc/config.json",
                                        "ftp:",
                                        "ftp:/h/x",
                                        "httpx:/h",
                                        "http",
                                        "http%3A",
                                        "https%3A%2F",
                                        "9f1c.png",
                                        "HTTP:/h/x",
                                        "file:/etc/passwd"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        assert_int_equal(where(paths[i]), MLC_WEB_LOCAL);
}

static void
pasted_urls_are_urls(void **state)
{
    check_url("https:/h/a.png", "https://h/a.png");
    check_url("http:/h:81/a/b", "http://h:81/a/b");
    check_url("http:/[::1]:81/a", "http://[::1]:81/a");
    check_url("https:/h/a?b=c&d=e", "https://h/a?b=c&d=e");
    check_url("https:/h/a?b=c/d?e", "https://h/a?b=c/d?e");
    check_url("https:/h/a?", "https://h/a?");
    check_url("https:/h/a#b", "https://h/a");
    check_url("https:/h/a?b#c", "https://h/a?b");
    check_url("https:/h/%7Ea/~b", "https://h/%7Ea/~b");
    check_url("https:/h/a;b=1,2@c:d!$'()*+", "https://h/a;b=1,2@c:d!$'()*+");
}

static void
what_a_url_may_not_hold_is_encoded(void **state)
{
    check_url("https:/h/a b", "https://h/a%20b");
    check_url("https:/h/a\"<>\\^`{|}",
              "https://h/a%22%3C%3E%5C%5E%60%7B%7C%7D");
    check_url("https:/h/100%", "https://h/100%25");
    check_url("https:/h/%4", "https://h/%254");
    check_url("https:/h/%zz", "https://h/%25zz");
    check_url("https:/h/\xc3\xa4\xff\n\x7f", "https://h/%C3%A4%FF%0A%7F");
    check_url("https:/h/[a]?[b]", "https://h/%5Ba%5D?%5Bb%5D");
}

static void
one_encoded_name_is_a_url(void **state)
{
    struct mlc_web_name name;

    check_url("https%3A%2F%2Fh%2Fa.png", "https://h/a.png");
    check_url("https%3a%2f%2fh%2fa%3Fb%3D%2f", "https://h/a?b=/");
    check_url("HTTPS%3A%2F%2Fh%2Fa", "https://h/a");
    check_url("https:%2F%2Fh%2Fa", "https://h/a");
    check_url("http%3A%2F%2Fh", "http://h/");
    check_url("http%3A%2F%2Fh%2F", "http://h/");
    check_url("http%3A%2F%2Fh%2Fa%2F%2Fb%2F", "http://h/a//b/");
    check_url("http%3A%2F%2Fh%2Fa%2520b%20c", "http://h/a%20b%20c");
    assert_int_equal(mlc_web_name_parse("http%3A%2F%2Fh%2Fa", &name), 0);
    assert_true(name.is_single);
    mlc_web_name_done(&name);
    /* It is a file: nothing lies below. */
    assert_int_equal(where("http%3A%2F%2Fh%2Fa/b"), MLC_WEB_BAD);
}

static void
what_cannot_be_a_url_is_bad(void **state)
{
    static const char *const paths[] = {"http:/a b",
                                        "http:/u@h",
                                        "http:/u:p@h/x",
                                        "http:/h:",
                                        "http:/h:0",
                                        "http:/h:65536",
                                        "http:/h:8x/x",
                                        "http:/.git",
                                        "http:/a..b",
                                        "http:/[::1",
                                        "http:/[::1]x",
                                        "http:/[1.2]",
                                        "http:/h/%00",
                                        "http:/h/a%00b",
                                        "http:/h/%2e",
                                        "http:/h/%2e%2E/x",
                                        "http:/h/.%2e",
                                        "http:/h/a%2F..%2Fb",
                                        "http:/h/..%5cx",
                                        "http:/h/a#b/c",
                                        "http%3A%2F%2F",
                                        "http%3A%2F%2Fh%00",
                                        "http%3A%2F%2Fh%2F..%2Fx",
                                        "http%3A%2F%2Fh%2F%252e%252e",
                                        "http%3A%2F%2Fu%40h%2F"};

    for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
        assert_int_equal(where(paths[i]), MLC_WEB_BAD);
    /* These are none of ".." */
    check_url("http:/h/...", "http://h/...");
    check_url("http:/h/a..b", "http://h/a..b");
    check_url("http:/h/a?%2e%2e", "http://h/a?%2e%2e");
}

static void
extensions_are_short_and_begin_with_a_letter(void **state)
{
    assert_true(has_ext("http:/h/a.png"));
    assert_true(has_ext("http:/h/a.b"));
    assert_true(has_ext("http:/h/x.tar.gz"));
    assert_true(has_ext("http:/h/a.abcdefgh"));
    assert_true(has_ext("http:/h/a.mp4"));
    assert_true(has_ext("http:/h/.git"));
    assert_true(has_ext("http:/h/a.png?b=c.d/e"));
    assert_true(has_ext("http:/h/a.png#top"));
    assert_false(has_ext("http:/h/a"));
    assert_false(has_ext("http:/h/v1.0"));
    assert_false(has_ext("http:/h/a."));
    assert_false(has_ext("http:/h/a.7z"));
    assert_false(has_ext("http:/h/a.abcdefghi"));
    assert_false(has_ext("http:/h/a.b-c"));
    assert_false(has_ext("http:/h/x.png/a"));
    assert_false(has_ext("http:/h/a?b.png"));
}

static void
check_token(const char *url, const char *token, const char *wanted)
{
    char *got = mlc_web_add_token(url, token);

    assert_non_null(got);
    assert_string_equal(got, wanted);
    free(got);
}

static void
the_token_goes_to_civitai_alone(void **state)
{
    check_token("https://civitai.com/api/download/models/1", "T",
                "https://civitai.com/api/download/models/1?token=T");
    check_token("https://civitai.com/api/download/models/1?type=Model&x=", "T",
                "https://civitai.com/api/download/models/1?type=Model&token=T");
    check_token("https://civitai.com/api/download/models/1?token=mine", "T",
                "https://civitai.com/api/download/models/1?token=mine");
    check_token("https://civitai.com/api/download/models/1", "a b&c",
                "https://civitai.com/api/download/models/1?token=a%20b%26c");
    check_token("https://civitai.com/api/download/models/1", NULL,
                "https://civitai.com/api/download/models/1");
    check_token("https://civitai.com/models/1", "T",
                "https://civitai.com/models/1");
    check_token("https://civitai.com/api/downloads", "T",
                "https://civitai.com/api/downloads");
    check_token("http://civitai.com/api/download/models/1", "T",
                "http://civitai.com/api/download/models/1");
    check_token("https://civitai.com.evil.example/api/download/1", "T",
                "https://civitai.com.evil.example/api/download/1");
    check_token("https://evil.example/https://civitai.com/api/download/1", "T",
                "https://evil.example/https://civitai.com/api/download/1");
}

static void
slashes_tell_directories(void **state)
{
    assert_true(mlc_url_is_slashed("http://h/a/", "http://h/a"));
    assert_true(mlc_url_is_slashed("https://g/a/?x", "http://h/a?y"));
    assert_false(mlc_url_is_slashed("http://h/a", "http://h/a"));
    assert_false(mlc_url_is_slashed("http://h/b/", "http://h/a"));
    assert_false(mlc_url_is_slashed("http://h/a/b/", "http://h/a"));
    assert_false(mlc_url_is_slashed("http://h/a//", "http://h/a"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(upper_parts_are_directories),
        cmocka_unit_test(other_names_are_local),
        cmocka_unit_test(pasted_urls_are_urls),
        cmocka_unit_test(what_a_url_may_not_hold_is_encoded),
        cmocka_unit_test(one_encoded_name_is_a_url),
        cmocka_unit_test(what_cannot_be_a_url_is_bad),
        cmocka_unit_test(extensions_are_short_and_begin_with_a_letter),
        cmocka_unit_test(the_token_goes_to_civitai_alone),
        cmocka_unit_test(slashes_tell_directories),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/cache/digest.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define EMPTY_SHA256                                                           \
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define EMPTY_GIT "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
#define ABC_SHA256                                                             \
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
/* printf abc | git hash-object --stdin */
#define ABC_GIT "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f"

static void
expect(const char *bytes, const char *hex)
{
    struct mlc_digest want, got;
    struct mlc_digest_state *s = NULL;
    FILE *file = tmpfile();
    size_t len = strlen(bytes);

    assert_non_null(file);
    assert_int_equal(mlc_digest_parse(hex, &want), 0);
    assert_int_equal(mlc_digest_new(want.kind, len, &s), 0);
    for (size_t i = 0; i < len; i++)
        assert_int_equal(mlc_digest_update(s, bytes + i, 1), 0);
    assert_int_equal(mlc_digest_finish(s, &got), 0);
    mlc_digest_free(s);
    assert_true(mlc_digest_equal(&want, &got));

    assert_int_equal(write(fileno(file), bytes, len), len);
    memset(&got, 0, sizeof(got));
    assert_int_equal(mlc_digest_fd(fileno(file), want.kind, len, NULL, &got),
                     0);
    assert_true(mlc_digest_equal(&want, &got));
    assert_int_equal(
        mlc_digest_fd(fileno(file), want.kind, len + 1, NULL, &got), -EBADMSG);
    if (len > 0) {
        const atomic_bool stop = true;

        assert_int_equal(
            mlc_digest_fd(fileno(file), want.kind, len, &stop, &got),
            -ECANCELED);
    }
    fclose(file);
}

static void
digests_are_those_of_the_hub(void **state)
{
    expect("", EMPTY_SHA256);
    expect("", EMPTY_GIT);
    expect("abc", ABC_SHA256);
    expect("abc", ABC_GIT);
}

static void
only_whole_lower_case_hex_is_a_digest(void **state)
{
    struct mlc_digest d;

    assert_int_equal(mlc_digest_parse("", &d), -EINVAL);
    assert_int_equal(mlc_digest_parse(ABC_GIT "0", &d), -EINVAL);
    assert_int_equal(mlc_digest_parse(&ABC_SHA256[1], &d), -EINVAL);
    assert_int_equal(
        mlc_digest_parse("F2BA8F84AB5C1BCE84A7B441CB1959CFC7093B7F", &d),
        -EINVAL);
}

static void
kinds_are_not_mixed_up(void **state)
{
    struct mlc_digest a = {.kind = MLC_DIGEST_SHA256};
    struct mlc_digest b = {.kind = MLC_DIGEST_GIT};
    struct mlc_digest none = {.kind = MLC_DIGEST_NONE};

    assert_false(mlc_digest_equal(&a, &b));
    assert_false(mlc_digest_equal(&a, &none));
    assert_true(mlc_digest_equal(&none, &none));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_those_of_the_hub),
        cmocka_unit_test(only_whole_lower_case_hex_is_a_digest),
        cmocka_unit_test(kinds_are_not_mixed_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/format/recipe.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/seed.h"

static int
parse(const char *text, struct mlc_recipe *ret, char **ret_err)
{
    fuzz_save_seed(text, strlen(text));
    return mlc_recipe_parse(text, strlen(text), ret, ret_err);
}

static void
assert_refused(const char *text, const char *wanted)
{
    struct mlc_recipe r;
    char *err;

    assert_int_equal(parse(text, &r, &err), -EBADMSG);
    assert_non_null(err);
    if (!strstr(err, wanted))
        fail_msg("wanted '%s' in '%s'", wanted, err);
    assert_null(r.checkpoint);
    free(err);
}

static void
every_key_is_understood(void **state)
{
    struct mlc_recipe r;
    char *err;

    assert_int_equal(parse("\xef\xbb\xbf# a comment\r\n"
                           "\n"
                           "checkpoint = web/https://host/a b=c.safetensors \n"
                           "\tlora=hf://org/name@main/lora.safetensors 0.8\n"
                           "lora = /home/me/my lora.safetensors\t-1.5e0 \r\n"
                           "lora = plain.safetensors\n"
                           "  lora_scale = .5\n"
                           "vae = v\n"
                           "config = org/name\n"
                           "variant = fp16\n"
                           "clip_names = flat",
                           &r, &err),
                     0);
    assert_string_equal(r.checkpoint, "web/https://host/a b=c.safetensors");
    assert_int_equal(r.n_loras, 3);
    assert_string_equal(r.loras[0].path, "hf://org/name@main/lora.safetensors");
    assert_true(r.loras[0].scale == 0.8);
    assert_string_equal(r.loras[1].path, "/home/me/my lora.safetensors");
    assert_true(r.loras[1].scale == -1.5);
    assert_string_equal(r.loras[2].path, "plain.safetensors");
    assert_true(r.loras[2].scale == 1);
    assert_true(r.lora_scale == .5);
    assert_string_equal(r.vae, "v");
    assert_string_equal(r.config, "org/name");
    assert_string_equal(r.variant, "fp16");
    assert_true(r.has_flat_clip_names);
    mlc_recipe_done(&r);
}

static void
defaults_are_set(void **state)
{
    struct mlc_recipe r;
    char *err;

    assert_int_equal(parse("checkpoint=a\nclip_names=prefixed\n", &r, &err), 0);
    assert_null(r.vae);
    assert_null(r.config);
    assert_null(r.variant);
    assert_int_equal(r.n_loras, 0);
    assert_true(r.lora_scale == 1);
    assert_false(r.has_flat_clip_names);
    mlc_recipe_done(&r);
}

static void
a_lone_number_is_a_path(void **state)
{
    struct mlc_recipe r;
    char *err;

    assert_int_equal(parse("checkpoint=a\nlora = 0.5\n", &r, &err), 0);
    assert_string_equal(r.loras[0].path, "0.5");
    assert_true(r.loras[0].scale == 1);
    mlc_recipe_done(&r);
}

/* It was the scale all the same, and infinite. */
static void
a_number_beyond_all_is_part_of_the_path(void **state)
{
    struct mlc_recipe r;
    char *err;

    assert_int_equal(parse("checkpoint=a\nlora = b 1e999\n", &r, &err), 0);
    assert_string_equal(r.loras[0].path, "b 1e999");
    assert_true(r.loras[0].scale == 1);
    mlc_recipe_done(&r);
}

static void
what_is_not_understood_is_refused_by_line(void **state)
{
    assert_refused("", "no checkpoint");
    assert_refused("# nothing\n", "no checkpoint");
    assert_refused("checkpoint = a\nchekpoint = b\n", "line 2: unknown key");
    assert_refused("checkpoint = a\n\ncheckpoint = b\n",
                   "line 3: checkpoint stands in line 1 already");
    assert_refused("checkpoint = a\nvae = a\nvae = a\n", "line 3: vae stands");
    assert_refused("checkpoint\n", "line 1: 'checkpoint': not of the form");
    assert_refused("checkpoint =  \n", "line 1: checkpoint has no value");
    assert_refused("= a\n", "line 1: unknown key ''");
    assert_refused("checkpoint = a\nlora_scale = 1x\n", "lora_scale '1x'");
    assert_refused("checkpoint = a\nlora_scale = nan\n", "lora_scale 'nan'");
    assert_refused("checkpoint = a\nlora_scale = 1e999\n", "a number");
    assert_refused("checkpoint = a\nlora_scale = 0x10\n", "a number");
    assert_refused("checkpoint = a\nvariant = a/b\n", "variant 'a/b'");
    assert_refused("checkpoint = a\nvariant = a.b\n", "variant 'a.b'");
    assert_refused("checkpoint = a\nclip_names = Flat\n", "prefixed or flat");
    assert_refused("checkpoint = a\001\n", "line 1: holds control bytes");
}

static void
bytes_of_any_kind_are_refused(void **state)
{
    static const char text[] = "checkpoint = a\0b\n";
    struct mlc_recipe r;
    char *err;

    assert_int_equal(mlc_recipe_parse(text, sizeof(text) - 1, &r, &err),
                     -EBADMSG);
    assert_non_null(strstr(err, "control bytes"));
    free(err);
}

static void
its_length_is_bounded(void **state)
{
    char *text = malloc(MLC_RECIPE_MAX + 1), *err;
    struct mlc_recipe r;

    assert_non_null(text);
    memset(text, '\n', MLC_RECIPE_MAX + 1);
    memcpy(text, "checkpoint=a", 12);
    assert_int_equal(mlc_recipe_parse(text, MLC_RECIPE_MAX, &r, &err), 0);
    mlc_recipe_done(&r);
    assert_int_equal(mlc_recipe_parse(text, MLC_RECIPE_MAX + 1, &r, &err),
                     -EBADMSG);
    assert_non_null(strstr(err, "longer than"));
    free(err);
    for (size_t i = 0; i <= MLC_RECIPE_MAX_LORAS; i++)
        memcpy(text + 12 + 8 * i, "\nlora=a\n", 8);
    assert_int_equal(mlc_recipe_parse(text, MLC_RECIPE_MAX, &r, &err),
                     -EBADMSG);
    assert_non_null(strstr(err, "LoRAs"));
    free(err);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_understood),
        cmocka_unit_test(defaults_are_set),
        cmocka_unit_test(a_lone_number_is_a_path),
        cmocka_unit_test(a_number_beyond_all_is_part_of_the_path),
        cmocka_unit_test(what_is_not_understood_is_refused_by_line),
        cmocka_unit_test(bytes_of_any_kind_are_refused),
        cmocka_unit_test(its_length_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

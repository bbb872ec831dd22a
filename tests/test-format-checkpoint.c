/* SPDX-License-Identifier: MIT */
/* Checkpoints: which family one is of, what its layout is, what the folder's
 * other files become, and what is refused. */
#include "config.h"

#include "backends/format/layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/format/folder.h"
#include "backends/format/pretty.h"
#include "backends/util/buf.h"
#include "backends/util/cleanup.h"
#include "backends/util/json.h"
#include "tests/fuzz/seed.h"
#include "tests/small-folder.h"

#define JSON(...) #__VA_ARGS__
#define UNET      "model.diffusion_model."
#define BLOCKS    UNET "input_blocks."

/* --- detection -------------------------------------------------------- */

struct shape {
    const char *name;
    uint64_t rows, columns; /* no columns: a vector */
};

static struct mlc_safetensors *
make_file(const struct shape *shapes, size_t n, enum mlc_dtype dtype)
{
    struct mlc_tensor *tensors = calloc(n, sizeof *tensors);
    struct mlc_safetensors *f = NULL;
    char *header = NULL;
    size_t len = 0;
    size_t i;

    assert_non_null(tensors);
    for (i = 0; i < n; i++) {
        tensors[i].name = shapes[i].name;
        tensors[i].dtype = dtype;
        tensors[i].n_dims = shapes[i].columns ? 2 : 1;
        tensors[i].shape = &shapes[i].rows;
    }
    assert_int_equal(mlc_safetensors_format(tensors, n, &header, &len), 0);
    assert_int_equal(mlc_safetensors_parse(header + 8, len - 8,
                                           tensors[n - 1].end, &f, NULL),
                     0);
    free(header);
    free(tensors);
    return f;
}

/* A UNet of these widths, as far as detection looks. */
static int
detect(uint64_t context, uint64_t addition, uint64_t channels,
       struct mlc_checkpoint_kind *ret, char **ret_err)
{
    const struct shape shapes[] = {
        {BLOCKS "0.0.weight", 320, channels},
        {BLOCKS "4.1.transformer_blocks.0.attn2.to_k.weight", 8, context},
        {BLOCKS "4.1.transformer_blocks.0.attn1.to_k.weight", 8, 8},
        {UNET "label_emb.0.0.weight", 8, addition},
    };
    struct mlc_safetensors *f =
        make_file(shapes, addition ? 4 : 3, MLC_DTYPE_F16);
    int r = mlc_checkpoint_detect(f, ret, ret_err);

    mlc_safetensors_free(f);
    return r;
}

static void
families_are_told_by_structure(void **state)
{
    static const struct {
        uint64_t context, addition, channels;
        enum mlc_family family;
        enum mlc_task task;
    } known[] = {
        {768, 0, 4, MLC_FAMILY_SD1, MLC_TASK_TEXT},
        {768, 0, 9, MLC_FAMILY_SD1, MLC_TASK_INPAINT},
        {768, 0, 8, MLC_FAMILY_SD1, MLC_TASK_EDIT},
        {1024, 0, 4, MLC_FAMILY_SD2, MLC_TASK_TEXT},
        {1024, 0, 9, MLC_FAMILY_SD2, MLC_TASK_INPAINT},
        {1024, 0, 5, MLC_FAMILY_SD2, MLC_TASK_DEPTH},
        {2048, 2816, 4, MLC_FAMILY_SDXL, MLC_TASK_TEXT},
        {2048, 2816, 9, MLC_FAMILY_SDXL, MLC_TASK_INPAINT},
        {1280, 2560, 4, MLC_FAMILY_REFINER, MLC_TASK_TEXT},
    };
    size_t i;

    for (i = 0; i < sizeof known / sizeof *known; i++) {
        struct mlc_checkpoint_kind kind;

        assert_int_equal(detect(known[i].context, known[i].addition,
                                known[i].channels, &kind, NULL),
                         0);
        assert_int_equal(kind.family, known[i].family);
        assert_int_equal(kind.task, known[i].task);
    }
}

static void
unknown_unets_are_told_to_bring_a_config(void **state)
{
    static const uint64_t unknown[][3] = {
        {512, 0, 4},     /* another text encoder */
        {1024, 768, 4},  /* unCLIP, video */
        {1024, 0, 7},    /* the upscaler */
        {2048, 2048, 4}, /* another addition */
        {2048, 2816, 8}, /* SDXL for editing */
        {768, 0, 5},     {1280, 2560, 9},
    };
    size_t i;

    for (i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        struct mlc_checkpoint_kind kind;
        char *err = NULL;

        assert_int_equal(
            detect(unknown[i][0], unknown[i][1], unknown[i][2], &kind, &err),
            -EBADMSG);
        assert_non_null(strstr(err, "`config`"));
        free(err);
    }
}

static void
other_files_are_called_by_name(void **state)
{
    static const struct {
        const char *tensor, *word;
    } others[] = {
        {UNET "joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"},
        {"joint_blocks.0.x_block.attn.qkv.weight", "Stable Diffusion 3"},
        {"double_blocks.0.img_attn.qkv.weight", "FLUX"},
        {UNET "double_blocks.0.img_attn.qkv.weight", "FLUX"},
        {"control_model.time_embed.0.weight", "ControlNet"},
        {"clip_txt_mapper.weight", "Cascade"},
        {BLOCKS "1.0.time_stack.in_layers.0.weight", "Video"},
        {"lora_unet_down_blocks_0.lora_down.weight", "`lora`"},
        {"first_stage_model.encoder.conv_in.weight", "`vae`"},
        {"encoder.conv_in.weight", "`vae`"},
        {"down_blocks.0.resnets.0.conv1.weight", "diffusers folder"},
        {"text_model.final_layer_norm.weight", "diffusers folder"},
        {"edm_mean_of_nothing", "no checkpoint of a known family"},
        {UNET "time_embed.0.scale_weight", "quantised"},
        {"scaled_fp8", "quantised"},
    };
    size_t i;

    for (i = 0; i < sizeof others / sizeof *others; i++) {
        const struct shape shape = {others[i].tensor, 4, 4};
        struct mlc_safetensors *f = make_file(&shape, 1, MLC_DTYPE_F16);
        struct mlc_checkpoint_kind kind;
        char *err = NULL;

        assert_int_equal(mlc_checkpoint_detect(f, &kind, &err), -EBADMSG);
        if (!strstr(err, others[i].word))
            fail_msg("%s: %s", others[i].tensor, err);
        free(err);
        mlc_safetensors_free(f);
    }
}

/* --- a model, small enough to be written down ------------------------- */

/* What fuzz-folder takes: which of the files, and what is in it. */
static void
save_seed(size_t which, const char *text)
{
    mlc_autofree char *seed = NULL;
    int len = asprintf(&seed, "%zu%s", which, text);

    assert_true(len >= 0);
    fuzz_save_seed(seed, (size_t)len);
}

/* With 'text' at 'path' instead (NULL: no such file). */
static struct mlc_folder *
make_folder(const char *path, const char *text)
{
    struct mlc_folder *folder = NULL;
    size_t i;

    assert_int_equal(mlc_folder_new(&folder), 0);
    for (i = 0; i < SMALL_FOLDER_FILES; i++) {
        const char *t = small_folder[i].text;

        if (strcmp(small_folder[i].path, path) == 0)
            t = text;
        if (!t)
            continue;
        save_seed(i, t);
        assert_int_equal(
            mlc_folder_add(folder, small_folder[i].path, t, strlen(t), NULL),
            0);
    }
    mlc_folder_pass(folder, "tokenizer_2/vocab.json");
    mlc_folder_pass(folder, "tokenizer_2/merges.txt");
    return folder;
}

static int
make_layout(const struct mlc_folder *folder, const struct mlc_safetensors *f,
            struct mlc_layout **ret, char **ret_err)
{
    const struct mlc_layout_options options = {.flat_clip_names = false};

    return mlc_layout_new(folder, f, NULL, &options, ret, ret_err);
}

static const struct mlc_target *
find_target(const struct mlc_component *c, const char *name)
{
    size_t i;

    for (i = 0; i < c->n_targets; i++) {
        if (strcmp(c->targets[i].name, name) == 0)
            return &c->targets[i];
    }
    fail_msg("no %s", name);
    return NULL;
}

/* --- layouts ---------------------------------------------------------- */

static void
targets_are_ranges_of_the_checkpoint(void **state)
{
    struct mlc_folder *folder = make_folder("", NULL);
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *l = NULL;
    const struct mlc_component *clip;
    const struct mlc_tensor *in_proj;
    const struct mlc_target *t;

    assert_int_equal(make_layout(folder, f, &l, NULL), 0);
    assert_int_equal(l->family, MLC_FAMILY_SD1);
    assert_int_equal(l->n_components, 3);
    assert_null(mlc_layout_find(l, MLC_PART_TEXT_ENCODER));
    clip = mlc_layout_find(l, MLC_PART_TEXT_ENCODER_2);
    assert_int_equal(clip->dtype, MLC_DTYPE_BF16);
    in_proj = mlc_safetensors_find(f, "conditioner.embedders.1.model."
                                      "transformer.resblocks.0.attn.in_proj_"
                                      "weight");
    t = find_target(clip,
                    "text_model.encoder.layers.0.self_attn.v_proj.weight");
    assert_int_equal(t->source_begin, in_proj->begin + 2 * 4 * 4 * 2);
    assert_int_equal(t->tensor.end - t->tensor.begin, 4 * 4 * 2);
    assert_string_equal(t->source_name,
                        "transformer.resblocks.0.attn.in_proj_weight");
    assert_int_equal(t->transform, MLC_COPY);
    t = find_target(clip, "text_projection.weight");
    assert_int_equal(t->transform, MLC_TRANSPOSE);
    assert_int_equal(t->tensor.shape[0], 6);
    assert_int_equal(t->tensor.shape[1], 4);
    t = find_target(mlc_layout_find(l, MLC_PART_UNET),
                    "up_blocks.1.attentions.0.proj_in.weight");
    assert_string_equal(t->source_name, "output_blocks.2.1.proj_in.weight");
    mlc_layout_free(l);
    mlc_safetensors_free(f);
    mlc_folder_free(folder);
}

static void
every_byte_has_its_target(void **state)
{
    struct mlc_folder *folder = make_folder("", NULL);
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *l = NULL;
    const struct mlc_component *c;
    uint64_t at;

    assert_int_equal(make_layout(folder, f, &l, NULL), 0);
    c = mlc_layout_find(l, MLC_PART_VAE);
    for (at = 0; at < c->size; at++) {
        const struct mlc_target *t = mlc_component_at(c, at);

        if (at < c->header_len) {
            assert_null(t);
        } else {
            assert_non_null(t);
            assert_true(at >= t->tensor.begin && at < t->tensor.end);
        }
    }
    assert_null(mlc_component_at(c, c->size));
    assert_null(mlc_component_at(c, UINT64_MAX));
    mlc_layout_free(l);
    mlc_safetensors_free(f);
    mlc_folder_free(folder);
}

static void
files_are_named_with_their_variant(void **state)
{
    struct mlc_component c = {.part = MLC_PART_VAE};
    char *name = mlc_component_file(&c, NULL);

    assert_string_equal(name, "diffusion_pytorch_model.safetensors");
    free(name);
    c.part = MLC_PART_TEXT_ENCODER_2;
    name = mlc_component_file(&c, "fp16");
    assert_string_equal(name, "model.fp16.safetensors");
    free(name);
}

static void
a_wrong_tensor_is_named(void **state)
{
    static const struct {
        struct small_change change;
        const char *word;
    } changes[] = {
        {{UNET "middle_block.1.proj_in.weight", WITHOUT}, "missing"},
        {{"first_stage_model.quant_conv.bias", WITHOUT}, "missing"},
        {{"first_stage_model.decoder.mid.attn_1.q.weight", LONGER},
         "[9,8], not [8,8]"},
        {{"conditioner.embedders.1.model.transformer.resblocks.0.attn.in_proj_"
          "weight",
          LONGER},
         "[13,4], not [12,4]"},
        {{"conditioner.embedders.1.model.text_projection", LONGER},
         "[5,6], not [4,6]"},
        {{UNET "time_embed.0.weight", AS_U8}, "quantised"},
    };
    struct mlc_folder *folder = make_folder("", NULL);
    size_t i;

    for (i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct mlc_safetensors *f =
            small_checkpoint(folder, &changes[i].change);
        struct mlc_layout *l = NULL;
        char *err = NULL;

        assert_int_equal(make_layout(folder, f, &l, &err), -EBADMSG);
        if (!strstr(err, changes[i].change.tensor) ||
            !strstr(err, changes[i].word))
            fail_msg("%s: %s", changes[i].change.tensor, err);
        free(err);
        mlc_safetensors_free(f);
    }
    mlc_folder_free(folder);
}

static void
configurations_of_other_forms_are_refused(void **state)
{
    static const struct {
        const char *path, *text, *word;
    } files[] = {
        {"unet/config.json", NULL, "no unet/config.json"},
        {"unet/config.json", "{}", "block_out_channels"},
        {"unet/config.json", "{\"block_out_channels\":[]}",
         "block_out_channels"},
        {"unet/config.json", "{\"block_out_channels\":[4,0]}",
         "block_out_channels"},
        {"unet/config.json", "{\"block_out_channels\":[4,-4]}",
         "block_out_channels"},
        {"unet/config.json", "{\"block_out_channels\":[4,4.5]}",
         "block_out_channels"},
        {"unet/config.json", "{\"block_out_channels\":[9223372036854775807]}",
         "block_out_channels"},
        {"unet/config.json",
         "{\"block_out_channels\":[4],\"down_block_types\":[\"Other\"]}",
         "down_block_types"},
        {"unet/config.json", "{\"class_embed_type\":\"projection\"}",
         "class_embed_type"},
        {"unet/config.json", "{\"_class_name\":\"Transformer\"}",
         "_class_name"},
        {"unet/config.json", JSON({
             "block_out_channels" : [4],
             "down_block_types" : ["CrossAttnDownBlock2D"],
             "transformer_layers_per_block" : 1048576,
             "up_block_types" : ["UpBlock2D"]
         }),
         "more than"},
        {"vae/config.json", "{\"_class_name\":\"AutoencoderTiny\"}",
         "_class_name"},
        {"vae/config.json", "{\"layers_per_block\":1000}", "_block"},
        {"text_encoder_2/config.json", "{\"num_hidden_layers\":1048576}",
         "more than"},
        {"text_encoder_2/config.json", "{\"hidden_size\":\"4\"}",
         "hidden_size"},
        {"model_index.json", "{}", "names no unet"},
        {"model_index.json",
         "{\"unet\":[\"diffusers\",\"FluxTransformer2DModel\"]}",
         "FluxTransformer2DModel"},
    };
    struct mlc_folder *whole = make_folder("", NULL);
    struct mlc_safetensors *f = small_checkpoint(whole, NULL);
    size_t i;

    for (i = 0; i < sizeof files / sizeof *files; i++) {
        struct mlc_folder *folder = make_folder(files[i].path, files[i].text);
        struct mlc_layout *l = NULL;
        char *err = NULL;

        assert_int_equal(make_layout(folder, f, &l, &err), -EBADMSG);
        if (!strstr(err, files[i].word))
            fail_msg("%s: %s", files[i].text, err);
        free(err);
        mlc_folder_free(folder);
    }
    mlc_safetensors_free(f);
    mlc_folder_free(whole);
}

/* --- folders ---------------------------------------------------------- */

static void
a_config_is_edited(void **state)
{
    struct mlc_folder *folder = make_folder("", NULL);
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *l = NULL;
    const char *path, *text;
    size_t len, i;

    assert_int_equal(make_layout(folder, f, &l, NULL), 0);
    assert_int_equal(mlc_folder_finish(folder, l, NULL), 0);
    for (i = 0; (path = mlc_folder_get(folder, i, &text, &len)); i++) {
        assert_int_equal(strlen(text), len);
        if (strcmp(path, "model_index.json") == 0) {
            assert_null(mlc_folder_class(folder, "safety_checker"));
            assert_null(mlc_folder_class(folder, "image_encoder"));
            assert_string_equal(mlc_folder_class(folder, "feature_extractor"),
                                "CLIPImageProcessor");
            assert_string_equal(mlc_folder_class(folder, "scheduler"),
                                "PNDMScheduler");
            assert_non_null(strstr(text, "\"safety_checker\": [\n    null,\n"
                                         "    null\n  ]"));
            assert_null(strstr(text, "_name_or_path"));
        } else if (strcmp(path, "text_encoder_2/config.json") == 0) {
            assert_non_null(strstr(text, "\"torch_dtype\": \"bfloat16\""));
            assert_non_null(strstr(text, "\"dtype\": \"bfloat16\""));
        } else if (strcmp(path, "unet/config.json") == 0) {
            assert_string_equal(text, small_folder[1].text);
        }
    }
    assert_int_equal(i, SMALL_FOLDER_FILES);
    mlc_layout_free(l);
    mlc_safetensors_free(f);
    mlc_folder_free(folder);
}

static void
what_is_no_pair_of_names_is_no_component(void **state)
{
    struct mlc_folder *folder = make_folder(
        "model_index.json", JSON({
            "feature_extractor" : ["transformers"],
            "safety_checker" :
                [ "stable_diffusion", "StableDiffusion", "Checker" ],
            "scheduler" : [ "diffusers", "PNDMScheduler" ],
            "sizes" : [ 1, 2 ],
            "unet" : [ "diffusers", "UNet2DConditionModel" ],
            "vae" : [ "diffusers", "AutoencoderKL" ]
        }));
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *l = NULL;
    const json_t *sizes;

    assert_int_equal(make_layout(folder, f, &l, NULL), 0);
    assert_int_equal(mlc_folder_finish(folder, l, NULL), 0);
    assert_null(mlc_folder_class(folder, "feature_extractor"));
    assert_null(mlc_folder_class(folder, "safety_checker"));
    sizes =
        json_object_get(mlc_folder_json(folder, "model_index.json"), "sizes");
    assert_int_equal(json_integer_value(json_array_get(sizes, 1)), 2);
    mlc_layout_free(l);
    mlc_safetensors_free(f);
    mlc_folder_free(folder);
}

static void
a_config_without_a_file_is_refused(void **state)
{
    static const char *const paths[] = {
        "scheduler/scheduler_config.json",
        "feature_extractor/preprocessor_config.json",
    };
    struct mlc_folder *folder = make_folder("", NULL);
    struct mlc_safetensors *f = small_checkpoint(folder, NULL);
    struct mlc_layout *l = NULL;
    size_t i;

    assert_int_equal(make_layout(folder, f, &l, NULL), 0);
    mlc_folder_free(folder);
    for (i = 0; i < sizeof paths / sizeof *paths; i++) {
        char *err = NULL;

        folder = make_folder(paths[i], NULL);
        assert_int_equal(mlc_folder_finish(folder, l, &err), -EBADMSG);
        assert_non_null(strstr(err, paths[i]));
        free(err);
        mlc_folder_free(folder);
    }
    mlc_layout_free(l);
    mlc_safetensors_free(f);
}

static void
what_is_no_json_object_is_refused(void **state)
{
    static const char *const bad[] = {"", "[]", "{", "1", "{\"a\":NaN}"};
    struct mlc_folder *folder = NULL;
    size_t i;

    assert_int_equal(mlc_folder_new(&folder), 0);
    for (i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *err = NULL;

        assert_int_equal(mlc_folder_add(folder, "vae/config.json", bad[i],
                                        strlen(bad[i]), &err),
                         -EBADMSG);
        assert_non_null(err);
        free(err);
    }
    assert_int_equal(mlc_folder_add(folder, "vae/other.json", "{}", 2, NULL),
                     -EINVAL);
    mlc_folder_free(folder);
}

static size_t
wanted_but_absent(const struct mlc_folder *folder)
{
    struct mlc_wanted wanted;
    size_t n = 0;
    size_t i;

    for (i = 0; mlc_folder_wanted(folder, i, &wanted); i++) {
        if (wanted.is_required && !mlc_folder_json(folder, wanted.path))
            n++;
    }
    return n;
}

static void
built_in_folders_lack_words_alone(void **state)
{
    static const struct {
        struct mlc_checkpoint_kind kind;
        const char *class, *scheduler, *tokenizer;
    } kinds[] = {
        {{MLC_FAMILY_SD1, MLC_TASK_TEXT},
         "StableDiffusionPipeline",
         "PNDMScheduler",
         "tokenizer"},
        {{MLC_FAMILY_SD1, MLC_TASK_INPAINT},
         "StableDiffusionInpaintPipeline",
         "DDIMScheduler",
         "tokenizer"},
        {{MLC_FAMILY_SD1, MLC_TASK_EDIT},
         "StableDiffusionInstructPix2PixPipeline",
         "PNDMScheduler",
         "tokenizer"},
        {{MLC_FAMILY_SD2, MLC_TASK_TEXT},
         "StableDiffusionPipeline",
         "DDIMScheduler",
         "tokenizer"},
        {{MLC_FAMILY_SD2, MLC_TASK_DEPTH},
         "StableDiffusionDepth2ImgPipeline",
         "PNDMScheduler",
         "tokenizer"},
        {{MLC_FAMILY_SDXL, MLC_TASK_TEXT},
         "StableDiffusionXLPipeline",
         "EulerDiscreteScheduler",
         "tokenizer"},
        {{MLC_FAMILY_REFINER, MLC_TASK_TEXT},
         "StableDiffusionXLImg2ImgPipeline",
         "EulerDiscreteScheduler",
         "tokenizer_2"},
    };
    size_t i;

    for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct mlc_folder *folder = NULL;
        const char *class = NULL;

        assert_int_equal(mlc_folder_new_builtin(&kinds[i].kind, &folder), 0);
        assert_int_equal(wanted_but_absent(folder), 0);
        assert_int_equal(
            mlc_json_str(mlc_folder_json(folder, "model_index.json"),
                         "_class_name", &class),
            0);
        assert_string_equal(class, kinds[i].class);
        assert_string_equal(mlc_folder_class(folder, "scheduler"),
                            kinds[i].scheduler);
        assert_string_equal(mlc_folder_tokenizer(folder, 0),
                            kinds[i].tokenizer);
        mlc_folder_free(folder);
    }
}

static void
json_is_written_as_python_does(void **state)
{
    static const struct {
        const char *from, *to;
    } values[] = {
        {"0.0", "0.0"},
        {"1e-05", "1e-05"},
        {"0.0001", "0.0001"},
        {"0.00085", "0.00085"},
        {"0.1", "0.1"},
        {"-1.6574", "-1.6574"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"123456.789", "123456.789"},
        {"1e15", "1000000000000000.0"},
        {"1e16", "1e+16"},
        {"1.5e300", "1.5e+300"},
        {"[]", "[]"},
        {"{}", "{}"},
        {"[1, true, null]", "[\n  1,\n  true,\n  null\n]"},
        {"{\"b\": {\"x\": 1}, \"a\": \"\\u00e9\\n\\u007f/\\ud83d\\ude00\"}",
         "{\n  \"a\": \"\\u00e9\\n\\u007f/\\ud83d\\ude00\",\n  \"b\": {\n"
         "    \"x\": 1\n  }\n}"},
    };
    size_t i;

    for (i = 0; i < sizeof values / sizeof *values; i++) {
        json_t *json = NULL;
        struct mlc_buf b;

        assert_int_equal(
            mlc_json_parse(values[i].from, strlen(values[i].from), &json, NULL),
            0);
        mlc_buf_init(&b, 1000);
        assert_int_equal(mlc_pretty(&b, json), 0);
        assert_int_equal(b.data[b.len - 1], '\n');
        b.data[b.len - 1] = '\0';
        assert_string_equal(b.data, values[i].to);
        mlc_buf_done(&b);
        json_decref(json);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(families_are_told_by_structure),
        cmocka_unit_test(unknown_unets_are_told_to_bring_a_config),
        cmocka_unit_test(other_files_are_called_by_name),
        cmocka_unit_test(targets_are_ranges_of_the_checkpoint),
        cmocka_unit_test(every_byte_has_its_target),
        cmocka_unit_test(files_are_named_with_their_variant),
        cmocka_unit_test(a_wrong_tensor_is_named),
        cmocka_unit_test(configurations_of_other_forms_are_refused),
        cmocka_unit_test(a_config_is_edited),
        cmocka_unit_test(what_is_no_pair_of_names_is_no_component),
        cmocka_unit_test(a_config_without_a_file_is_refused),
        cmocka_unit_test(what_is_no_json_object_is_refused),
        cmocka_unit_test(built_in_folders_lack_words_alone),
        cmocka_unit_test(json_is_written_as_python_does),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

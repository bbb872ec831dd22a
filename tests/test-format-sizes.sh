#!/usr/bin/env bash
# Weight files of full-size checkpoints have the sizes and headers that
# diffusers gives them.
. "${srcdir:-.}/tests/functions.sh"

convert=$(dirname "$MLCACHEFS")/tests/format-convert
[ -x "$convert" ] || skip "no $convert: make check builds it"

# As save_pretrained() wrote them: the start of the SHA-256 is of the header.
# OPTIONS | component dtype tensors N size sha
wanted='
sd1 | unet F16 686 83368 1719125304 1b3986bad22f9775
sd1 | vae F16 248 27608 167335342 ba5f3ca58fc039f8
sd1 | text_encoder F16 196 23184 246144152 772cc627dd96f576
sd1 --dtype F32 | unet F32 686 83672 3438167536 fc8e6065463b4bf8
sd1 --dtype F32 | vae F32 248 27808 334643268 583a680675a213a4
sd1 --dtype F32 | text_encoder F32 196 23240 492265168 b312bbf20a4321f0
sd1 --task inpaint | unet F16 686 83368 1719154104 52463e58ba3a6fca
sd1 --task inpaint --dtype F32 | unet F32 686 83688 3438225152 420095f51b42090e
sd2 | unet F16 686 83280 1731904736 ccdef3ca0ac93ae7
sd2 | vae F16 248 27608 167335342 ba5f3ca58fc039f8
sd2 | text_encoder F16 372 44704 680820392 387ca0fa25d0cb29
sd2 --dtype F32 | unet F32 686 83600 3463726504 8cd2973ea0033949
sd2 --dtype F32 | text_encoder F32 372 44936 1361596304 f594081dda5f2289
sdxl | unet F16 1680 222384 5135149760 cad04db2c51e5000
sdxl | vae F16 248 27608 167335342 ba5f3ca58fc039f8
sdxl | text_encoder F16 196 23184 246144152 772cc627dd96f576
sdxl | text_encoder_2 F16 517 62488 1389382176 d919eb461ac56694
sdxl --dtype F32 | unet F32 1680 222992 10270077736 7ca2ea6caaf770e5
sdxl --dtype F32 | text_encoder_2 F32 517 62896 2778702264 f3632d26f810ba9b
refiner | unet F16 1220 157432 4519210760 eedb096f9a696bc3
refiner | text_encoder_2 F16 517 62488 1389382176 d919eb461ac56694
refiner --dtype F32 | unet F32 1220 157744 9038264392 d8d53a4a18d44a69
sd1 --flat | text_encoder F16 196 21032 246142000 46c5606cc3241e83
sd1 --flat --dtype F32 | text_encoder F32 196 21080 492263008 d05b894a12ab4277
sd2 --flat | text_encoder F16 372 40608 680816296 76fafef88e9f3b0a
sd2 --flat --dtype F32 | text_encoder F32 372 40848 1361592216 c5953ca7e28c4a34
'

made=''
while IFS='|' read -r options row; do
    [ -n "$row" ] || continue
    if [ "$made" != "$options" ]; then
        flat=''
        [[ $options != *--flat* ]] || flat=--flat
        read -ra arguments <<<"--family ${options/--flat/}"
        "$python" "$srcdir/tests/checkpoint.py" make "$tmp/checkpoint" \
            --size full --junk "${arguments[@]}"
        got=$("$convert" ${flat:+"$flat"} "$tmp/checkpoint")
        made=$options
    fi
    assert_match "$options" "(^|"$'\n'")${row# }(\$|"$'\n'")" "$got"
done <<<"$wanted"

# A sparse file of the right size is all that was read.
[ "$(du -k "$tmp/checkpoint" | cut -f1)" -lt 4096 ] ||
    fail "the checkpoint isn't sparse"

#!/usr/bin/env bash
# Wrong bytes, ranges and lengths: a reader gets right bytes, or an error in time,
# and nothing wrong stays.
# tap
# timeout: 240
. "${srcdir:-.}/tests/fetch-faults.sh"

for file in small.bin middle.bin large.bin; do
    at=$(($(stat -c %s "$source/$file") / 2))
    for fetch in whole demand; do
        with="$file, $fetch"
        options=fetch=$fetch
        ends=either
        if [ $file = small.bin ]; then
            ends=right
        fi
        run_case "a flipped byte once ($with)" \
            check $file $ends $options "$(cdn "\"flip_at\": $at, \"times\": 1")"
        run_case "a flipped byte always ($with)" \
            check $file either $options "$(cdn "\"flip_at\": $at")"
        run_case "another range once ($with)" \
            check $file right $options "$(cdn '"wrong_range": 1000, "times": 1')"
        run_case "ranges ignored ($with)" \
            check $file right $options "$(cdn '"ignore_range": true')"
    done
    options=fetch=whole
    run_case "another length by -1, once ($file)" \
        check $file either $options "$(cdn '"length_delta": -1, "times": 1')"
    run_case "another length by +1, always ($file)" \
        check $file EIO $options "$(cdn '"length_delta": 1')"
    run_case "no length ($file)" \
        check $file right $options "$(cdn '"drop_header": "Content-Length"')"
done
run_case "another range always" \
    check middle.bin EIO fetch=whole "$(cdn '"wrong_range": 1000')"
end_cases

#!/usr/bin/env bash
# An origin that lets wait, for a while or for ever: a reader gets right bytes, or
# an error in time, and nothing wrong stays.
# tap
# timeout: 240
. "${srcdir:-.}/tests/fetch-faults.sh"

for file in small.bin middle.bin large.bin; do
    at=$(($(stat -c %s "$source/$file") / 2))
    for fetch in whole demand; do
        with="$file, $fetch"
        options=fetch=$fetch
        run_case "no answer ($with)" \
            check $file 'EIO|ETIMEDOUT' $options "$(cdn '"stall_headers": -1')"
        run_case "a stall in the body ($with)" \
            check $file either $options "$(cdn "\"stall_body_at\": $at, \"stall\": -1")"
    done
    run_case "answers late by 5 s, once ($file)" \
        check $file right timeout=seconds=4 "$(cdn '"stall_headers": 5, "times": 1')"
done
run_case "the Hub does not answer" \
    check middle.bin 'EIO|ETIMEDOUT' fetch=whole "$(hub '"stall_headers": -1')"
run_case "a body in the middle comes late by 5 s" \
    check middle.bin right timeout=seconds=30 \
    "$(cdn '"stall_body_at": 1000000, "stall": 5, "times": 1')"
end_cases

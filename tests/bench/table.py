"""The closing table of a benchmark.

    table.py FILE

Each line of FILE is one measurement, tab-separated: row, side ("ours" or what it is compared
with), unit, better ("more" or "less"), goal, value.  Shown are medians; a ratio above 1 means
that ours is the better one.  A row without another side has a limit instead of a ratio.
Exit status 1: a goal was not met.
"""

from __future__ import annotations

import statistics
import sys

HEAD = ("row", "ours", "other", "ratio", "goal", "met")


def figure(value: float, unit: str) -> str:
    digits = 0 if value >= 1000 else 1 if value >= 10 else 3
    return f"{value:.{digits}f} {unit}"



def main() -> int:
    rows: dict = {}
    with open(sys.argv[1], encoding="utf-8") as file:
        for line in file:
            row, side, unit, better, goal, value = line.rstrip("\n").split("\t")
            entry = rows.setdefault(row, {"unit": unit, "better": better, "goal": goal,
                                          "sides": {}})
            entry["sides"].setdefault(side, []).append(float(value))
    lines = [HEAD]
    failed = False
    for row, entry in rows.items():
        sides, unit, goal = entry["sides"], entry["unit"], entry["goal"]
        ours = statistics.median(sides.pop("ours"))
        mine = figure(ours, unit)
        theirs = ratio = met = "-"
        is_met = None
        for name, values in sides.items():
            other = statistics.median(values)
            theirs = f"{name} {figure(other, unit)}"
            quotient = ours / other if entry["better"] == "more" else other / ours
            ratio = f"{quotient:.2f}"
            if goal != "-":
                is_met = quotient >= float(goal)
                goal = f">= {goal}"
        if not sides and goal != "-":
            is_more = entry["better"] == "more"
            is_met = ours >= float(goal) if is_more else ours <= float(goal)
            goal = f"{'>=' if is_more else '<='} {goal} {unit}"
        if is_met is not None:
            met = "yes" if is_met else "NO"
            failed = failed or not is_met
        lines.append((row, mine, theirs, ratio, goal, met))
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    for i, line in enumerate(lines):
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
        if i == 0:
            print("  ".join("-" * width for width in widths))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

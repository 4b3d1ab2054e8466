"""Tables on standard output and pictures in var/bench/."""

import math
import os
import sys

from servers import ROOT

COLORS = {"sidecar": "#1a7f5a", "redis": "#c0392b", "floor": "#9aa5b1", "memcached": "#8e6bbf", "twemproxy": "#c98b2b"}


def table(head, rows):
    rows = [head, *rows]
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(head))]
    for number, row in enumerate(rows):
        print("| " + " | ".join(str(cell).ljust(width) for cell, width in zip(row, widths)) + " |")
        if number == 0:
            print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    print(flush=True)


def write_picture(name, width, height, parts):
    path = os.path.join(ROOT, "var", "bench", name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
                   f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">\n'
                   f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(parts) + "\n</svg>\n")
    print(f"picture: {os.path.relpath(path, ROOT)}", file=sys.stderr, flush=True)


def draw_bars(name, groups, unit):
    """groups: [(title, {server: value})]; less is better."""
    parts, y = [], 24
    for title, values in groups:
        parts.append(f'<text x="10" y="{y}" font-weight="bold">{title}</text>')
        for server, value in values.items():
            y += 19
            width = 360 * value / max(values.values())
            parts.append(f'<text x="20" y="{y}">{server}</text><rect x="110" y="{y - 11}" width="{width:.0f}" '
                         f'height="14" fill="{COLORS.get(server, "#9aa5b1")}"/>'
                         f'<text x="{118 + width:.0f}" y="{y}">{value:.2f} {unit}</text>')
        y += 30
    write_picture(name, 580, y, parts)


# Curves: small panels beside each other, both scales logarithmic

PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP = 300, 190, 62, 62, 92


def draw_curves(name, panels):
    """panels: [{"title", "x" and "y" (labels with units), "lines": {server: [(x, y)]}}], two in a row.

    A dashed line shows what is proportional to x, through the first point of the first server.
    """
    parts, servers = [], list(dict.fromkeys(server for panel in panels for server in panel["lines"]))
    for number, server in enumerate([*servers, "proportional"]):
        x, color = LEFT + 110 * number, COLORS.get(server, "#777")
        dash = "" if server in servers else ' stroke-dasharray="4 3"'
        parts.append(f'<line x1="{x}" y1="20" x2="{x + 24}" y2="20" stroke="{color}" stroke-width="2"{dash}/>'
                     f'<text x="{x + 30}" y="24">{server}</text>')
    for number, panel in enumerate(panels):
        left = LEFT + (number % 2) * (PANEL_WIDTH + GAP)
        top = TOP + (number // 2) * (PANEL_HEIGHT + GAP)
        parts += draw_panel(panel, left, top)
    rows = (len(panels) + 1) // 2
    write_picture(name, LEFT + 2 * PANEL_WIDTH + GAP + 30, TOP + rows * (PANEL_HEIGHT + GAP) - 30, parts)


def draw_panel(panel, left, top):
    points = [point for line in panel["lines"].values() for point in line]
    x_ticks = sorted({x for x, _ in points})
    low, high = y_range([y for _, y in points])
    x_span = math.log(x_ticks[-1] / x_ticks[0]) or 1

    def place(x, y):
        return (left + PANEL_WIDTH * math.log(x / x_ticks[0]) / x_span,
                top + PANEL_HEIGHT * (1 - math.log(y / low) / math.log(high / low)))

    parts = [f'<text x="{left}" y="{top - 10}" font-weight="bold">{panel["title"]}</text>',
             f'<text x="{left + PANEL_WIDTH / 2}" y="{top + PANEL_HEIGHT + 36}" text-anchor="middle">{panel["x"]}</text>',
             f'<text transform="translate({left - 46},{top + PANEL_HEIGHT / 2}) rotate(-90)" '
             f'text-anchor="middle">{panel["y"]}</text>']
    before = left - PANEL_WIDTH
    for x in x_ticks:
        at, bottom = place(x, low)
        anchor, before = "middle" if at - before > 36 else "start", at  # close to the last one: beside it
        parts.append(f'<line x1="{at:.1f}" y1="{top}" x2="{at:.1f}" y2="{bottom:.1f}" stroke="#eee"/>'
                     f'<text x="{at:.1f}" y="{bottom + 16:.1f}" text-anchor="{anchor}">{short(x)}</text>')
    for y in y_ticks(low, high):
        _, at = place(x_ticks[0], y)
        parts.append(f'<line x1="{left}" y1="{at:.1f}" x2="{left + PANEL_WIDTH}" y2="{at:.1f}" stroke="#eee"/>'
                     f'<text x="{left - 6}" y="{at + 4:.1f}" text-anchor="end">{y:g}</text>')
    parts.append(proportional(panel, place, high, x_ticks))
    for server, line in panel["lines"].items():
        color = COLORS.get(server, "#777")
        way = " ".join("%.1f,%.1f" % place(x, y) for x, y in line)
        parts.append(f'<polyline points="{way}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += ['<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (*place(x, y), color) for x, y in line]
    return parts


def proportional(panel, place, high, x_ticks):
    x, y = next(iter(panel["lines"].values()))[0]
    until = min(x_ticks[-1], x * high / y)
    return ('<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#777" stroke-dasharray="4 3"/>'
            % (*place(x, y), *place(until, y * until / x)))


def y_range(values):
    """Whole steps of 1, 2, 5, 10 below and above; at least a decade, so that noise looks like noise."""
    low, high = min(values), max(values)
    if high < 10 * low:
        high = 10 * low ** 0.5 * high ** 0.5 / 3
        low = high / 10
    return max(step for step in steps() if step <= low), min(step for step in steps() if step >= high)


def steps():
    return [digit * 10.0 ** power for power in range(-3, 8) for digit in (1, 2, 5)]


def y_ticks(low, high):
    wide = high / low > 300
    return [step for step in steps() if low <= step <= high and (not wide or f"{step:e}"[0] == "1")]


def short(number):
    """1500 as 1.5k; powers of two by 1024."""
    if number >= 1024 and number % 1024 == 0:
        return f"{number >> 20}M" if number >= 1 << 20 else f"{number >> 10}K"
    for limit, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= limit:
            return f"{number / limit:g}{letter}"
    return str(number)

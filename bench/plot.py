"""SVG plots of bench/results for docs/performance.md, drawn by hand: no plotting library, small files, text that can be searched.

    python bench/plot.py [--peers peers] [--kernels kernels] [--clients clients] [--out docs/performance]

length-MODEL.svg: rows a second of single rows over their length. batch-MODEL.svg: rows of 16 tokens in batches. sweep-N.svg: Gop/s of the kernels over the
number of rows on N threads, with the peak measured in the same run. clients.svg: rows a second of SQL statements over the number of clients.
"""
import argparse
import json
import math
import pathlib

import models

WIDTH, HEIGHT = 680, 400
LEFT, RIGHT, TOP, BOTTOM = 64, 150, 34, 46
COLORS = {"dlm-f32": "#b3261e", "dlm-bf16": "#e07b39", "dlm-int8": "#7a1fa2", "ort-f32": "#1f5fa8", "ort-int8": "#55a3e0", "openvino-f32": "#2e7d32",
          "torch-f32": "#757575", "f32": "#b3261e", "bf16": "#e07b39", "int8": "#7a1fa2", "FMA peak": "#b3261e", "int8 peak": "#7a1fa2",
          "row by row": "#757575", "batch": "#b3261e", "workers": "#1f5fa8", "update": "#2e7d32"}
SPARE = "#00897b"           # of a contender that has no colour of its own


def ticks(low, high, log):
    if not log:
        step = 10 ** math.floor(math.log10(high))
        step = next(s for s in (step / 5, step / 2, step, step * 2) if high / s <= 8)
        return [i * step for i in range(int(high / step) + 1)]
    out = [m * 10 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1) for m in (1, 2, 5)]
    return [t for t in out if low <= t <= high]


class Plot:
    """Lines over x; both axes may be logarithmic."""

    def __init__(self, title, x_label, y_label, lines, log_x=True, log_y=True, x_ticks=None):
        self.title, self.x_label, self.y_label, self.log = title, x_label, y_label, (log_x, log_y)
        self.lines = [line for line in lines if line[1]]
        xs, ys = ([p[axis] for _, points, _ in self.lines for p in points] for axis in (0, 1))
        self.x_range = (min(xs), max(xs))
        self.y_range = (min(ys) / 1.3, max(ys) * 1.3) if log_y else (0, max(ys) * 1.05)
        self.x_ticks = x_ticks

    def at(self, value, axis):
        low, high = (self.x_range, self.y_range)[axis]
        if self.log[axis]:
            low, high, value = math.log(low), math.log(high), math.log(value)
        share = (value - low) / (high - low) if high > low else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT) if axis == 0 else HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    def axes(self):
        out = []
        for t in ticks(*self.y_range, self.log[1]):
            y = self.at(t, 1)
            out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#dddddd"/>')
            out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{t:g}</text>')
        for t in self.x_ticks or ticks(*self.x_range, self.log[0]):
            x = self.at(t, 0)
            out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#eeeeee"/>')
            out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{t:g}</text>')
        out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{self.x_label}</text>')
        middle = (TOP + HEIGHT - BOTTOM) / 2
        out.append(f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{self.y_label}</text>')
        return out

    def legend_places(self):
        """Heights of the names beside the lines' ends, moved apart."""
        ends = sorted((self.at(points[-1][1], 1), i) for i, (_, points, _) in enumerate(self.lines))
        places, last = {}, -math.inf
        for y, i in ends:
            last = places[i] = max(y, last + 14)
        over = max(0, last - (HEIGHT - BOTTOM))
        return {i: y - over for i, y in places.items()}

    def svg(self):
        out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
               f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>', f'<text x="{LEFT}" y="20" font-size="14">{self.title}</text>', *self.axes()]
        places = self.legend_places()
        for i, (name, points, dashed) in enumerate(self.lines):
            color = COLORS.get(name, SPARE)
            path = " ".join(f"{self.at(x, 0):.1f},{self.at(y, 1):.1f}" for x, y in points)
            style = 'stroke-dasharray="6 4" stroke-width="1.5"' if dashed else 'stroke-width="2"'
            out.append(f'<polyline fill="none" stroke="{color}" {style} points="{path}"/>')
            if not dashed and len(points) < 12:
                out += [f'<circle cx="{self.at(x, 0):.1f}" cy="{self.at(y, 1):.1f}" r="3" fill="{color}"/>' for x, y in points]
            out.append(f'<text x="{WIDTH - RIGHT + 8}" y="{places[i] + 4:.1f}" fill="{color}">{name}</text>')
        return "\n".join(out + ["</svg>", ""])


def rate_lines(cases, shapes):
    """A line a contender: (x, rows/s) of those of the shapes, [(x, name of the case)], that were measured."""
    kinds = list(dict.fromkeys(k for _, shape in shapes if shape in cases for k in cases[shape]["median"]))
    return [(kind, [(x, cases[s]["lengths"] / cases[s]["median"][kind]) for x, s in shapes if s in cases and kind in cases[s]["median"]], False) for kind in kinds]


def draw_peers(results, out):
    threads = results["machine"]["threads"]
    for name, model in results["models"].items():
        for file, title, label, shapes in (
                ("length", f"{name}: one row at a time, {threads} threads", "tokens of the row", [(n, f"1x{n}") for n in (16, 64, 256)]),
                ("batch", f"{name}: rows of 16 tokens, {threads} threads", "rows of the batch", [(n, f"{n}x16") for n in (1, 4, 16, 64)])):
            lines = rate_lines(model["cases"], shapes)
            measured = [x for x, s in shapes if s in model["cases"]]
            if len(measured) > 1:
                (out / f"{file}-{name}.svg").write_text(Plot(title, label, "rows/s", lines, x_ticks=measured).svg())


def draw_sweep(results, out):
    n, k = results["sweep_shape"]
    for threads in sorted({key.split()[1] for key in results["sweep"]}):
        lines = [(kind, results["sweep"][f"{kind} {threads}"], False) for kind in models.WEIGHTS if f"{kind} {threads}" in results["sweep"]]
        rows = [p[0] for p in lines[0][1]]
        for name, key in (("FMA peak", "fma"), ("int8 peak", "int8")):
            if threads in results["peak"].get(key, {}):
                lines.append((name, [(x, results["peak"][key][threads]) for x in (rows[0], rows[-1])], True))
        title = f"Kernels, W {n} x {k}, {threads} thread{'s' if threads != '1' else ''}"
        plot = Plot(title, "rows", "Gop/s", lines, log_x=True, log_y=False, x_ticks=[1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
        (out / f"sweep-{threads}.svg").write_text(plot.svg())


def draw_clients(results, out):
    lines = [(plan, [(clients, rate) for clients, rate, _ in points], False) for plan, points in results["plans"].items()]
    counts = [p[0] for p in lines[0][1]]
    title = f"SQL statements of the default model, {results['machine']['threads']} threads in all"
    (out / "clients.svg").write_text(Plot(title, "clients", "rows/s, all together", lines, log_y=False, x_ticks=counts).svg())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--peers", default="peers")
    p.add_argument("--kernels", default="kernels")
    p.add_argument("--clients", default="clients")
    p.add_argument("--out", default=str(models.ROOT / "docs/performance"))
    args = p.parse_args()
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, draw in ((args.peers, draw_peers), (args.kernels, draw_sweep), (args.clients, draw_clients)):
        file = models.ROOT / "bench/results" / (name + ".json")
        if file.exists():
            draw(json.loads(file.read_text()), out)


if __name__ == "__main__":
    main()

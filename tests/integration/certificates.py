"""Certificates by the openssl command line: a CA and what it, or another, signed."""

import os
import shutil
import subprocess

from processes import IS_ROOT

KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
LOCAL = "DNS:localhost,IP:127.0.0.1"


def openssl(*words):
    done = subprocess.run(["openssl", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Certificate:
    """A certificate with its key; paths of the PEM files."""

    def __init__(self, directory, name):
        self.cert = os.path.join(directory, name + ".crt")
        self.key = os.path.join(directory, name + ".key")

    def readable_by(self, user):
        if IS_ROOT:
            shutil.chown(self.key, user, user)
        os.chmod(self.key, 0o600)
        return self


class Authority:
    def __init__(self, directory, name):
        self.directory = directory
        self.name = name
        self.own = Certificate(directory, name)
        self.file = self.own.cert
        openssl("req", "-x509", *KEY, "-keyout", self.own.key, "-out", self.own.cert,
                "-days", "30", "-subj", f"/CN={name}")

    def sign(self, name, subject_names=LOCAL, validity=("-days", "30")):
        made = Certificate(self.directory, f"{self.name}-{name}")
        request = made.cert + ".csr"
        extensions = made.cert + ".ext"
        with open(extensions, "w") as file:
            file.write(f"subjectAltName={subject_names}\n")
        openssl("req", *KEY, "-keyout", made.key, "-out", request, "-subj", f"/CN={name}")
        openssl("x509", "-req", "-in", request, "-CA", self.own.cert, "-CAkey", self.own.key,
                "-CAcreateserial", "-extfile", extensions, *validity, "-out", made.cert)
        return made

    def sign_expired(self, name, subject_names=LOCAL):
        try:
            return self.sign(name, subject_names, ("-days", "-1"))
        except AssertionError:  # OpenSSL 3.4 and later say it like this
            return self.sign(name, subject_names,
                             ("-not_before", "20250101000000Z", "-not_after", "20250201000000Z"))

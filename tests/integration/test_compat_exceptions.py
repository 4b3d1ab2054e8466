"""What of Redis's own suite does not pass is in the README, each with its reason."""

import os
import subprocess

from processes import HERE

ROOT = os.path.join(HERE, "..", "..")


def test_the_readme_lists_every_exception():
    answer = subprocess.run([os.path.join(ROOT, "tests", "compat", "run"), "--table"],
                            capture_output=True, text=True, check=True, timeout=30)
    table = answer.stdout.strip()
    assert table.count("\n") > 10
    with open(os.path.join(ROOT, "README.md")) as file:
        assert table in file.read(), "paste what tests/compat/run --table prints into README.md"

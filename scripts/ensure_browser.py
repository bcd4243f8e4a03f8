"""Make sure the browser tests find a Chromium: the one on PATH, or Debian's, installed when we are root."""

import os
import shutil
import subprocess
import sys


def main() -> int:
    """Return 0 when a browser is there; otherwise say what to do."""
    if os.environ.get("HUB_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome"):  # noqa: TID251
        return 0
    if os.geteuid() == 0 and shutil.which("apt-get"):
        sys.stdout.write("Installing Chromium for the browser tests.\n")
        for step in (["update"], ["install", "-y", "--no-install-recommends", "chromium"]):
            subprocess.run(["apt-get", "-qq", *step], stdout=subprocess.DEVNULL, check=True)
        return 0
    sys.stderr.write(
        "The browser tests need Chromium: install it (Debian: apt install chromium) or set "
        "HUB_TEST_CHROMIUM to its path, then run make test again.\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())

"""``python -m bench [NAME]``: run every benchmark, or one."""

import importlib
import sys

BENCHMARKS = ("append", "replay", "intake", "latency", "kafka")


def main(names: list[str]) -> int:
    """Run the named benchmarks, each in turn; all of them without a name."""
    if unknown := set(names) - set(BENCHMARKS):
        sys.stderr.write(f"No benchmark is called {', '.join(unknown)}: choose of {', '.join(BENCHMARKS)}.\n")
        return 2
    for name in names or BENCHMARKS:
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

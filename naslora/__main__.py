"""Entry of the `naslora` command: on a server if there is one, else here."""

from __future__ import annotations

import sys

from naslora.workflow.server import delegate


def main() -> None:
    """Run the command line and exit with its code."""
    code = delegate(sys.argv[1:])
    if code is None:
        from naslora.cli import main as run

        run()
    else:
        sys.exit(code)


if __name__ == "__main__":
    main()

"""Entry point of the `naslora` command."""

from __future__ import annotations

from naslora.cli import main

if __name__ == "__main__":
    main()

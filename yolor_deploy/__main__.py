"""``python -m yolor_deploy``."""

from yolor_deploy.cli import main

main()

"""``python -m galvae``."""

from galvae.cli.main import run

if __name__ == "__main__":
    run()

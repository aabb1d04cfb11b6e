"""The ``galvae`` command: registers the commands, and turns what goes wrong into one line and an exit code."""

from __future__ import annotations

import os
import platform
import signal
import sys
import time
import traceback
from types import FrameType

import typer

from galvae.cli.catalog import catalog
from galvae.cli.info import info
from galvae.cli.ingest import ingest
from galvae.cli.join import join
from galvae.cli.outliers import outliers
from galvae.cli.paper import paper
from galvae.cli.plot import plot
from galvae.cli.probe import probe
from galvae.cli.recipe import recipe
from galvae.cli.run import run as run_recipe
from galvae.cli.sample import interpolate, sample
from galvae.cli.similar import similar
from galvae.cli.simulate import simulate
from galvae.cli.train import train
from galvae.cli.verify import verify
from galvae.cli.winding import winding

app = typer.Typer(
    name="galvae",
    help="Rotation- and translation-free galaxy morphologies from survey cutouts, as an astropy table. "
    "With -v, any command says what it ran on and how long it took, and where an error came from.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    simulate, ingest, train, winding, catalog, join, similar, outliers, probe, sample, interpolate, plot, verify, paper,
    info,
):  # fmt: skip
    app.command()(command)
app.command("run")(run_recipe)
app.add_typer(recipe, name="recipe")


@app.callback(invoke_without_command=True)
def _root(context: typer.Context, show: bool = typer.Option(False, "--version", help="Print the version.")) -> None:
    if show:
        from galvae.version import version

        print(f"galvae {version()}")
        raise typer.Exit
    # As torch.distributed.is_torchelastic_launched has it, which would import torch.
    if "TORCHELASTIC_RUN_ID" in os.environ and context.invoked_subcommand not in (None, "train"):
        raise ValueError(
            f"torchrun started this, and of all commands only train is done by several processes together; "
            f"start galvae {context.invoked_subcommand} without it"
        )


class Terminated(BaseException):
    """SIGTERM arrived; raised in the main thread so that work can be kept, like KeyboardInterrupt."""


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def run(arguments: list[str] | None = None) -> None:
    """Entry point. Exit codes: 0 done, 1 our own fault, 2 the user's, 130 after Ctrl-C, 143 after SIGTERM."""
    signal.signal(signal.SIGTERM, _terminate)
    words = list(sys.argv[1:] if arguments is None else arguments)
    # -v means the same in every command: it is taken off here.
    detail = bool(os.environ.get("GALVAE_DEBUG")) or not {"-v", "--verbose"}.isdisjoint(words)
    words = [word for word in words if word not in ("-v", "--verbose")]
    start = time.monotonic()
    try:
        code = app(args=words, prog_name="galvae", standalone_mode=False)
        if detail:
            _say_detail(time.monotonic() - start)
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except Terminated:
        code = 143
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except (ValueError, OSError) as error:
        code = _refuse(str(error), detail)
    except Exception as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            code = error.exit_code
        elif hasattr(error, "format_message"):
            code = _refuse(error.format_message(), detail) if error.format_message() else error.exit_code
        else:
            traceback.print_exc()
            code = 1
    sys.exit(code if isinstance(code, int) else 0)


def _say_detail(seconds: float) -> None:
    from galvae.progress import say
    from galvae.version import version

    on = f"galvae {version()}, Python {platform.python_version()}"
    if torch := sys.modules.get("torch"):  # what did without it shall not wait for it
        used = torch.cuda.get_device_name() if torch.cuda.is_initialized() else f"{torch.get_num_threads()} CPU threads"
        on += f", torch {torch.__version__} on {used}"
    say(f"{on}: {seconds:.1f} s")


def _refuse(message: str, detail: bool) -> int:
    if detail:
        traceback.print_exc()
    print("galvae: error: " + " ".join(message.split()), file=sys.stderr)
    return 2
